"""Anomalies by name: each hides something, more of it when harder, the same from the same seed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.rain.weather import ANOMALIES, FALLING, Weather


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    noise = np.random.default_rng(3).integers(40, 180, (12, 16), dtype=np.uint8)
    return cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("name", ANOMALIES)
def test_an_anomaly_changes_what_it_hides(name: str, image: np.ndarray) -> None:
    weather = Weather(name, 0.5, 120, 160, np.random.default_rng(1))
    wet, mask = weather.wet(image)
    assert wet.shape == mask.shape == image.shape and wet.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255} and 0.001 < (mask > 0).mean() < 0.95
    change = cv2.absdiff(wet, weather.clear(image))
    assert change[mask > 0].mean() > 2 * change[mask == 0].mean()
    assert np.array_equal(weather.clear(image), image) == (name != "night_rain")


@pytest.mark.parametrize("name", ["raindrop photograph", "dirt mud", *FALLING])
def test_more_of_it_hides_more(name: str, image: np.ndarray) -> None:
    little, much = (
        (Weather(name, amount, 120, 160, np.random.default_rng(1)).wet(image)[1] > 0).mean() for amount in (0.1, 0.8)
    )
    assert much > 1.5 * little


def test_the_same_seed_gives_the_same(image: np.ndarray) -> None:
    first, again = (Weather("dirt film", 0.3, 120, 160, np.random.default_rng(5)).wet(image)[0] for _ in range(2))
    assert np.array_equal(first, again)


def test_another_name_is_told() -> None:
    with pytest.raises(ValueError, match="no anomaly is called 'snow'; there are raindrop heavy"):
        Weather("snow", 0.1, 120, 160, np.random.default_rng(0))
