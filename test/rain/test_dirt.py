"""Dirt on the lens: seeded, stays where it is, covers what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.rain.dirt import KINDS, LensDirt

SHAPE = (120, 160)


def _dirt(seed: int = 1, coverage: float = 0.2) -> LensDirt:
    return LensDirt(*SHAPE, np.random.default_rng(seed), coverage)


def _of_each_kind(coverage: float) -> dict[str, LensDirt]:
    return {kind: LensDirt(*SHAPE, np.random.default_rng(1), coverage, kind) for kind in KINDS}


def _image(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_every_kind_is_drawn() -> None:
    assert {_dirt(seed, 0.0).kind for seed in range(40)} == set(KINDS)


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 3)])
def test_keeps_shape_and_type_and_leaves_clean_glass_alone(shape: tuple[int, ...]) -> None:
    for dirt in _of_each_kind(0.1).values():
        image = _image(shape)
        dirty, alpha = dirt.apply(image)
        assert dirty.shape == shape and dirty.dtype == np.uint8
        assert alpha.shape == SHAPE and alpha.dtype == np.float32 and alpha.min() >= 0.0 and alpha.max() <= 1.0
        assert np.array_equal(image, _image(shape))
        assert np.array_equal(dirty[alpha == 0], image[alpha == 0])
        assert np.abs(dirty[alpha > 0.3].astype(int) - image[alpha > 0.3]).mean() > 10


@pytest.mark.parametrize("coverage", [0.02, 0.1, 0.5])
def test_covers_what_was_asked_for(coverage: float) -> None:
    for kind, dirt in _of_each_kind(coverage).items():
        assert dirt.alpha.max() >= 0.45, kind
        covered = float(np.mean(dirt.alpha >= 0.5 * dirt.alpha.max()))
        assert 0.5 * coverage < covered < 1.8 * coverage, (kind, covered)


def test_a_seed_gives_the_same_dirt_and_it_stays() -> None:
    one = _dirt()
    first = one.apply(_image())
    again = one.apply(_image())
    other = _dirt().apply(_image())
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[0], other[0])
    assert np.array_equal(first[1], one.apply(np.zeros(SHAPE, np.uint8))[1])
    assert not np.array_equal(first[1], _dirt(seed=2).alpha)


def test_no_coverage_no_change() -> None:
    for dirt in _of_each_kind(0.0).values():
        assert np.array_equal(dirt.apply(_image())[0], _image())


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="160x120"):
        _dirt().apply(np.zeros((100, 100), np.uint8))
    with pytest.raises(ValueError, match="coverage -0.1"):
        _dirt(coverage=-0.1)
    with pytest.raises(ValueError, match="too small"):
        LensDirt(100, 7, np.random.default_rng(0), 0.5)
    with pytest.raises(ValueError, match="no kind is called 'tar'"):
        LensDirt(*SHAPE, np.random.default_rng(0), 0.5, "tar")
