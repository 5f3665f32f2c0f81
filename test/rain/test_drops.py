"""Drops on the glass: where they are, what they show, and that they stay."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.rain.drops import DropStyle, LensDrops

SHARP = DropStyle(radius=0.04, spread=0.5, coverage=0.2, defocus=0.0, brightness=1.0, glare=0.0, sky=0.0,
                  daylight=0.0, caustic=0.0, light=0.0, bend=0.5, rim=0.0, film=0.0, running=0.0)


def photograph(height: int = 120, width: int = 160, channels: int = 3) -> np.ndarray:
    """Noise with a bright upper and a dark lower half, as sky and road are."""
    rng = np.random.default_rng(5)
    image = rng.integers(0, 60, (height, width, channels), dtype=np.uint8)
    image[:height // 2] += 180
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
    glass = LensDrops(240, 320, np.random.default_rng(0), 0.5, SHARP)
    image = photograph(240, 320)
    wet, alpha = glass.apply(image)
    inside = alpha > 0.99
    brighter_below = wet[120:][inside[120:]].mean() - image[120:][inside[120:]].mean()
    darker_above = wet[:120][inside[:120]].mean() - image[:120][inside[:120]].mean()
    assert brighter_below > 10 and darker_above < -10


def test_defocus_softens_the_borders() -> None:
    soft_style = DropStyle(**{**SHARP.__dict__, "defocus": 0.04})
    sharp = LensDrops(240, 320, np.random.default_rng(2), 0.1, SHARP).alpha
    soft = LensDrops(240, 320, np.random.default_rng(2), 0.1, soft_style).alpha
    assert np.mean((sharp > 0.05) & (sharp < 0.95)) == 0
    assert np.mean((soft > 0.05) & (soft < 0.95)) > 0.05


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        LensDrops(8, 160, np.random.default_rng(0), 0.1)
    with pytest.raises(ValueError, match="coverage 1.5"):
        LensDrops(120, 160, np.random.default_rng(0), 1.5)
    with pytest.raises(ValueError, match="160x100, the glass 160x120"):
        LensDrops(120, 160, np.random.default_rng(0), 0.1).apply(np.zeros((100, 160), np.uint8))
