"""A whole shower: dry, streaks, drops that gather and run, drying; and single moments of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.rain.drops import OCCLUDED
from derain_ros.rain.shower import COVERAGE, Severity, Shower, draw_moment

FRAMES = 50


def image(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Coarse noise: what is seen through a drop differs nearly everywhere from what is there."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def shower(seed: int = 1) -> Shower:
    return Shower(120, 160, seed, FRAMES)


def test_a_seed_gives_the_same_frames_in_any_order() -> None:
    one, other = shower(), shower()
    late = one.wet(image(), 30)
    other.wet(image(seed=3), 44)
    other.wet(image(), 7)
    again = other.wet(image(), 30)
    for part in ("image", "mask", "drops", "streaks"):
        np.testing.assert_array_equal(getattr(again, part), getattr(late, part))
    assert not np.array_equal(Shower(120, 160, 2, FRAMES).wet(image(), 30).image, late.image)


def test_a_generator_seeds_it_too() -> None:
    one, other = (Shower(120, 160, np.random.default_rng(5), FRAMES).wet(image(), 28).image for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_it_begins_and_ends_dry() -> None:
    for seed in range(3):
        wet = shower(seed)
        for step in (0, FRAMES - 1):
            frame = wet.wet(image(), step)
            np.testing.assert_array_equal(frame.image, image())
            assert not frame.mask.any() and not frame.drops.any() and not frame.streaks.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_without_drop_or_streak_pixels_are_those_of_the_scene(channels: int) -> None:
    scene = image() if channels == 3 else image()[..., 0].copy()
    before, wet = scene.copy(), shower()
    for step in (10, 20, 30, 45):
        frame = wet.wet(scene, step)
        dry = (frame.drops == 0) & (frame.streaks == 0)
        assert 500 < np.count_nonzero(dry) < dry.size and frame.image.shape == scene.shape
        np.testing.assert_array_equal(frame.image[dry], scene[dry])
        # Streaks alone only add light of the sky.
        streaked = (frame.drops == 0) & (frame.streaks > 0.2) & (scene.reshape(120, 160, -1).max(axis=2) < 100)
        assert (frame.image[streaked] >= scene[streaked]).all() and streaked.any() == (step < 45)
    np.testing.assert_array_equal(scene, before)


def test_masks_are_where_pixels_changed() -> None:
    wet = shower()
    for step in (15, 25, 35, 43):
        frame = wet.wet(image(), step)
        changed = cv2.absdiff(frame.image, image()).max(axis=2)
        masked = frame.mask == 255
        assert set(np.unique(frame.mask)) == {0, 255} and (masked | (frame.drops <= OCCLUDED)).all()
        assert (changed[masked] > 5).mean() > 0.95
        # What is left out are the soft rims of drops.
        assert masked[changed > 120].mean() > 0.97 and (frame.drops[~masked & (changed > 10)] > 0).all()


def test_water_gathers_and_goes() -> None:
    wet = shower()
    frames = [wet.wet(image(), step) for step in range(FRAMES)]
    covered = np.array([float((frame.drops > OCCLUDED).mean()) for frame in frames])
    streaked = np.array([float((frame.streaks > 0.05).mean()) for frame in frames])
    assert (covered[:10] == 0).all() and covered[14] < covered[20] < covered[26] and covered.max() > 0.2
    assert covered[40] > 2 * covered[44] > 0 and covered[44] > covered[48] and covered[-1] == 0
    # Streaks come before drops, thicken, and end with the rain.
    assert 0 < streaked[7] < streaked[14] < streaked[26] and (streaked[42:] == 0).all()
    for one, next_one in zip(frames[5:40], frames[6:41], strict=False):
        assert not np.array_equal(one.streaks, next_one.streaks)


def test_drops_grow_large_and_run_down() -> None:
    wet = shower()
    biggest, rows = [], []
    for step in range(12, 41):
        wet.wet(image(), step)
        biggest.append(wet.water.drops().radius.max(initial=0.0))
        rows.append(int(np.count_nonzero(wet.water.running)))
    assert biggest[-1] > 2 * biggest[0] > 0 and sum(rows[:6]) < sum(rows[-6:]) and max(rows) >= 2


def test_a_short_shower_and_impossible_ones() -> None:
    for frames in (1, 2, 5):
        np.testing.assert_array_equal(Shower(120, 160, 0, frames).wet(image(), frames - 1).image, image())
    with pytest.raises(ValueError, match="15x120 pixels is too small"):
        Shower(120, 15, 0, 10)
    with pytest.raises(ValueError, match="0 frames at 10"):
        Shower(120, 160, 0, 0)
    with pytest.raises(ValueError, match="step 50 of a shower of 50 frames"):
        shower().wet(image(), FRAMES)
    with pytest.raises(ValueError, match="the image is 160x100, the shower is for 160x120"):
        shower().wet(image(100), 1)


@pytest.mark.parametrize("severity", ["moderate", "heavy"])
def test_moments_are_as_wet_as_their_severity(severity: Severity) -> None:
    low, high = COVERAGE[severity]
    # As bright as streaks are: on it they are not seen, and what is masked are drops.
    even, scene = np.full((96, 128, 3), 150, np.uint8), image(96, 128)
    for seed in range(16):
        _, drops = draw_moment(even, np.random.default_rng(seed), severity)
        assert low <= (drops > 0).mean() <= high
        wet, mask = draw_moment(scene, np.random.default_rng(seed), severity)
        assert wet.shape == scene.shape and wet.dtype == mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
        assert (mask[drops > 0] == 255).all() and (mask > 0).mean() > (drops > 0).mean() + 0.002
        assert (cv2.absdiff(wet, scene).max(axis=2)[mask == 0] > 120).mean() < 0.02
        for again, once in zip(draw_moment(scene, np.random.default_rng(seed), severity), (wet, mask), strict=True):
            np.testing.assert_array_equal(again, once)


def test_heavy_rain_has_more_streaks() -> None:
    scene, streaked = np.zeros((96, 128), np.uint8), {}
    scene[::2] = 20
    for severity in ("moderate", "heavy"):
        drops = [draw_moment(np.full_like(scene, 150), np.random.default_rng(s), severity)[1] for s in range(12)]
        both = [draw_moment(scene, np.random.default_rng(s), severity)[1] for s in range(12)]
        streaked[severity] = np.mean([(b[d == 0] > 0).mean() for b, d in zip(both, drops, strict=True)])
    assert streaked["heavy"] > 1.5 * streaked["moderate"] > 0


def test_any_moment_may_be_dry_or_wet() -> None:
    scene = image(96, 128)[..., 0].copy()
    covered = [float((draw_moment(scene, np.random.default_rng(seed))[1] > 0).mean()) for seed in range(40)]
    assert min(covered) < 0.02 and max(covered) > 0.35 and len(set(covered)) > 35


def test_impossible_moments_are_refused() -> None:
    with pytest.raises(ValueError, match="'light'; there are moderate, heavy"):
        draw_moment(image(), np.random.default_rng(0), "light")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="12x120 pixels is too small"):
        draw_moment(image(120, 12), np.random.default_rng(0))
