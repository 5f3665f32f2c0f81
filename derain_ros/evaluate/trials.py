"""The trainings that tables I and II of paper 1 compare, on the real pairs at hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from derain_ros.evaluate.restoration import Pair as NamedPair
from derain_ros.evaluate.restoration import Score, read_pairs, similarity
from derain_ros.train import checkpoint
from derain_ros.train.data import HELD_OUT_FRAMES, DataError, Pair, SampleSource, image_files, occlusion_of
from derain_ros.train.datasets import TrainingFolders
from derain_ros.train.gan_losses import Features, perceptual_features
from derain_ros.train.recipe import RestoreRecipe
from derain_ros.train.restore import fit
from derain_ros.train.sources import sample_source, validation_set
from derain_ros.train.validation import ValidationSet, as_tensor

log = logging.getLogger(__name__)

VALIDATION_FRAMES = ("800_", "5600_", "10400_")
"""Whole frames of the real pairs on which trainings stop early; the table is made on those held out from all."""


@dataclass(frozen=True)
class RealPairs:
    """The real pairs by what they are for."""

    train: list[Pair]
    validate: list[Pair]
    test: list[NamedPair]

    @classmethod
    def load(cls, data: Path) -> RealPairs:
        """Split the pairs below `data` by their frames; DataError where a part is left empty."""
        wet, clean = data / "raindrop_real/train/rain", data / "raindrop_real/train/clean"
        image_files(wet)
        pairs = list(read_pairs(wet, clean, 3))
        test = [p for p in pairs if p.name.startswith(HELD_OUT_FRAMES)]
        validate = [p for p in pairs if p.name.startswith(VALIDATION_FRAMES)]
        train = [p for p in pairs if not p.name.startswith(HELD_OUT_FRAMES + VALIDATION_FRAMES)]
        for part, frames in ((test, HELD_OUT_FRAMES), (validate, VALIDATION_FRAMES), (train, ("others",))):
            if not part:
                raise DataError(f"{wet}: no image's name begins with one of {', '.join(frames)}")
        return cls(_with_masks(train), _with_masks(validate), test)


def ablation(data: Path, output: Path, recipe: RestoreRecipe) -> dict[str, list[Score]]:
    """Table I: G, G+E and G+E+A, each pre-trained on synthetic drops, trained on real pairs, scored on others.

    All are trained alike by `recipe`. A training found below `output` is taken up, or, if it is done, used.
    """
    real, perceptual, rows = RealPairs.load(data), perceptual_features(), {}
    for name, enhancer, aggregation in (("G", False, False), ("G+E", True, False), ("G+E+A", True, True)):
        log.info("%s", name)
        variant = replace(recipe, enhancer=enhancer, aggregation=aggregation)
        folder = output / name.lower().replace("+", "_")
        initial = pre_train(data, folder / "synthetic", variant, perceptual, sharp=False)
        rows[name] = score(_on_real(real, folder / "real", variant, perceptual, initial), real.test)
    return rows


def initialisation(data: Path, output: Path, recipe: RestoreRecipe) -> dict[str, list[Score]]:
    """Table II: the whole network on real pairs, its weights at first random, or learnt on sharp or on our drops.

    A training found below `output` is taken up, or, if it is done, used.
    """
    real, perceptual, rows = RealPairs.load(data), perceptual_features(), {}
    for name, sharp in (("Random", None), ("Sharp drops", True), ("Our drops", False)):
        log.info("%s", name)
        folder = output / name.lower().replace(" ", "_")
        initial = None if sharp is None else pre_train(data, folder / "synthetic", recipe, perceptual, sharp)
        rows[name] = score(_on_real(real, folder / "real", recipe, perceptual, initial), real.test)
    return rows


def pre_train(data: Path, output: Path, recipe: RestoreRecipe, perceptual: Features | None, sharp: bool) -> Path:
    """Train on synthetic pairs alone, their drops out of focus, or as in the reference model `sharp`."""
    folders = TrainingFolders.find([data])
    recipe = replace(recipe, real_share=0.0, sharp_drops=sharp)
    return _fit(sample_source(folders, recipe), validation_set(folders, recipe), output, recipe, perceptual)


@torch.no_grad()
def score(net: nn.Module, pairs: Sequence[NamedPair]) -> list[Score]:
    """Figures of `pairs`, whose sides are multiples of 32, restored by `net`."""
    scores = []
    for pair in pairs:
        restored = (net(as_tensor(pair.wet)).restored[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
        scores.append(Score(pair.name, *similarity(pair.wet, pair.clean), *similarity(restored, pair.clean)))
    return scores


def _with_masks(pairs: list[NamedPair]) -> list[Pair]:
    return [Pair(p.wet, p.clean, occlusion_of(p.wet, p.clean)) for p in pairs]


def _on_real(real: RealPairs, output: Path, recipe: RestoreRecipe, perceptual: Features | None,
             initial: Path | None) -> nn.Module:
    """Train on the real pairs alone."""
    recipe = replace(recipe, real_share=1.0, start_from="" if initial is None else str(initial))
    source = SampleSource(real.train, None, recipe.crop, 1.0, recipe.clean_share, recipe.seed)
    return checkpoint.load_network(_fit(source, _validation(real.validate), output, recipe, perceptual))


def _fit(source: SampleSource, images: ValidationSet, output: Path, recipe: RestoreRecipe,
         perceptual: Features | None) -> Path:
    """Train on the fastest device there is."""
    result, stopped = fit(Fabric(devices=1, precision="bf16-mixed"), source, images, output, recipe, perceptual)
    if stopped:
        raise KeyboardInterrupt
    return Path(result)


def _validation(pairs: list[Pair]) -> ValidationSet:
    """Pairs to restore, and their first dozen clean images to keep."""
    return ValidationSet(pairs, [p.clean for p in pairs[:12]])
