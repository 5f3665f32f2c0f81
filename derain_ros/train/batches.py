"""Batches for the training loop: drawn in worker processes, changed in colour on the device."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from derain_ros.data.samples import LUMA, SampleSource, draw_colour, random_crop, read_rgb


class RawBatch(NamedTuple):
    """What a worker sends: uint8 images and masks, and how colours are to be changed.

    `wet` and `clean` are (N, size, size, 3) uint8, `mask` (N, size, size) uint8, `colour` (N, 6) float32. In `wet` and
    `colour` N is larger: the unlabelled images follow the others.
    """

    wet: Tensor
    clean: Tensor
    mask: Tensor
    colour: Tensor


@dataclass(frozen=True)
class Batch:
    """Float32 tensors in 0..1: `wet`, `clean` (N, 3, size, size), `mask` (N, 1, size, size).

    `unlabelled` (M, 3, size, size) are wet images without known clean ones; M may be 0.
    """

    wet: Tensor
    clean: Tensor
    mask: Tensor
    unlabelled: Tensor


class Unlabelled:
    """Crops of wet images without clean ones: `count` in each step, from `files`."""

    def __init__(self, files: Sequence[Path], count: int, size: int, seed: int) -> None:
        self.files, self.count, self.size, self.seed = files, count if files else 0, size, seed

    def sample(self, step: int, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the crop (size, size, 3) uint8 at `place` of the step, and its change of colour (6,)."""
        rng = np.random.default_rng((self.seed, 2, step, place))
        crop = random_crop(read_rgb(self.files[int(rng.integers(len(self.files)))]), self.size, rng)
        return np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop, draw_colour(rng)


class Batches(IterableDataset):  # type: ignore[type-arg]  # torch has no type parameter here at run time
    """The batches of the steps from `first` up to, not including, `last`: the share of rank `rank` of `world`.

    The samples of a step do not depend on the number of ranks and workers.
    """

    def __init__(
        self,
        source: SampleSource,
        unlabelled: Unlabelled,
        batch: int,
        first: int,
        last: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.source, self.unlabelled, self.batch = source, unlabelled, batch
        self.first, self.last, self.rank, self.world = first, last, rank, world

    def __iter__(self) -> Iterator[RawBatch]:
        """With several workers each draws its own steps; the loader restores their order."""
        worker = get_worker_info()
        begin, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for step in range(self.first + begin, self.last, stride):
            yield self.draw(step)

    def draw(self, step: int) -> RawBatch:
        """The batch of one step."""
        samples = [self.source.sample(step, k) for k in range(self.rank, self.batch, self.world)]
        extra = [self.unlabelled.sample(step, k) for k in range(self.rank, self.unlabelled.count, self.world)]

        def stack(images: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(images))

        return RawBatch(
            stack([s.wet for s in samples] + [wet for wet, _ in extra]),
            stack([s.clean for s in samples]),
            stack([s.mask for s in samples]),
            stack([s.colour for s in samples] + [c for _, c in extra]),
        )


class DrawnBatches(IterableDataset):  # type: ignore[type-arg]  # torch has no type parameter here at run time
    """The batches of `steps`: what `draw` returns for a random generator, stacked over the `places` of a batch.

    Each sample has its own seed, so it does not depend on the process that draws it.
    """

    def __init__(
        self, draw: Callable[[np.random.Generator], Sequence[np.ndarray]], seed: int, places: range, steps: range
    ) -> None:
        self.draw, self.seed, self.places, self.steps = draw, seed, places, steps

    def __iter__(self) -> Iterator[list[Tensor]]:
        """With several workers each draws its own steps; the loader restores their order."""
        worker = get_worker_info()
        for step in self.steps if worker is None else self.steps[worker.id :: worker.num_workers]:
            drawn = [self.draw(np.random.default_rng((self.seed, step, place))) for place in self.places]
            yield [torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)]


def loader(batches: IterableDataset[Any], workers: int, pin: bool) -> DataLoader[Any]:
    """Draw `batches` in `workers` processes, or in this one if it is 0.

    `pin` puts them into pinned memory for a GPU.
    """
    if workers:
        # A forked process that garbage-collects an engine would wait forever for threads that only its parent has.
        gc.collect()
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_begin_worker,
    )


def _begin_worker(_: int) -> None:
    """Use one thread in a worker; Ctrl-C is handled by the training process."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def prepare(raw: RawBatch, device: torch.device) -> Batch:
    """Move a batch to `device`, scale it to 0..1 and change its colours there."""
    wet, clean, mask, colour = (part.to(device, non_blocking=True) for part in raw)
    wet, clean = (t.permute(0, 3, 1, 2).float().div_(255) for t in (wet, clean))
    count = len(clean)
    wet, clean = change_colour(wet, colour), change_colour(clean, colour[:count])
    return Batch(wet[:count], clean, mask[:, None].float().div_(255), wet[count:])


def change_colour(images: Tensor, colour: Tensor) -> Tensor:
    """Apply the gain, tint, gamma and greyness of `colour` (N, 6), see `Sample`, to images (N, 3, H, W) in 0..1."""
    gain, tint, gamma, grey = colour[:, :, None, None].split([1, 3, 1, 1], dim=1)
    images = (images * (gain * tint)).clamp(1e-4, 1).pow(gamma)
    luma = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    return torch.where(grey > 0.5, (images * luma).sum(1, keepdim=True), images)
