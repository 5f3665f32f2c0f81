"""Training of paper 3 in two stages: CleanNet on rainy images, then FusionNet on cleaned and infrared images."""

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

from derain_ros.data.night import Triplet, draw_crop, triplets
from derain_ros.data.samples import LUMA, DataError
from derain_ros.nets.cleannet import CleanNet
from derain_ros.nets.fusionnet import RefinedFusion
from derain_ros.train import checkpoint, loop
from derain_ros.train.gan_losses import perceptual_features
from derain_ros.train.learner import Learner
from derain_ros.train.loop import Machine
from derain_ros.train.losses import psnr, ssim
from derain_ros.train.night_losses import cleaning_loss, information_weights, refinement_loss, similarity_loss
from derain_ros.train.recipe import Recipe

VALIDATION = 12
"""Largest number of triplets for validation."""
STRIDE = 8
"""CleanNet's: height and width of its input must be multiples of it."""
STAGES = ("clean", "fuse")


@dataclass(frozen=True)
class NightRecipe(Recipe):
    """Hyper-parameters of both stages; the shipped recipes are `night`, as printed, and `night_small`."""

    stage: str = "clean"
    """`clean` trains CleanNet; `fuse` trains FusionNet and the refinement on the output of `start_from`'s CleanNet."""
    batch: int = 4
    learning_rate: float = 3e-4
    """Peak rate of AdamW."""
    warm_up: int = 100
    final_rate: float = 0.003
    width: int = 48
    """Filters of CleanNet's first level."""
    blocks: tuple[int, ...] = (4, 6, 6, 8)
    """Transformer blocks of CleanNet's levels."""
    fusion_width: int = 44
    """Filters of FusionNet's dense layers."""
    refinement: float = 0.1
    """Weight of the refinement's fidelity and smoothness."""
    crop: int = 128
    """Side of the training crops in pixels, a multiple of 8."""

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        super().__post_init__()
        if self.stage not in STAGES:
            raise DataError(f"recipe: stage: {self.stage!r} is neither clean nor fuse")
        if self.crop <= 0 or self.crop % STRIDE:
            raise DataError(f"recipe: crop: {self.crop} is not a multiple of {STRIDE}")
        if not self.blocks or min(self.blocks) < 1 or self.width % 2:
            raise DataError(f"recipe: width: {self.width} must be even, and blocks {list(self.blocks)} above 0")
        self.must_be_above_zero("width", "fusion_width")
        self.must_not_be_negative("refinement")


