"""Training of paper 2: attention and coarse network first, then the refinement, in front of a frozen segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from derain_ros.data.labelled import labelled_scenes
from derain_ros.data.rainy_scenes import RainyScene, rainy_scenes
from derain_ros.data.samples import DataError, render_shower
from derain_ros.nets.segmentation import Segmenter
from derain_ros.nets.srrn import STRIDE, Derained, TaskDriven
from derain_ros.train import checkpoint, loop
from derain_ros.train.batches import DrawnBatches, loader
from derain_ros.train.learner import Learner
from derain_ros.train.loop import Machine
from derain_ros.train.losses import psnr, ssim
from derain_ros.train.recipe import Recipe
from derain_ros.train.segmentation import as_images, load_segmenter
from derain_ros.train.task_losses import attention_loss, image_loss, refinement_loss, semantic_loss

STAGES = ("coarse", "refine", "joint")
VALIDATION = 6
"""Largest number of scenes for validation, each in moderate and in heavy rain."""


@dataclass(frozen=True)
class TaskDrivenRecipe(Recipe):
    """Hyper-parameters of both stages; the shipped recipes are `task_driven`, as printed, and `task_driven_small`."""

    stage: str = "coarse"
    """`coarse`, stage I, trains A and C; `refine`, stage II, trains R after those of `start_from`; `joint` trains all
    three together."""
    semantic: float = 1.0
    """Weight of the segmenter's loss (4) on the stage's last image; with 0, as printed for stage I, there is no
    segmenter."""
    segmenter: str = "segment_float"
    """The frozen segmenter: a checkpoint of `derain train segmentation`, an exported one, or the name of a shipped one,
    in floating point."""
    steps: int = 50000
    batch: int = 6
    learning_rate: float = 1e-3
    """Peak rate of Adam."""
    warm_up: int = 100
    final_rate: float = 0.008
    attention: int = 48
    """Filters of A's first level."""
    units: tuple[int, ...] = (3, 4, 2, 2)
    """Residual units of A from half the size to a sixteenth."""
    coarse: int = 64
    """Filters of C's first level."""
    refine: int = 64
    """Filters of R's first level."""
    crop: int = 512
    """Side of the training crops in pixels, a multiple of 16."""

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        super().__post_init__()
        if self.stage not in STAGES:
            raise DataError(f"recipe: stage: {self.stage!r} is none of {', '.join(STAGES)}")
        if self.crop <= 0 or self.crop % STRIDE:
            raise DataError(f"recipe: crop: {self.crop} is not a multiple of {STRIDE}")
        if len(self.units) != 4 or min(self.units) < 1:
            raise DataError(f"recipe: units: {list(self.units)} are not four numbers above 0")
        self.must_be_above_zero("attention", "coarse", "refine")
        self.must_not_be_negative("semantic")


