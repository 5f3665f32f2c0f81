"""The detector's learner: how it is trained and validated on rendered and real views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from derain_ros.data.pictures import Pictures, find_pictures
from derain_ros.data.samples import DataError
from derain_ros.data.views import IGNORED, UNKNOWN, WHOLE
from derain_ros.nets.detector import CLASSES, Detection, Detector
from derain_ros.train import checkpoint, loop
from derain_ros.train.calibrate import calibrate
from derain_ros.train.exported import begin_detector, name_of
from derain_ros.train.learner import Learner
from derain_ros.train.loop import Machine
from derain_ros.train.losses import overlap
from derain_ros.train.muon import Muon
from derain_ros.train.recipe import Recipe
from derain_ros.train.views import Views, render_views, shuffled

BEGINNING_VIEWS = 256
"""Views on which the normalisations of an exported detector are measured again."""


@dataclass(frozen=True)
class DetectRecipe(Recipe):
    """Hyper-parameters of the detector's training.

    A pass shows each view once, in `views` / `batch` steps; by default each pass ends with a validation.
    """

    steps: int = 15000
    batch: int = 16
    learning_rate: float = 0.02
    warm_up: int = 750
    validate_every: int = 750
    views: int = 12000
    """Views rendered before the first step."""
    renewed: int = 2000
    """How many of these are rendered anew after each pass, the oldest first."""
    calibration_views: int = 1500
    """Views rendered from the pictures of the calibration split, for validation and for the calibration."""
    mask_weight: float = 1.0
    """Weight of the mask's cross entropy and overlap, relative to the classes' cross entropy."""
    severity_weight: float = 0.3
    """Weight of the severity's cross entropy."""

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        super().__post_init__()
        self.must_be_above_zero("views", "calibration_views")
        self.must_not_be_negative("renewed", "mask_weight", "severity_weight")


def detection_loss(out: Detection, labels: Tensor, cells: Tensor, severity: Tensor, recipe: DetectRecipe) -> Tensor:
    """Return the weighted sum of the cross entropies of classes, cells and severity and of 1 - IoU of the cells.

    The IoU is that of the whole batch. Classes labelled UNKNOWN and cells and severities IGNORED have no effect.
    """
    told = (labels != UNKNOWN).float()
    classes = F.binary_cross_entropy_with_logits(
        out.classes.float(), labels.clamp_min(0).float(), told, reduction="sum"
    ) / told.sum().clamp_min(1.0)
    known, share = (cells != IGNORED).float(), (cells.float() / WHOLE).clamp_max(1.0)
    logits = out.mask.float()
    mask = F.binary_cross_entropy_with_logits(logits, share, known, reduction="sum") / known.sum().clamp_min(1.0)
    missed = 1 - overlap(logits.sigmoid() * known, share * known)
    graded = (severity != IGNORED).float()
    amount = F.binary_cross_entropy_with_logits(
        out.severity.float(), (severity.float() / WHOLE).clamp_max(1.0), graded, reduction="sum"
    ) / graded.sum().clamp_min(1.0)
    return classes + recipe.mask_weight * (mask + 0.3 * missed) + recipe.severity_weight * amount


