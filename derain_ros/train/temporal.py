"""The temporal filter's learner: sequences of a moving scene behind fixed drops and dirt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from derain_ros.data.layouts import TrainingFolders
from derain_ros.data.samples import DataError
from derain_ros.data.sequences import SequenceSample, draw_sequence
from derain_ros.data.splits import SCENES, UNSEEN_SCENES
from derain_ros.engine import load
from derain_ros.manifest import Model
from derain_ros.nets.temporal import TemporalNet
from derain_ros.runtime.stages.restore import restore_image
from derain_ros.train import checkpoint, loop
from derain_ros.train.exported import load_temporal, name_of
from derain_ros.train.learner import Learner
from derain_ros.train.loop import Machine
from derain_ros.train.muon import Muon
from derain_ros.train.recipe import Recipe
from derain_ros.train.temporal_run import sequence_losses, validate


@dataclass(frozen=True)
class TemporalRecipe(Recipe):
    """Hyper-parameters of the temporal filter's training."""

    steps: int = 7000
    batch: int = 4
    learning_rate: float = 0.01
    warm_up: int = 100
    validate_every: int = 250
    width: int = 24
    """Filters of the network."""
    length: int = 8
    """Frames of a sequence; gradients flow back through all of them."""
    size: int = 224
    """Side of the frames in pixels, a multiple of 32."""
    kept: int = 256
    """Sequences kept in memory; new ones replace them during training."""
    reuse: float = 16.0
    """How often a sequence is used before a new one replaces it, on average."""
    flicker_weight: float = 5.0
    """Weight of the flicker, relative to the error: how much more than the clean video the output of a whole sequence
    changes from frame to frame along the scene's motion."""
    free_weight: float = 1.5
    """Weight of the error where the glass is free, relative to the covered glass: free pixels are known."""
    mask_weight: float = 0.15
    """Weight of the loss of the mask, which marks the covered glass."""
    validation: int = 24
    """Sequences of held-out photographs and scenes for validation."""

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        super().__post_init__()
        if self.size <= 0 or self.size % 32:
            raise DataError(f"recipe: size: {self.size} is not a multiple of 32")
        if self.length < 2:
            raise DataError(f"recipe: length: {self.length} frames make no sequence; 2 is the least")
        self.must_be_above_zero("width", "kept", "reuse", "validation")
        self.must_not_be_negative("flicker_weight", "free_weight", "mask_weight")


def train(data: Sequence[Path], output: Path, recipe: TemporalRecipe, restorers: Sequence[Model]) -> Path:
    """Train a temporal filter for the output of grey `restorers`; returns its checkpoint in `output`, see `loop.train`.

    DataError if the data cannot be used. It is trained on the CPU, where the motion between frames is estimated, which
    takes most of the time.
    """
    return loop.train(partial(TemporalLearner, recipe, data, restorers), output, Machine("cpu", precision="32-true"))


class TemporalLearner(Learner):
    """A temporal filter trained on sequences that are rendered during training."""

    task, better = "temporal", "psnr"
    recipe: TemporalRecipe

    def __init__(
        self, recipe: TemporalRecipe, data: Sequence[Path], restorers: Sequence[Model], fabric: Fabric, workers: int
    ) -> None:
        self.folders = TrainingFolders.find(data, "drops")
        if not self.folders.photographs or not self.folders.validation_photographs:
            raise DataError(
                f"{', '.join(map(str, data))}: the sequences are made of photographs, and there are too "
                "few to train and to validate on"
            )
        self.restorers = [model.name for model in restorers]
        self.engines = [load(model, "onnxruntime", 1) for model in restorers]
        torch.manual_seed(recipe.seed)
        net = TemporalNet(recipe.width)
        if recipe.start_from:
            self.origin = _begin(net, checkpoint.find(Path(recipe.start_from), "temporal"))
        super().__init__(fabric, recipe, net, lambda net: Muon(net, recipe.learning_rate))
        self.unseen: list[SequenceSample] = []

    def batches(self, first: int) -> Iterator[list[SequenceSample]]:
        """Return the sequences of each step from number `first` on."""
        seed = self.recipe.seed
        pool = Pool(lambda n: self._draw(self.folders.photographs, SCENES, (seed, 0, n)), self.recipe)
        return (pool.batch(step) for step in range(first, self.recipe.steps))

    def losses(self, batch: list[SequenceSample]) -> dict[str, Tensor]:
        """Return the losses of the filter's output on some sequences."""
        return sequence_losses(self.net, batch, self.recipe)

    def validate(self) -> tuple[dict[str, float], None]:
        """Return figures on held-out photographs and scenes."""
        self.unseen = self.unseen or [
            self._draw(self.folders.validation_photographs, UNSEEN_SCENES, (self.recipe.seed, 1, n))
            for n in self.shown(range(self.recipe.validation), "rendering sequences to validate on")
        ]
        return validate(self.net, self.unseen), None

    def state(self) -> dict[str, Any]:
        """Return all that training changes, and the names of the restorers."""
        return super().state() | {"restorers": self.restorers}

    def _draw(self, files: Sequence[Path], scenes: range, seed: tuple[int, ...]) -> SequenceSample:
        rng = np.random.default_rng(seed)
        engine = self.engines[int(rng.integers(len(self.engines)))]
        return draw_sequence(
            files, self.recipe.length, self.recipe.size, lambda wet: restore_image(engine, wet), rng, scenes
        )


def _begin(net: TemporalNet, path: Path) -> str:
    """Give `net` the weights of a checkpoint or an exported filter; returns their origin in words."""
    if path.suffix != ".onnx":
        checkpoint.begin_with(net, path)
        return "an earlier training"
    load_temporal(net, path)
    return name_of(path)


class Pool:
    """Sequences kept in memory, number n made by `draw(n)`; a window over the numbers moves on with the steps."""

    def __init__(self, draw: Callable[[int], SequenceSample], recipe: TemporalRecipe) -> None:
        self._draw, self._recipe = draw, recipe
        self._at_hand: dict[int, SequenceSample] = {}

    def batch(self, step: int) -> list[SequenceSample]:
        """Return the sequences of one step; they depend on the recipe and the step alone."""
        recipe = self._recipe
        rng = np.random.default_rng((recipe.seed, 2, step))
        oldest = int(step * recipe.batch / recipe.reuse)
        numbers = oldest + rng.integers(recipe.kept, size=recipe.batch)
        self._at_hand = {n: kept for n, kept in self._at_hand.items() if n >= oldest}
        for number in map(int, numbers):
            if number not in self._at_hand:
                self._at_hand[number] = self._draw(number)
        return [self._at_hand[int(number)] for number in numbers]