def train(data: Path, output: Path, recipe: TaskDrivenRecipe, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train one stage on the labelled scenes of `data`; returns its checkpoint in `output`, see `loop.train`.

    The labels are not used. DataError if the data cannot be used, or stage II has no checkpoint to start from.
    """
    if recipe.stage == "refine" and not recipe.start_from:
        raise DataError(
            "recipe: stage: refine needs the checkpoint of the stage before as `start_from`, or both stages as phases"
        )
    return loop.train(partial(TaskDrivenLearner, recipe, data), output, machine)


class TaskDrivenLearner(Learner):
    """One stage of the cascade, in front of a frozen segmenter."""

    task, better = "task-driven", "psnr"
    recipe: TaskDrivenRecipe

    def __init__(self, recipe: TaskDrivenRecipe, data: Path, fabric: Fabric, workers: int) -> None:
        self.workers = workers
        self.files = [scene.image for scene in labelled_scenes(data, "train")]
        unseen = labelled_scenes(data, "validation")
        self.unseen: list[RainyScene] = rainy_scenes(unseen[:: -(-len(unseen) // VALIDATION)])
        self.data = [f"{len(self.files)} scenes, on which showers were drawn"]
        torch.manual_seed(recipe.seed)
        net = build(vars(recipe))
        if recipe.stage == "refine":
            path = Path(recipe.start_from)
            before = load_task_driven(path)
            checkpoint.give(net.attention, before.attention.state_dict(), path)
            checkpoint.give(net.coarse, before.coarse.state_dict(), path)
            for part in (net.attention, net.coarse):
                part.requires_grad_(False)
            self.origin = "stage I"
        elif recipe.start_from:
            path = Path(recipe.start_from)
            checkpoint.give(net, load_task_driven(path).state_dict(), path)
            self.origin = "an earlier training"
        self.segmenter: Segmenter | None = None
        if recipe.semantic:
            self.segmenter = load_segmenter(Path(recipe.segmenter))[0].requires_grad_(False).to(fabric.device)
        super().__init__(
            fabric,
            recipe,
            net,
            lambda net: torch.optim.Adam([p for p in net.parameters() if p.requires_grad], recipe.learning_rate),
        )

    def batches(self, first: int) -> Iterator[list[Tensor]]:
        """Yield rainy and clean crops (N, 3, size, size) in 0..1 of the steps from number `first` on."""
        recipe, fabric = self.recipe, self.fabric
        places = range(fabric.global_rank, recipe.batch, fabric.world_size)
        draw = partial(draw_rainy, self.files, recipe.crop)
        batches = DrawnBatches(draw, recipe.seed, places, range(first, recipe.steps))
        for pair in loader(batches, self.workers, fabric.device.type == "cuda"):
            yield [as_images(fabric.to_device(images)) for images in pair]

    def losses(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Return the stage's losses: (1) and (2) of A and C, (3) of R, (4) of the last image."""
        rainy, clean = batch
        self._set_modes()
        out = Derained(*self.forward(rainy))
        parts = {}
        if self.recipe.stage != "refine":
            parts = {"attention": attention_loss(out.attention, rainy, clean), "coarse": image_loss(out.coarse, clean)}
        if out.refined:
            parts["refined"] = refinement_loss(out.refined, clean)
        if self.segmenter is not None:
            with torch.no_grad():
                goal = self.segmenter.maps(clean)
            parts["semantic"] = self.recipe.semantic * semantic_loss(self.segmenter.maps(out.image), goal)
        return parts

    def _set_modes(self) -> None:
        """Normalise by the batch while A is trained, by A's learnt statistics while it is frozen."""
        assert isinstance(self.net, TaskDriven)
        self.net.train()
        if self.recipe.stage == "refine":
            self.net.attention.eval()

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Return PSNR (dB) and SSIM of rainy and derained images of held-out scenes.

        The sample is the last one: rainy, derained, clean.
        """
        self.net.eval()
        rows = []
        for scene in self.shown(self.unseen, "validating"):
            rainy, clean = scene.rainy(), scene.scene.read()[0]
            height, width = (side // STRIDE * STRIDE for side in clean.shape[:2])
            stacked = torch.from_numpy(np.stack([rainy, clean])[:, :height, :width])
            wet, dry = as_images(self.fabric.to_device(stacked)).split(1)
            image = self.net(wet).image.clamp(0, 1)
            rows.append([float(measure(a, dry)) for a in (wet, image) for measure in (psnr, ssim)])
        names = ("input_psnr", "input_ssim", "psnr", "ssim")
        return dict(zip(names, np.mean(rows, 0).tolist(), strict=True)), torch.cat([wet, image, dry], 3)[0].cpu()


def draw_rainy(files: Sequence[Path], size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a crop of one of the images at a moment of a shower; returns it wet and dry, (size, size, 3) uint8 RGB."""
    pair = render_shower(files, size, rng)
    return pair.wet, pair.clean


def build(recipe: dict[str, Any]) -> TaskDriven:
    """Return the cascade that a recipe, as a dict, describes; stage I has no R."""
    refine = 0 if recipe["stage"] == "coarse" else recipe["refine"]
    return TaskDriven(recipe["attention"], recipe["coarse"], refine, tuple(recipe["units"]))


def load_task_driven(path: Path) -> TaskDriven:
    """Return the cascade of a checkpoint of `derain train task-driven`, for evaluation.

    DataError if it holds none.
    """
    state = checkpoint.read(path)
    if state.get("task") != "task-driven":
        raise DataError(f"{path}: holds no such cascade; give a checkpoint of `derain train task-driven`")
    net = build(state["recipe"])
    net.load_state_dict(state["net"])
    return net.eval()
