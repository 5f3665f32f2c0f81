"""The segmenter's learner: crops of clean labelled scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.data.labelled import VOID, labelled_scenes
from derain_ros.data.samples import DataError
from derain_ros.data.segmentation import class_overlaps, confusion, draw_crop, mean_overlap
from derain_ros.nets.segmentation import BACKBONES, STRIDE, Segmenter
from derain_ros.runtime.labels import coloured
from derain_ros.train import checkpoint, loop
from derain_ros.train.batches import DrawnBatches, loader
from derain_ros.train.exported import read_segmenter
from derain_ros.train.learner import Averaged
from derain_ros.train.loop import Machine
from derain_ros.train.recipe import Recipe

VALIDATION = 24
"""Largest number of scenes for validation."""
WEIGHED = 100
"""Largest number of scenes whose pixels are counted for the classes' weights."""


@dataclass(frozen=True)
class SegmentRecipe(Recipe):
    """Hyper-parameters of the segmenter's training."""

    steps: int = 2000
    batch: int = 4
    learning_rate: float = 1.5e-3
    """Peak rate of AdamW for all but the backbone."""
    warm_up: int = 50
    final_rate: float = 0.01
    validate_every: int = 200
    backbone: str = "lite0"
    """`lite0`, `lite1`, `lite2`: EfficientNet-Lite; `resnet101`: the paper's."""
    width: int = 128
    """Filters of pyramid and decoder; the paper has 256."""
    crop: int = 256
    """Side of the training crops in pixels, a multiple of 16."""
    backbone_rate: float = 0.3
    """Learning rate of the backbone, as a share of the others'; its layers before the skip are frozen."""
    average: float = 0.998
    """Decay of the moving average of the weights, which is validated and exported."""
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        super().__post_init__()
        if self.backbone not in BACKBONES:
            raise DataError(f"recipe: backbone: {self.backbone!r} is none of {', '.join(BACKBONES)}")
        if self.crop <= 0 or self.crop % STRIDE:
            raise DataError(f"recipe: crop: {self.crop} is not a multiple of {STRIDE}")
        self.must_be_above_zero("width")
        self.must_be_shares("average", "backbone_rate")
        self.must_not_be_negative("weight_decay")


