"""Hard negatives change a picture in the ways they say."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.data.negatives import _froth, _housing, exposure_table, spoil_scene, spoil_signal


def _image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160), dtype=np.uint8)


def test_scenes_are_spoiled_in_many_ways() -> None:
    image = _image()
    other = np.random.default_rng(1).integers(0, 256, (90, 70), dtype=np.uint8)
    spoiled = [spoil_scene(image, other, np.random.default_rng(seed)) for seed in range(60)]
    assert all(s.shape == image.shape and s.dtype == np.uint8 for s in spoiled)
    assert all(np.abs(s.astype(int) - image).mean() > 1 for s in spoiled)
    assert np.array_equal(image, _image())
    edges = [np.abs(np.diff(s.astype(int), axis=1)).mean() for s in spoiled]
    sharp = np.abs(np.diff(image.astype(int), axis=1)).mean()
    assert min(edges) < 0.2 * sharp, "none is out of focus"
    assert max(edges) > 0.6 * sharp, "none is in focus"
    assert min(np.median(s) for s in spoiled) < 70, "none is a night"


def test_a_window_reflects_the_other_picture() -> None:
    image = np.full((120, 160), 128, np.uint8)
    other = np.zeros((120, 160), np.uint8)
    other[:, 80:] = 255
    steps = [
        int(s[60, 140]) - int(s[60, 20])
        for s in (spoil_scene(image, other, np.random.default_rng(seed)) for seed in range(60))
        if s[:, 120:].std() < 3
    ]
    assert max(steps) > 8, "none shows its brighter side"


def test_exposure_rises_with_the_light_and_reaches_the_extremes_when_strong() -> None:
    mild = [exposure_table(np.random.default_rng(seed), strong=False) for seed in range(40)]
    strong = [exposure_table(np.random.default_rng(seed), strong=True) for seed in range(40)]
    for table in mild + strong:
        assert table.shape == (256,) and table.dtype == np.uint8 and (np.diff(table.astype(int)) >= 0).all()
    assert max(t[128] for t in strong) > 230 > max(t[128] for t in mild)
    assert min(t[128] for t in strong) < 60 < min(t[128] for t in mild)


def test_signals_are_noisier_when_strong() -> None:
    image = np.full((120, 160), 128, np.uint8)
    noise = {
        strong: np.mean([spoil_signal(image, np.random.default_rng(seed), strong).std() for seed in range(30)])
        for strong in (False, True)
    }
    assert noise[True] > 2 * noise[False] > 0


def test_froth_is_full_of_bubbles_with_a_lamp_in_each_and_a_housing_hides_the_corners() -> None:
    grey = np.full((120, 160), 0.2, np.float32)
    for seed in range(12):
        froth = _froth(grey, np.random.default_rng(seed))
        changed = np.abs(froth - grey) > 0.02
        assert changed.mean() > 0.05 and froth.max() > 1.5 * np.median(froth[changed])
        housing = _housing(grey, np.random.default_rng(seed))
        assert housing[50:70, 70:90] == pytest.approx(0.2), "the middle is seen"
        corners = np.abs(housing - grey)[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.max() > 1e-3
