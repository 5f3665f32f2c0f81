"""The trainings that tables I and II of paper 1 compare."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.progress import track
from torch import nn

from derain_ros.data.layouts import TrainingFolders, pairs
from derain_ros.data.samples import DataError
from derain_ros.data.splits import ABLATION_FRAMES
from derain_ros.evaluate.restoration import EvaluationPair, Score, score
from derain_ros.train.checkpoint import load_network
from derain_ros.train.loop import Machine, train_phases
from derain_ros.train.recipe import RestoreRecipe
from derain_ros.train.restore import train_on
from derain_ros.train.validation import as_tensor, restore

log = logging.getLogger(__name__)


def ablation(
    data: Sequence[Path], output: Path, phases: Sequence[RestoreRecipe], machine: Machine
) -> dict[str, list[Score]]:
    """Table I: G, G+E and G+E+A, all trained by the same `phases`: on synthetic drops, then on real pairs.

    A training found below `output` is resumed, or used if it is complete. DataError if the data lacks a part.
    """
    forms = {"G": (False, False), "G+E": (True, False), "G+E+A": (True, True)}
    return _rows(
        data,
        output,
        {
            name: [replace(phase, enhancer=enhancer, aggregation=aggregation) for phase in phases]
            for name, (enhancer, aggregation) in forms.items()
        },
        machine,
    )


def initialisation(
    data: Sequence[Path], output: Path, phases: Sequence[RestoreRecipe], machine: Machine
) -> dict[str, list[Score]]:
    """Table II: the last of `phases`, on real pairs, from random weights or weights trained on sharp or on our drops.

    A training found below `output` is resumed, or used if it is complete. DataError if the recipe has no phase before
    the last, or the data lacks a part.
    """
    *before, last = phases
    if not before:
        raise DataError("the recipe has no phase on synthetic drops before the real pairs; take the one called paper")
    return _rows(
        data,
        output,
        {
            "Random": [last],
            "Sharp drops": [*(replace(phase, sharp_drops=True) for phase in before), last],
            "Our drops": [*before, last],
        },
        machine,
    )


def _rows(
    data: Sequence[Path], output: Path, trainings: Mapping[str, Sequence[RestoreRecipe]], machine: Machine
) -> dict[str, list[Score]]:
    """The scores of each training on the pairs that are held out from all trainings."""
    folders = split(data)
    test = [(path.name, path.read()) for folder in data for path in pairs(folder, "test")]
    if not test or not folders.train or not folders.validation:
        raise DataError(
            f"{', '.join(map(str, data))}: must hold real pairs to train on, to stop early on and to test on"
        )
    rows = {}
    for name, phases in trainings.items():
        log.info("%s", name)
        checkpoint = train_phases(
            lambda recipe, folder: train_on(folders, folder, recipe, machine),
            output / name.lower().replace("+", "_").replace(" ", "_"),
            phases,
        )
        held_out = [EvaluationPair(place, pair.wet, pair.clean, pair.mask) for place, pair in test]
        rows[name] = score_network(load_network(checkpoint), held_out)
    return rows


def split(data: Sequence[Path]) -> TrainingFolders:
    """The contents of the folders, with validation pairs separate from test pairs.

    If all validation pairs are test pairs too, as with RobotCar(R), which has one held-out part, ABLATION_FRAMES are
    taken out of training and used for validation.
    """
    folders = TrainingFolders.find(data)
    tested = {path.wet for folder in data for path in pairs(folder, "test")}
    kept_out = [path for path in folders.train if path.wet.name.startswith(ABLATION_FRAMES)]
    validation = [path for path in folders.validation if path.wet not in tested]
    if validation:
        return replace(folders, validation=validation)
    return replace(folders, train=[path for path in folders.train if path not in kept_out], validation=kept_out)


@torch.no_grad()
def score_network(net: nn.Module, held_out: Sequence[EvaluationPair]) -> list[Score]:
    """The scores of colour pairs restored by `net`; images are rounded to 8 bits, as a robot gets them."""
    scores = []
    for pair in track(held_out, "restoring"):
        restored, mask = restore(net, as_tensor(pair.wet))
        image = (restored[0] * 255 + 0.5).byte().permute(1, 2, 0).numpy()
        scores.append(score(pair, image, mask.numpy()))
    return scores
