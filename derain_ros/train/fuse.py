"""The fuser's learner: it is trained on crops of visible and infrared images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from derain_ros.data.fusion import FusionPair, FusionSource, fusion_pairs
from derain_ros.data.samples import DataError
from derain_ros.nets.fuse import STRIDE, Fuser
from derain_ros.rain.outlines import read_outlines
from derain_ros.train import checkpoint, loop
from derain_ros.train.batches import loader
from derain_ros.train.fusion_losses import edge_preservation, fidelity, fusion_losses
from derain_ros.train.learner import Averaged
from derain_ros.train.loop import Machine
from derain_ros.train.muon import Muon
from derain_ros.train.recipe import Recipe

VALIDATION = 20
"""Largest number of pairs for validation."""


@dataclass(frozen=True)
class FuseRecipe(Recipe):
    """Hyper-parameters of the fuser's training."""

    steps: int = 2400
    batch: int = 4
    learning_rate: float = 6e-3
    warm_up: int = 50
    final_rate: float = 0.02
    validate_every: int = 400
    width: int = 32
    """Filters of the network on the quarter grid."""
    crop: int = 128
    """Side of the training crops in pixels, a multiple of 16."""
    average: float = 0.999
    """Decay of the moving average of the weights, which is validated and exported."""
    edges: float = 3.0
    """Weight of the lost edges of both sources; all weights are those of `FusionLosses`."""
    information: float = 0.5
    """Weight of the lost information of both sources."""
    gradient: float = 1.0
    """Weight of the distance to the stronger source's gradient."""
    base: float = 4.0
    """Weight of the distance of the base from a mean of both sources' bases in which the brighter one counts more."""
    flat: float = 1.5
    """Weight of the gain of infrared details where the infrared image is flat."""
    correlation: float = 0.3
    """Weight of the lost correlation with both sources."""

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        super().__post_init__()
        if self.crop <= 0 or self.crop % STRIDE:
            raise DataError(f"recipe: crop: {self.crop} is not a multiple of {STRIDE}")
        self.must_be_above_zero("width")
        self.must_be_shares("average")
        self.must_not_be_negative(*WEIGHTS)


WEIGHTS = ("edges", "information", "gradient", "base", "flat", "correlation")


def train(data: Path, output: Path, recipe: FuseRecipe, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train a fuser on the pairs below `data`; returns its checkpoint in `output`, see `loop.train`.

    DataError if the data cannot be used.
    """
    return loop.train(partial(FuseLearner, recipe, data), output, machine)


class FuseLearner(Averaged):
    """A fuser and the moving average of its weights, which is validated and exported."""

    task, better = "fuse", "both"
    recipe: FuseRecipe

    def __init__(self, recipe: FuseRecipe, data: Path, fabric: Fabric, workers: int) -> None:
        self.folder, self.workers = data, workers
        self.train, self.unseen = (fusion_pairs(data, split) for split in ("train", "calibration"))
        if not self.unseen:
            raise DataError(f"{data}: there are too few pairs to train and to validate on")
        self.unseen = self.unseen[:: -(-len(self.unseen) // VALIDATION)]
        self.data = [f"{count} pairs of {source}" for source, count in Counter(p.source for p in self.train).items()]
        torch.manual_seed(recipe.seed)
        net = Fuser(recipe.width)
        if recipe.start_from:
            state = checkpoint.read(Path(recipe.start_from))
            try:
                net.load_state_dict(state.get("average", state["net"]))
            except RuntimeError as error:
                raise DataError(
                    f"{recipe.start_from}: holds another network than a fuser {recipe.width} filters wide"
                ) from error
            self.origin = "an earlier training"
        super().__init__(fabric, recipe, net, lambda net: Muon(net, recipe.learning_rate), recipe.average)

    def batches(self, first: int) -> Iterator[list[Tensor]]:
        """Yield the samples of the steps from number `first` on.

        Each part of them is (N, 1, size, size) in 0..1.
        """
        recipe, fabric = self.recipe, self.fabric
        outlines = read_outlines(self.folder / "droplet_masks/train", most=400)[0::2]
        source = FusionSource(self.train, recipe.crop, recipe.seed, outlines)
        places = range(fabric.global_rank, recipe.batch, fabric.world_size)
        raw = loader(
            FusionBatches(source, places, range(first, recipe.steps)), self.workers, fabric.device.type == "cuda"
        )
        return ([self._scaled(part) for part in batch] for batch in raw)

    def losses(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Return the losses of the fused images, weighted by the recipe."""
        visible, infrared, mask, clean_visible, clean_infrared = batch
        out = self.forward(visible, infrared, mask)
        losses = fusion_losses(out.fused.float(), out.infrared_gain.float(), clean_visible, clean_infrared, 1 - mask)
        return {name: getattr(self.recipe, name) * loss for name, loss in losses._asdict().items()}

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Return figures of the averaged network on held-out pairs, and the last pair with its fusion as a sample.

        How well edges (`qabf`, 0 to 1) and information (`vif`, 0 to 2) are kept, and `both`: the sum of the first and
        half of the second.
        """
        figures = []
        for pair in self.shown(self.unseen, "fusing what it is validated on"):
            visible, infrared = self._whole(pair)
            everywhere = torch.ones_like(visible)
            fused = self.average(visible, infrared, 1 - everywhere).fused.clamp(0, 1)
            figures.append(
                (
                    edge_preservation(fused, visible, infrared, everywhere).item(),
                    (fidelity(fused, visible) + fidelity(fused, infrared)).item(),
                )
            )
        edges, information = np.mean(figures, axis=0).tolist()
        samples = torch.cat([visible, infrared, fused], 3)[0].expand(3, -1, -1).cpu()
        return {"qabf": edges, "vif": information, "both": edges + information / 2}, samples

    def _whole(self, pair: FusionPair) -> list[Tensor]:
        """Return a pair's images (1, 1, H, W) in 0..1, cut to multiples of STRIDE."""
        images = pair.read()
        height, width = (side // STRIDE * STRIDE for side in images[0].shape)
        return [self._scaled(torch.from_numpy(image[None, :height, :width])) for image in images]

    def _scaled(self, images: Tensor) -> Tensor:
        """Return images (N, H, W) uint8 as (N, 1, H, W) in 0..1 on the device."""
        return images.to(self.fabric.device, non_blocking=True)[:, None].float() / 255


class FusionBatches(IterableDataset):  # type: ignore[type-arg]  # torch has no type parameter here at run time
    """The batches of some steps: each part of the `FusionSample`s at some places, (N, size, size) uint8."""

    def __init__(self, source: FusionSource, places: range, steps: range) -> None:
        self.source, self.places, self.steps = source, places, steps

    def __iter__(self) -> Iterator[list[Tensor]]:
        """With several workers each draws its own steps; the loader restores their order."""
        worker = get_worker_info()
        for step in self.steps if worker is None else self.steps[worker.id :: worker.num_workers]:
            samples = [self.source.sample(step, place) for place in self.places]
            yield [torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True)]
