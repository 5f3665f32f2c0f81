"""What a recipe has drawn: its own kind of anomaly, in training and in validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.data.layouts import TrainingFolders  # noqa: E402
from derain_ros.data.samples import Pair, streaks_of  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402
from derain_ros.train.sources import sample_source, validation_set  # noqa: E402


def is_rain(pair: Pair) -> bool:
    """Whether the mask is that of rain, but for the edges of crops; the mask of drops follows their outlines."""
    return float(np.mean(pair.mask == streaks_of(pair.wet, pair.clean))) > 0.99


def test_a_share_of_the_synthetic_pairs_is_in_a_shower(data_folder: Path) -> None:
    folders = TrainingFolders.find([data_folder], "drops")
    recipe = RestoreRecipe(crop=64, synthetic=16, showers=1.0)
    source, rng = sample_source(folders, recipe), np.random.default_rng(0)
    assert source.synthetic is not None
    pairs = [source.synthetic.draw(step, rng) for step in range(12)]
    assert max(np.mean(pair.mask > 0) for pair in pairs) > 0.35, "heavy ones hide more than drops of this recipe do"
    changed = [np.abs(pair.wet.astype(int) - pair.clean).max(2) > 10 for pair in pairs]
    assert all(np.mean(pair.mask[where] > 0) > 0.5 for pair, where in zip(pairs, changed, strict=True) if where.any())
    streaked = [np.mean(is_streaked(pair)) for pair in pairs]
    none = sample_source(folders, replace(recipe, showers=0.0))
    assert none.synthetic is not None
    plain = [np.mean(is_streaked(none.synthetic.draw(step, rng))) for step in range(12)]
    assert np.mean(streaked) > 2 * np.mean(plain), "and there are streaks"


def is_streaked(pair: Pair) -> np.ndarray:
    """Pixels that are much brighter than those four columns away on both sides, which is what streaks are."""
    gain = pair.wet.astype(int).sum(2) - pair.clean.astype(int).sum(2)
    return (gain[:, 4:-4] > gain[:, :-8] + 30) & (gain[:, 4:-4] > gain[:, 8:] + 30)


@pytest.mark.parametrize("anomaly", ["drops", "rain"])
def test_the_anomaly_of_the_recipe(anomaly: str, data_folder: Path) -> None:
    folders = TrainingFolders.find([data_folder], anomaly)
    recipe = RestoreRecipe(anomaly=anomaly, crop=64, synthetic=16)
    source, rng = sample_source(folders, recipe), np.random.default_rng(0)
    assert source.synthetic is not None and len(source.real) == len(folders.train)
    synthetic = [source.synthetic.draw(step, rng) for step in range(8)]
    synthetic += validation_set(folders, replace(recipe, real_share=0.0)).real
    assert all(map(is_rain, synthetic)) if anomaly == "rain" else not any(map(is_rain, synthetic))