def train(data: Path, output: Path, recipe: DetectRecipe, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train a detector on the folders below `data`; returns its checkpoint in `output`, see `loop.train`.

    The checkpoint also holds the calibration, see `calibrate`. DataError if data is missing, or for several devices.
    """
    if machine.devices > 1:
        raise DataError(
            f"devices: {machine.devices}: a detector is trained on one; its normalisation needs whole batches"
        )
    return loop.train(partial(DetectLearner, recipe, data), output, machine)


class DetectLearner(Learner):
    """A detector trained on views: all are rendered before the first step, some anew after each pass."""

    task, better = "detect", "auroc"
    recipe: DetectRecipe

    def __init__(self, recipe: DetectRecipe, data: Path, fabric: Fabric, workers: int) -> None:
        self.training, self.calibrating = find_pictures(data, "train"), find_pictures(data, "calibration")
        self.data, self.workers = self.training.described(), workers
        torch.manual_seed(recipe.seed)
        net = Detector()
        if recipe.start_from:
            self.origin = _begin(net, checkpoint.find(Path(recipe.start_from), "detect"), self.training, recipe)
        super().__init__(fabric, recipe, net, lambda net: Muon(net, recipe.learning_rate))
        self.unseen: Views | None = None
        self.calibration: dict[str, list[float]] = {"scale": [1.0] * len(CLASSES), "shift": [0.0] * len(CLASSES)}

    def batches(self, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield the batches of `shuffled` from step `first` on, on the fabric's device."""
        recipe = self.recipe
        of_pass = -(-recipe.views // recipe.batch)
        begun = first // of_pass
        oldest = begun * recipe.renewed
        views = self._render(self.training, range(oldest, oldest + recipe.views), recipe.seed)
        for number in range(begun, -(-recipe.steps // of_pass)):
            if number > begun:
                fresh = recipe.views + (number - 1) * recipe.renewed
                self._render(self.training, range(fresh, fresh + recipe.renewed), recipe.seed, views)
            rng = torch.Generator().manual_seed(recipe.seed + number)
            for step, batch in enumerate(shuffled(views, recipe.batch, rng), number * of_pass):
                if step >= first:
                    yield self.fabric.to_device(batch)

    def losses(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the detector's output for a batch."""
        images, labels, cells, severity = batch
        out = Detection(*self.forward(images))
        return {"detection": detection_loss(out, labels, cells, severity, self.recipe)}

    def validate(self) -> tuple[dict[str, float], None]:
        """Return figures on views of pictures held out of training; the calibration is fitted to them, too."""
        if self.unseen is None:
            self.unseen = self._render(self.calibrating, range(self.recipe.calibration_views), self.recipe.seed + 1000)
        out = predict(self.net, self.unseen.images)
        self.calibration = calibrate(out.classes, self.unseen.labels)
        return validate(out, self.unseen), None

    def state(self) -> dict[str, Any]:
        """Return all that training changes, and the calibration."""
        return super().state() | {"calibration": self.calibration}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        super().load(state)
        self.calibration = state["calibration"]

    def _render(self, pictures: Pictures, numbers: range, seed: int, into: Views | None = None) -> Views:
        return render_views(pictures, numbers, seed, self.workers, into, self.shown)


@torch.no_grad()
def predict(net: Detector, images: Tensor) -> Detection:
    """Return the network's output for grey uint8 images (N, h, w), on the CPU; they are run in batches."""
    net.eval()
    device = next(net.parameters()).device
    parts = [
        Detection(*(answer.cpu() for answer in net(part[:, None].float().to(device)))) for part in images.split(64)
    ]
    net.train()
    return Detection(*(torch.cat(part) for part in zip(*parts, strict=True)))


def validate(out: Detection, views: Views) -> dict[str, float]:
    """Return figures of uncalibrated logits; the threshold is 0.

    Share of correct class labels, area under the ROC curve of affected against clean views, recall of affected views,
    false alarms among clean ones, and IoU of the mask.
    """
    told, right = views.labels != UNKNOWN, (out.classes > 0) == (views.labels == 1)
    clean, affected = views.labels[:, 0] == 1, views.labels[:, 0] == 0
    order = -out.classes[:, 0]
    above = (order[affected][:, None] > order[clean][None]).float().mean()
    known, truth, mask = views.cells != IGNORED, views.cells > WHOLE // 2, out.mask > 0
    either = ((mask | truth) & known).sum().clamp_min(1)
    return {
        "accuracy": float(right[told].float().mean()),
        "auroc": float(above),
        "recall": float((order > 0)[affected].float().mean()),
        "false_alarms": float((order > 0)[clean].float().mean()),
        "mask_iou": float((mask & truth & known).sum() / either),
    }


def _begin(net: Detector, path: Path, training: Pictures, recipe: DetectRecipe) -> str:
    """Give `net` the weights of a checkpoint or an exported detector; returns their origin in words."""
    if path.suffix != ".onnx":
        checkpoint.begin_with(net, path)
        return "an earlier training"
    views = render_views(training, range(min(BEGINNING_VIEWS, recipe.views)), recipe.seed)
    begin_detector(net, path, views.images[:, None].float())
    return name_of(path)
