"""Rain streaks: seeded, fresh in every frame, near vertical, brighter than what is behind them."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.rain.streaks import RainStreaks

SHAPE = (120, 160)


def _grey() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 120, SHAPE, dtype=np.uint8)


def _rain(seed: int = 1, intensity: float = 0.6) -> RainStreaks:
    return RainStreaks(*SHAPE, np.random.default_rng(seed), intensity)


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 3)])
def test_keeps_shape_and_type_and_tells_the_cover(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    rainy, alpha = _rain().apply(image)
    assert rainy.shape == shape and rainy.dtype == np.uint8
    assert alpha.shape == SHAPE and alpha.dtype == np.float32
    assert alpha.min() >= 0.0 and alpha.max() <= 1.0 and alpha.max() > 0.2
    assert np.array_equal(image, before)


def test_a_seed_gives_the_same_rain_and_every_frame_other_streaks() -> None:
    one, other = _rain(), _rain()
    first, second = one.apply(_grey())[0], one.apply(_grey())[0]
    assert np.array_equal(first, other.apply(_grey())[0])
    assert not np.array_equal(first, second)


def test_no_intensity_no_rain() -> None:
    rainy, alpha = _rain(intensity=0.0).apply(_grey())
    assert np.array_equal(rainy, _grey()) and not alpha.any()


def test_more_rain_covers_more() -> None:
    covers = [float(_rain(intensity=i).apply(_grey())[1].mean()) for i in (0.1, 0.4, 1.0)]
    assert covers[0] < 0.7 * covers[1] and covers[1] < 0.7 * covers[2]


def test_streaks_brighten_dark_scenes_and_run_down() -> None:
    rainy, alpha = _rain(intensity=0.3).apply(np.full(SHAPE, 40, np.uint8))
    assert rainy.min() >= 40 and rainy.mean() > 41
    centred = alpha - alpha.mean()
    along = np.mean(centred[4:] * centred[:-4])
    across = np.mean(centred[:, 4:] * centred[:, :-4])
    assert along > 2 * abs(across)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="160x120"):
        _rain().apply(np.zeros((100, 100), np.uint8))
    with pytest.raises(ValueError, match="intensity 1.5"):
        _rain(intensity=1.5)
    with pytest.raises(ValueError, match="too small"):
        RainStreaks(4, 100, np.random.default_rng(0), 0.5)