def train(data: Path, output: Path, recipe: NightRecipe, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train one stage on the triplets below `data`; returns its checkpoint in `output`, see `loop.train`.

    DataError if the stage `fuse` has no checkpoint to start from.
    """
    if recipe.stage == "fuse" and not recipe.start_from:
        raise DataError(
            "recipe: stage: fuse needs the checkpoint of the stage before as `start_from`, or both stages as phases"
        )
    learner = CleanLearner if recipe.stage == "clean" else FusionLearner
    return loop.train(partial(learner, recipe, data), output, machine)


class NightLearner(Learner):
    """The part that both stages share: crops of triplets."""

    recipe: NightRecipe

    def __init__(self, recipe: NightRecipe, data: Path, fabric: Fabric, net: nn.Module) -> None:
        self.files, self.unseen = triplets(data, "train"), triplets(data, "validation")
        self.unseen = self.unseen[:: -(-len(self.unseen) // VALIDATION)]
        self.data = [f"{len(self.files)} triplets"]
        super().__init__(fabric, recipe, net, lambda net: torch.optim.AdamW(net.parameters(), recipe.learning_rate))

    def batches(self, first: int) -> Iterator[list[Tensor]]:
        """Yield wet, clean and infrared crops in 0..1, from step `first` on.

        The first two are (N, 3, size, size), infrared is (N, 1, size, size).
        """
        recipe, fabric = self.recipe, self.fabric
        for step in range(first, recipe.steps):
            drawn = [
                draw_crop(self.files, recipe.crop, np.random.default_rng((recipe.seed, step, place)))
                for place in range(fabric.global_rank, recipe.batch, fabric.world_size)
            ]
            yield [fabric.to_device(as_images(part)) for part in zip(*drawn, strict=True)]

    def whole(self) -> Iterator[list[Tensor]]:
        """Yield the validation triplets as `batches` does, cut to multiples of STRIDE."""
        for path in self.shown(self.unseen, "validating"):
            triplet = path.read()
            height, width = (side // STRIDE * STRIDE for side in triplet.infrared.shape)
            yield [self.fabric.to_device(as_images([image[:height, :width]])) for image in triplet]


class CleanLearner(NightLearner):
    """The first stage: CleanNet."""

    task, better = "clean", "psnr"

    def __init__(self, recipe: NightRecipe, data: Path, fabric: Fabric, workers: int) -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, data, fabric, build_cleaner(vars(recipe)))
        if recipe.start_from:
            self.net.load_state_dict(load_cleaner(Path(recipe.start_from)).state_dict())
            self.origin = "an earlier training"

    def losses(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Return the loss of the cleaned images."""
        wet, clean, _ = batch
        return {"cleaning": cleaning_loss(self.forward(wet), clean)}

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Return PSNR (dB) and SSIM of input and output; the sample is the last triplet: wet, cleaned, clean."""
        rows = []
        for wet, clean, _ in self.whole():
            cleaned = self.net(wet).clamp(0, 1)
            rows.append(
                [
                    float(value)
                    for value in (psnr(wet, clean), ssim(wet, clean), psnr(cleaned, clean), ssim(cleaned, clean))
                ]
            )
        names = ("input_psnr", "input_ssim", "psnr", "ssim")
        return dict(zip(names, np.mean(rows, 0).tolist(), strict=True)), torch.cat([wet, cleaned, clean], 3)[0].cpu()


class FusionLearner(NightLearner):
    """The second stage: FusionNet and the refinement, on the output of a frozen CleanNet."""

    task, better = "night", "ssim"

    def __init__(self, recipe: NightRecipe, data: Path, fabric: Fabric, workers: int) -> None:
        torch.manual_seed(recipe.seed)
        self.cleaner = fabric.to_device(load_cleaner(Path(recipe.start_from)).requires_grad_(False))
        self.origin = "CleanNet of an earlier training"
        self.features = fabric.to_device(perceptual_features())
        super().__init__(recipe, data, fabric, RefinedFusion(recipe.fusion_width))

    def losses(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Return the similarity losses of the fused and the refined image to both sources, and the refinement's."""
        wet, _, infrared = batch
        visible = self.luminance(wet)
        fused, refined = self.forward(visible, infrared)
        weights = information_weights(visible, infrared, self.features)
        return {
            "fusion": similarity_loss(fused, visible, infrared, weights),
            "refined": similarity_loss(refined.images[-1], visible, infrared, weights),
            "refinement": self.recipe.refinement * refinement_loss(fused, refined),
        }

    @torch.no_grad()
    def luminance(self, wet: Tensor) -> Tensor:
        """Return the luminance (N, 1, H, W) of CleanNet's output for wet images."""
        return to_luminance(self.cleaner(wet).clamp(0, 1))

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Return the means over both sources of SSIM and of the squared error of the refined image.

        The sample is the last triplet: cleaned luminance, infrared, fused, refined.
        """
        rows = []
        for wet, _, infrared in self.whole():
            visible = self.luminance(wet)
            fused, refined = self.net(visible, infrared)
            image = refined.images[-1]
            rows.append(
                [
                    float(ssim(image, visible) + ssim(image, infrared)) / 2,
                    float((image - visible).square().mean() + (image - infrared).square().mean()) / 2,
                ]
            )
        samples = torch.cat([visible, infrared, fused, image], 3)[0].expand(3, -1, -1).cpu()
        return dict(zip(("ssim", "mse"), np.mean(rows, 0).tolist(), strict=True)), samples

    def state(self) -> dict[str, Any]:
        """Return all that training changes, and the CleanNet of the first stage."""
        return super().state() | {"cleaner": self.cleaner.state_dict()}


def as_images(images: Sequence[np.ndarray]) -> Tensor:
    """Return (H, W) or (H, W, 3) uint8 images as (N, C, H, W) in 0..1."""
    stacked = torch.from_numpy(np.stack(images)).float() / 255
    return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2).contiguous()


def to_luminance(images: Tensor) -> Tensor:
    """Return the luminance (N, 1, H, W) of RGB images (N, 3, H, W)."""
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def build_cleaner(recipe: dict[str, Any]) -> CleanNet:
    """Return the CleanNet that a recipe, as a dict, describes."""
    return CleanNet(3, recipe["width"], tuple(recipe["blocks"]))


def load_cleaner(path: Path) -> CleanNet:
    """Return the CleanNet of a checkpoint of either stage, for evaluation; DataError if it holds none."""
    state = checkpoint.read(path)
    if state.get("task") not in ("clean", "night"):
        raise DataError(f"{path}: holds no CleanNet; give a checkpoint of `derain train night`")
    net = build_cleaner(state["recipe"])
    net.load_state_dict(state["cleaner" if state["task"] == "night" else "net"])
    return net.eval()


def load_fusion(path: Path) -> RefinedFusion:
    """Return FusionNet and the refinement of a checkpoint of the second stage, for evaluation.

    DataError if it holds none.
    """
    state = checkpoint.read(path)
    if state.get("task") != "night":
        raise DataError(f"{path}: holds no FusionNet; give the last checkpoint of `derain train night`")
    net = RefinedFusion(state["recipe"]["fusion_width"])
    net.load_state_dict(state["net"])
    return net.eval()


@torch.no_grad()
def clean_and_fuse(cleaner: CleanNet, fusion: RefinedFusion, triplet: Triplet) -> tuple[np.ndarray, np.ndarray]:
    """Run both networks on a triplet; returns the cleaned (H, W, 3) and the fused (H, W) image, uint8."""
    height, width = triplet.infrared.shape
    beyond = (0, -width % STRIDE, 0, -height % STRIDE)
    wet = nn.functional.pad(as_images([triplet.wet]), beyond, mode="replicate")
    cleaned = cleaner(wet)[..., :height, :width].clamp(0, 1)
    image = fusion(to_luminance(cleaned), as_images([triplet.infrared]))[1].images[-1]

    def eight_bits(values: Tensor) -> np.ndarray:
        return (values * 255 + 0.5).byte().numpy()

    return eight_bits(cleaned[0].permute(1, 2, 0)), eight_bits(image[0, 0])
