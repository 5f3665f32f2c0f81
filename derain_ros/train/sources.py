"""From folders of data and a recipe to the samples for training and the images for validation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from derain_ros.data.layouts import PairFiles, TrainingFolders
from derain_ros.data.samples import (
    RENDERED,
    DataError,
    Pair,
    Render,
    RenderedPairs,
    SampleSource,
    random_crop,
    read_rgb,
    render_pair,
    render_rain,
    render_shower,
)
from derain_ros.train.recipe import RestoreRecipe
from derain_ros.train.validation import ValidationSet

VALIDATION_PAIRS = 48
"""Largest number of real pairs for validation."""


def render_of(recipe: RestoreRecipe) -> Render:
    """Return the function that renders the recipe's synthetic pairs."""
    render = render_rain if recipe.anomaly == "rain" else partial(render_pair, sharp=recipe.sharp_drops)
    if not recipe.showers:
        return render

    def either(files: Sequence[Path], size: int, rng: np.random.Generator) -> Pair:
        return (render_shower if rng.random() < recipe.showers else render)(files, size, rng)

    return either


def sample_source(folders: TrainingFolders, recipe: RestoreRecipe) -> SampleSource:
    """Return the source of a recipe's samples: real pairs, synthetic ones, or both."""
    real = PairFiles(folders.train if recipe.real_share > 0 else [])
    share = 1.0 - (recipe.real_share if real else 0.0)
    rendered = RenderedPairs(
        folders.photographs,
        recipe.synthetic,
        recipe.batch * share / recipe.reuse,
        max(RENDERED, recipe.crop),
        recipe.seed,
        render_of(recipe),
    )
    synthetic = rendered if recipe.synthetic and share > 0 and folders.photographs else None
    return SampleSource(
        real, synthetic, recipe.crop, recipe.real_share, recipe.clean_share, recipe.seed, recipe.grey_share
    )


def validation_set(folders: TrainingFolders, recipe: RestoreRecipe) -> ValidationSet:
    """Return held-out pairs, real or synthetic as in training, and up to a dozen clean crops.

    The crops must stay unchanged. DataError if there are no images for validation.
    """
    rng = np.random.default_rng(0)
    photographs = folders.validation_photographs
    if not photographs:
        raise DataError(
            "no images to validate on: at least one folder of data must hold more than a few pairs, or "
            "photographs in bsds500/val or camvid/val/image"
        )
    if recipe.real_share > 0 and folders.validation:
        pairs = PairFiles(folders.validation[:: -(-len(folders.validation) // VALIDATION_PAIRS)])
        real = [pairs[i] for i in range(len(pairs))]
    else:
        real = [render_of(recipe)(photographs, RENDERED, rng) for _ in range(min(32, recipe.synthetic))]
    clean = [random_crop(read_rgb(p), RENDERED, rng) for p in photographs[:: -(-len(photographs) // 12)]]
    return ValidationSet(real, clean)
