"""Drops on the glass: where they are, what they show, and that they stay."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from derain_ros.rain.drops import LensDrops
from derain_ros.rain.shapes import Drops, melted_ellipses
from derain_ros.rain.style import KINDS, DropStyle

SHARP = DropStyle(
    radius=0.04,
    spread=0.5,
    coverage=0.2,
    defocus=0.0,
    brightness=1.0,
    glare=0.0,
    sky=0.0,
    daylight=0.0,
    caustic=0.0,
    light=0.0,
    bend=0.5,
    rim=0.0,
    film=0.0,
    running=0.0,
)


def photograph(height: int = 120, width: int = 160, channels: int = 3) -> np.ndarray:
    """Noise with a bright upper and a dark lower half, as sky and road are."""
    rng = np.random.default_rng(5)
    image = rng.integers(0, 60, (height, width, channels), dtype=np.uint8)
    image[: height // 2] += 180
    return image if channels == 3 else image[..., 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_only_wet_pixels_change(channels: int) -> None:
    image = photograph(channels=channels)
    before = image.copy()
    wet, alpha = LensDrops(120, 160, np.random.default_rng(1), 0.15).apply(image)
    assert wet.shape == image.shape and wet.dtype == np.uint8
    assert alpha.shape == (120, 160) and alpha.dtype == np.float32 and alpha.min() >= 0 and alpha.max() <= 1 + 1e-5
    np.testing.assert_array_equal(image, before)
    dry = alpha == 0
    assert dry.mean() > 0.1
    np.testing.assert_array_equal(wet[dry], image[dry])
    assert np.abs(wet[alpha > 0.9].astype(int) - image[alpha > 0.9]).mean() > 5


def test_the_same_seed_gives_the_same_drops_and_they_stay_while_the_scene_moves() -> None:
    image, moved = photograph(), np.roll(photograph(), 7, axis=1)
    first, again = (LensDrops(120, 160, np.random.default_rng(3), 0.1) for _ in range(2))
    np.testing.assert_array_equal(first.apply(image)[0], again.apply(image)[0])
    np.testing.assert_array_equal(first.apply(moved)[1], first.apply(image)[1])
    other = LensDrops(120, 160, np.random.default_rng(4), 0.1)
    assert not np.array_equal(other.alpha, first.alpha)


@pytest.mark.parametrize("coverage", [0.0, 0.05, 0.4])
def test_coverage_is_met(coverage: float) -> None:
    alpha = LensDrops(240, 320, np.random.default_rng(2), coverage, SHARP).alpha
    assert np.mean(alpha > 0.5) == pytest.approx(coverage, abs=0.2 * coverage)


def test_a_drop_shows_the_world_upside_down() -> None:
    rng, one = np.random.default_rng(0), np.ones(1)
    middle = Drops(one * 320 / 480, one * 0.5, one * 0.2, one, one, np.zeros(1, int), np.zeros(1, bool))
    glass = LensDrops.of(240, 320, replace(SHARP, bend=0.2), middle, melted_ellipses(1, rng), rng)
    image = photograph(240, 320)
    wet, alpha = glass.apply(image)
    assert wet[120:][alpha[120:] > 0.99].mean() > wet[:120][alpha[:120] > 0.99].mean() + 50


@pytest.mark.parametrize("moving", [False, True])
def test_a_large_drop_in_focus_has_no_ridges(moving: bool) -> None:
    one = np.ones(1)
    large = Drops(one * 320 / 480, one * 0.5, one * 0.33, one, one, np.zeros(1, int), np.zeros(1, bool))
    glass = LensDrops.of(
        480,
        640,
        SHARP,
        large,
        melted_ellipses(1, np.random.default_rng(0)),
        np.random.default_rng(0),
        np.array([moving]),
    )
    # What is seen from one pixel to the next, and how that changes: smoothly within the drop.
    inside = glass.alpha[240] > 0
    looks = np.diff(4 * glass._map_x[240][inside][25:-25])
    assert len(looks) > 200 and np.abs(np.diff(looks)).max() < 1.5


def test_defocus_softens_the_borders() -> None:
    soft_style = replace(SHARP, defocus=0.04)
    sharp = LensDrops(240, 320, np.random.default_rng(2), 0.1, SHARP).alpha
    soft = LensDrops(240, 320, np.random.default_rng(2), 0.1, soft_style).alpha
    assert np.mean((sharp > 0.05) & (sharp < 0.95)) == 0
    assert np.mean((soft > 0.05) & (soft < 0.95)) > 0.05
    # The same drops otherwise.
    assert np.corrcoef(sharp.ravel(), soft.ravel())[0, 1] > 0.7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(16, 16), (33, 97), (120, 41)])
def test_every_kind_at_any_size(kind: str, channels: int, size: tuple[int, int]) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        image = photograph(*size, channels)
        wet, alpha = LensDrops(*size, rng, style=DropStyle.draw(rng, kind)).apply(image)
        assert wet.shape == image.shape and wet.dtype == np.uint8 and alpha.shape == size
        assert alpha.min() >= 0 and alpha.max() <= 1 and alpha.any()
        np.testing.assert_array_equal(wet[alpha == 0], image[alpha == 0])


def test_sizes_run_from_pinpoints_to_a_third_of_the_frame() -> None:
    radii = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        style = replace(DropStyle.draw(rng), defocus=0.0, film=0.0)
        shape = LensDrops(240, 320, rng, style=style).alpha > 0.5
        radii += list(np.sqrt(cv2.connectedComponentsWithStats(shape.astype(np.uint8))[2][1:, 4] / np.pi) / 240)
    assert min(radii) < 0.008 and max(radii) > 0.16


def test_bright_light_becomes_a_bright_crescent_below() -> None:
    style = replace(SHARP, radius=0.12, spread=0.1, caustic=2.0)
    plain, lit = (
        LensDrops(240, 320, np.random.default_rng(1), 0.15, s).apply(photograph(240, 320))[0].astype(int)
        for s in (replace(style, caustic=0.0), style)
    )
    alpha = LensDrops(240, 320, np.random.default_rng(1), 0.15, style).alpha
    gain = (lit - plain).sum(axis=2)
    assert (gain >= 0).all() and (lit[gain > 100] > 240).any()
    rows = np.arange(240)[:, None]
    for label in range(1, cv2.connectedComponents((alpha > 0).astype(np.uint8))[0]):
        inside = cv2.connectedComponents((alpha > 0).astype(np.uint8))[1] == label
        if inside.sum() > 1000 and gain[inside].sum() > 0:
            assert (gain * inside * rows).sum() / (gain * inside).sum() > (inside * rows).sum() / inside.sum()


def test_the_sharp_reference_has_the_same_drops_without_brightening() -> None:
    ours, sharp = DropStyle.draw(np.random.default_rng(3)), DropStyle.draw(np.random.default_rng(3)).sharp()
    assert sharp.defocus == 0 and sharp.glare == 0 and sharp.caustic == 0 and sharp.brightness == 1
    assert ours.defocus > 0 and (ours.radius, ours.coverage, ours.rim) == (sharp.radius, sharp.coverage, sharp.rim)
    with pytest.raises(ValueError, match="'drizzle'"):
        DropStyle.draw(np.random.default_rng(0), "drizzle")


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        LensDrops(8, 160, np.random.default_rng(0), 0.1)
    with pytest.raises(ValueError, match="coverage 1.5"):
        LensDrops(120, 160, np.random.default_rng(0), 1.5)
    with pytest.raises(ValueError, match=r"the image is \(100, 160\), the glass is for \(120, 160\)"):
        LensDrops(120, 160, np.random.default_rng(0), 0.1).apply(np.zeros((100, 160), np.uint8))
