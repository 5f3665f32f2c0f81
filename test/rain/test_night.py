"""Night, dry and wet: dark, with lamps that stay, and streaks where there is light."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.rain.night import GAMMA, NightLight, NightRain


def _scene() -> np.ndarray:
    return np.random.default_rng(3).integers(60, 220, (120, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_day_becomes_a_night_with_lamps(channels: int) -> None:
    day = _scene() if channels == 3 else _scene()[..., 0]
    nights = [NightLight(120, 160, np.random.default_rng(seed), wet=0.0).apply(day) for seed in range(12)]
    for night in nights:
        assert night.shape == day.shape and night.dtype == np.uint8
        assert np.median(night) < 0.7 * np.median(day)
    assert max(int(night.max()) for night in nights) > 240, "no lamp shines"


def test_a_night_is_not_brightened() -> None:
    dark = np.full((60, 80), 3, np.uint8)
    lamps = NightLight(60, 80, np.random.default_rng(1), wet=0.0)
    assert np.median(lamps.apply(dark)[lamps.glow < np.quantile(lamps.glow, 0.2)]) < 120


def test_lamps_stay_and_streaks_fall() -> None:
    rain = NightRain(120, 160, np.random.default_rng(5), 0.8)
    first, cover = rain.apply(_scene())
    second, _ = rain.apply(_scene())
    assert not np.array_equal(first, second)
    assert np.array_equal(rain.lamps.apply(_scene()), rain.lamps.apply(_scene()))
    assert cover.shape == (120, 160) and cover.dtype == np.float32 and 0 <= cover.min() < cover.max() <= 1
    dry = rain.lamps.apply(_scene())
    changed = np.abs(first.astype(int) - dry).max(2)
    assert changed[cover == 0].max() <= 1 and changed[cover > 0.5].mean() > 5


def test_streaks_are_brighter_near_a_lamp() -> None:
    gains = []
    for seed in range(8):
        rain = NightRain(120, 160, np.random.default_rng(seed), 1.0)
        black = np.zeros((120, 160), np.uint8)
        light = (rain.apply(black)[0] / 255.0) ** GAMMA - (rain.lamps.apply(black) / 255.0) ** GAMMA
        near, far = (rain.lamps.glow > 0.3) & (rain.lamps.glow < 0.6), rain.lamps.glow < 0.1
        if near.sum() > 50 and far.sum() > 50:
            gains.append(light[near].mean() / max(light[far].mean(), 1e-6))
    assert np.median(gains) > 1.5 and len(gains) >= 3


def test_the_same_seed_gives_the_same_night() -> None:
    one, other = (NightRain(120, 160, np.random.default_rng(5), 0.5).apply(_scene())[0] for _ in range(2))
    assert np.array_equal(one, other)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        NightLight(4, 160, np.random.default_rng(0), wet=0.0)
    with pytest.raises(ValueError, match="wetness 2"):
        NightLight(120, 160, np.random.default_rng(0), wet=2.0)
    with pytest.raises(ValueError, match="160x120"):
        NightRain(120, 160, np.random.default_rng(0), 0.5).apply(np.zeros((60, 60), np.uint8))
