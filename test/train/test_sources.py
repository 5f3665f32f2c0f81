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


@pytest.mark.parametrize("anomaly", ["drops", "rain"])
def test_the_anomaly_of_the_recipe(anomaly: str, data_folder: Path) -> None:
    folders = TrainingFolders.find([data_folder], anomaly)
    recipe = RestoreRecipe(anomaly=anomaly, crop=64, synthetic=16)
    source, rng = sample_source(folders, recipe), np.random.default_rng(0)
    assert source.synthetic is not None and len(source.real) == len(folders.train)
    synthetic = [source.synthetic.draw(step, rng) for step in range(8)]
    synthetic += validation_set(folders, replace(recipe, real_share=0.0)).real
    assert all(map(is_rain, synthetic)) if anomaly == "rain" else not any(map(is_rain, synthetic))
