from __future__ import annotations

import numpy as np
import pytest

from derain_ros.runtime.input.levels import LevelsOfCamera, fitting, levels_of, seen_at

S = 1_000_000_000


def image(brightest: int, hot: int = 0, darkest: int = 0) -> np.ndarray:
    """A 16-bit image from as dark to as bright as that, with one pixel in sixteen thousand that is `hot`."""
    pixels = np.linspace(darkest, brightest, 128 * 128).reshape(128, 128).astype(np.uint16)
    if hot:
        pixels[64, 64] = hot
    return pixels


def whites(levels: LevelsOfCamera, brightest: int, *seconds: float) -> list[int]:
    return [levels.follow(image(brightest), round(second * S))[1] for second in seconds]


def test_the_first_frame_decides_until_others_disagree_for_long() -> None:
    levels = LevelsOfCamera()
    assert whites(levels, 4000, 0.0) == [4096]
    assert whites(levels, 16000, 0.1, 0.2, 0.39, 0.4) == [4096, 4096, 4096, 16384]
    assert set(whites(levels, 4000, *(1 + second for second in range(60)))) == {16384}
    assert whites(levels, 4000, 61.0) == [4096]


def test_half_of_the_values_is_enough_to_stay() -> None:
    levels = LevelsOfCamera()
    assert set(whites(levels, 4000, 0.0) + whites(levels, 2000, *range(1, 200))) == {4096}


def test_a_single_bright_frame_and_hot_pixels_change_nothing() -> None:
    levels = LevelsOfCamera()
    grey = seen_at(image(4000), levels.follow(image(4000), 0))
    for number in range(1, 200):
        bright = 65535 if number % 20 == 0 else 4000
        assert levels.follow(image(bright, hot=65535), number * 4 * S // 10) == (0, 4096)
    hot = seen_at(image(4000, hot=65535), levels.follow(image(4000, hot=65535), 90 * S))
    assert hot[64, 64] == 255
    hot[64, 64] = grey[64, 64]
    assert np.array_equal(hot, grey)


@pytest.mark.parametrize("darkest", [0, 700, 3000, 20000, 65025])
def test_a_narrow_range_is_stretched(darkest: int) -> None:
    narrow = image(darkest + 510, darkest=darkest)
    seen = seen_at(narrow, levels_of(narrow))
    assert seen.min() < 60 and seen.max() > 195 and np.ptp(seen) > 150
    assert np.all(np.diff(seen.ravel().astype(int)) >= 0), "the order of values is kept"


def test_little_noise_is_not_stretched_to_a_picture() -> None:
    flat = image(3012, darkest=3000)
    assert np.ptp(seen_at(flat, levels_of(flat))) <= 12


def test_a_stretched_range_stays_while_it_wanders() -> None:
    levels = LevelsOfCamera()
    first = levels.follow(image(3510, darkest=3000), 0)
    wandering = [
        levels.follow(image(3510 + shift, darkest=3000 + shift), number * S // 10)
        for number, shift in enumerate([0, 15, 30, 15, 0, -15, -30] * 10)
    ]
    assert set(wandering) == {first}
    assert levels.follow(image(4510, darkest=4000), 8 * S) == first
    assert levels.follow(image(4510, darkest=4000), 8 * S + 300_000_000)[0] > 3800


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [
        (0, 0, (0, 256)),
        (0, 255, (0, 256)),
        (0, 256, (0, 512)),
        (10, 1023, (0, 1024)),
        (0, 65535, (0, 65536)),
        (3000, 3510, (2936, 3575)),
        (65535, 65535, (65407, 65664)),
    ],
)
def test_the_levels_that_fit(low: int, high: int, levels: tuple[int, int]) -> None:
    assert fitting(low, high) == levels


def noise(low: int, used: int) -> np.ndarray:
    """A 16-bit scene that uses so many values from `low` on."""
    scene = np.random.default_rng(0).normal(0.5, 0.15, (240, 320)).clip(0, 1)
    return (low + scene * used).astype(np.uint16)


def spoiled(how: str) -> np.ndarray:
    pixels = noise(14000, 510)
    if how == "hot":
        pixels[np.random.default_rng(1).random(pixels.shape) < 0.002] = 65535
    elif how == "data":
        pixels[:2] = 65535
    else:
        pixels[:, :2] = 0
    return pixels


@pytest.mark.parametrize("how", ["hot", "data", "dead"])
def test_what_is_no_part_of_the_scene_does_not_take_its_contrast(how: str) -> None:
    seen = seen_at(spoiled(how), levels_of(spoiled(how)))
    assert seen[10:-10, 10:-10].std() > 30


def test_one_hot_pixel_of_a_small_image_is_no_brightness() -> None:
    small = noise(14000, 510)[:60, :80].copy()
    small[28, 40] = 65535
    assert levels_of(small)[1] < 15000


@pytest.mark.parametrize("first", [14000, 20000])
@pytest.mark.parametrize("turns", [1, 2, 4, 6])
@pytest.mark.parametrize("period_s", [0.005, 0.05, 0.4, 5.0])
def test_exposures_that_take_turns_are_all_seen(first: int, turns: int, period_s: float) -> None:
    levels = LevelsOfCamera()
    often, seldom = noise(first, 510), noise(34000 - first, 510)
    within, followed = 0.3 / min(period_s, 0.3) * 8 * (turns + 1) + turns + 1, []
    for number in range(round(within) + 100):
        scene = often if number % (turns + 1) < turns else seldom
        followed.append(levels.follow(scene, round(number * period_s * S)))
        assert number < within or 0 < np.median(seen_at(scene, followed[-1])) < 255, number
    assert len(set(followed)) == 2, "one change, then they stay"


@pytest.mark.parametrize("period_s", [0.05, 1.0])
def test_a_lamp_that_passes_now_and_then_changes_nothing(period_s: float) -> None:
    levels = LevelsOfCamera()
    usual, lit = noise(14000, 510), noise(20000, 510)
    first = levels.follow(usual, 0)
    for number in range(1, 400):
        assert levels.follow(lit if number % 40 == 0 else usual, round(number * period_s * S)) == first