def train(data: Path, output: Path, recipe: SegmentRecipe, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train a segmenter on the labelled scenes of `data`; returns its checkpoint in `output`, see `loop.train`.

    DataError if the data cannot be used; BackboneError if the backbone or its weights are not installed.
    """
    return loop.train(partial(SegmentLearner, recipe, data), output, machine)


class SegmentLearner(Averaged):
    """A segmenter with a moving average of its weights, which is validated and exported."""

    task, better = "segment", "miou"
    recipe: SegmentRecipe

    def __init__(self, recipe: SegmentRecipe, data: Path, fabric: Fabric, workers: int) -> None:
        self.workers = workers
        self.train, unseen = (labelled_scenes(data, split) for split in ("train", "validation"))
        self.unseen = unseen[:: -(-len(unseen) // VALIDATION)]
        self.names = self.train[0].classes
        self.data = [f"{len(self.train)} labelled scenes"]
        torch.manual_seed(recipe.seed)
        net = Segmenter(len(self.names), recipe.backbone, recipe.width, pretrained=not recipe.start_from)
        if recipe.start_from:
            before = Path(recipe.start_from)
            checkpoint.give(net, load_segmenter(before)[0].state_dict(), before)
            self.origin = "an earlier training"
        else:
            self.origin = f"{recipe.backbone}, trained on ImageNet"
        for part in net.backbone.early():
            part.requires_grad_(False)
        super().__init__(fabric, recipe, net, self._optimiser, recipe.average)
        self.average.eval()
        self.weights = fabric.to_device(self._class_weights())

    def _optimiser(self, net: nn.Module) -> torch.optim.Optimizer:
        recipe = self.recipe
        assert isinstance(net, Segmenter)
        old = [p for p in net.backbone.parameters() if p.requires_grad]
        known = {id(p) for p in net.backbone.parameters()}
        new = [p for p in net.parameters() if id(p) not in known]
        groups = [{"params": new, "share": 1.0}, {"params": old, "share": recipe.backbone_rate}]
        return torch.optim.AdamW(groups, recipe.learning_rate, weight_decay=recipe.weight_decay)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate; the backbone gets its share of it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]

    def _class_weights(self) -> Tensor:
        """Return one weight for each class, larger for rare ones, up to eight times; their mean is 1."""
        scenes = self.train[:: -(-len(self.train) // WEIGHED)]
        counts = sum(np.bincount(scene.read()[1].ravel(), minlength=VOID + 1)[: len(self.names)] for scene in scenes)
        shares = np.asarray(counts) / max(1, np.sum(counts))
        weights = 1 / np.log(1.1 + shares)
        return torch.from_numpy(weights / weights.mean()).float()

    def batches(self, first: int) -> Iterator[list[Tensor]]:
        """Yield images (N, 3, size, size) in 0..1 and labels (N, size, size) of the steps from number `first` on."""
        recipe, fabric = self.recipe, self.fabric
        places = range(fabric.global_rank, recipe.batch, fabric.world_size)
        draw = partial(draw_crop, self.train, recipe.crop)
        batches = DrawnBatches(draw, recipe.seed, places, range(first, recipe.steps))
        for images, labels in loader(batches, self.workers, fabric.device.type == "cuda"):
            yield [as_images(fabric.to_device(images)), fabric.to_device(labels).long()]

    def losses(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Return the cross entropy of the pixels' classes, weighted by class."""
        image, labels = batch
        # Frozen layers keep their statistics of ImageNet.
        self.net.train()
        for part in self.net.backbone.early():
            part.eval()
        scores = self.forward(image).float()
        return {"entropy": F.cross_entropy(scores, labels, self.weights, ignore_index=VOID)}

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Return mIoU, pixel accuracy and each class's IoU, in percent, on held-out scenes.

        The sample is the last scene and its classes in colour.
        """
        counts = np.zeros((len(self.names), len(self.names)), np.int64)
        for scene in self.shown(self.unseen, "validating"):
            image, labels = scene.read()
            found = segment(self.average, image)
            counts += confusion(labels, found, len(self.names))
        shown = np.concatenate([image, coloured(found)], 1)
        figures = {"miou": 100 * mean_overlap(counts), "accuracy": 100 * float(np.trace(counts) / counts.sum())}
        rare = {
            f"iou_{name}": 100 * float(value) for name, value in zip(self.names, class_overlaps(counts), strict=True)
        }
        return figures | rare, torch.from_numpy(shown).permute(2, 0, 1).float() / 255

    def state(self) -> dict[str, Any]:
        """Return all that training changes, and the names of the classes."""
        return super().state() | {"classes": list(self.names)}


def as_images(images: Tensor) -> Tensor:
    """Return RGB images (N, H, W, 3) uint8 as (N, 3, H, W) float in 0..1."""
    return images.permute(0, 3, 1, 2).contiguous().float() / 255


@torch.no_grad()
def segment(net: Segmenter, image: np.ndarray) -> np.ndarray:
    """Return the class of each pixel, (H, W) uint8, of an RGB image (H, W, 3) uint8, on the network's device."""
    height, width = image.shape[:2]
    device = next(net.parameters()).device
    whole = as_images(torch.from_numpy(np.ascontiguousarray(image))[None].to(device))
    whole = F.pad(whole, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
    return net(whole)[0, :, :height, :width].argmax(0).byte().cpu().numpy()


def must_know(classes: Sequence[str], labelled: Sequence[str], name: str) -> None:
    """Raise DataError unless the `classes` of the segmenter `name` are those that scenes are labelled with."""
    if list(classes) != list(labelled):
        raise DataError(
            f"{name}: tells {', '.join(classes)}, but the scenes are labelled with {', '.join(labelled)}; take a "
            "segmenter that `derain train segmentation` has trained on such scenes"
        )


def load_segmenter(path: Path) -> tuple[Segmenter, list[str]]:
    """Return a segmenter for evaluation and the names of its classes; DataError if there is none.

    `path` is a checkpoint of `derain train segmentation` (with averaged weights), an exported model, or the name of a
    shipped one.
    """
    path = checkpoint.find(path, "segment")
    if path.suffix == ".onnx":
        return read_segmenter(path)
    state = checkpoint.read(path)
    if state.get("task") != "segment":
        raise DataError(f"{path}: holds no segmenter; give a checkpoint of `derain train segmentation`")
    recipe = state["recipe"]
    net = Segmenter(len(state["classes"]), recipe["backbone"], recipe["width"])
    net.load_state_dict(state["average"])
    return net.eval(), list(state["classes"])
