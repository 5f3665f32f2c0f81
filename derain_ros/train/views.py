"""Rendered views of the detector's training: kept as tensors, partly renewed, returned in batches."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor

from derain_ros.data.pictures import Pictures
from derain_ros.data.views import draw_view
from derain_ros.nets.detector import CELLS, CLASSES, SIZE

CHUNK = 50
"""Number of views that a process renders at a time."""


@dataclass(frozen=True)
class Views:
    """Rendered views: `images` uint8 (N, h, w), `labels` int8 (N, K), `cells` uint8 (N, rows, columns), `severity`
    uint8 (N,), `coverage` float32 (N,), all as in `View`.
    """

    images: Tensor
    labels: Tensor
    cells: Tensor
    severity: Tensor
    coverage: Tensor

    def put(self, start: int, part: tuple[np.ndarray, ...]) -> None:
        """Write stacked views from number `start` on; view n goes to place n modulo N."""
        places = torch.arange(start, start + len(part[0])) % len(self.labels)
        for field, values in zip(fields(self), part, strict=True):
            getattr(self, field.name)[places] = torch.from_numpy(values)


def empty_views(count: int) -> Views:
    """Return memory for `count` views."""
    return Views(
        torch.empty((count, *SIZE), dtype=torch.uint8),
        torch.empty((count, len(CLASSES)), dtype=torch.int8),
        torch.empty((count, *CELLS), dtype=torch.uint8),
        torch.empty(count, dtype=torch.uint8),
        torch.empty(count, dtype=torch.float32),
    )


def render_views(
    pictures: Pictures,
    numbers: range,
    seed: int,
    workers: int = 0,
    into: Views | None = None,
    shown: Callable[[Sequence[range], str], Iterable[range]] = lambda chunks, what: chunks,
) -> Views:
    """Render the views of these numbers; view n goes to place n modulo N of `into`, or of new `Views`.

    A view depends on its number and the seed alone, not on the number of processes; with 0 `workers`, this process
    renders. `shown` yields the chunks to render, and may show the progress.
    """
    views = into or empty_views(len(numbers))
    chunks = [numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK)]
    render = partial(_render, pictures, seed)
    with contextlib.ExitStack() as stack:
        parts: Iterator[tuple[np.ndarray, ...]] = map(render, chunks)
        if workers:
            # Spawned: a forked copy of a process in which PyTorch's threads ran may hang.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)))
            parts = pool.map(render, chunks)
        for chunk, part in zip(shown(chunks, f"rendering views, {CHUNK} at a time"), parts, strict=True):
            views.put(chunk.start, part)
    return views


def shuffled(views: Views, size: int, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield all views once in random order, mirrored and with a gamma at random, in batches of `size`.

    Each has images (N, 1, h, w) float in 0..255, labels, cells and severities.
    """
    for chosen in torch.randperm(len(views.labels), generator=rng).split(size):
        images = views.images[chosen][:, None].float()
        cells = views.cells[chosen]
        mirrored = torch.rand(len(chosen), generator=rng) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        cells = torch.where(mirrored[:, None, None], cells.flip(2), cells)
        # Powers are slow: they are looked up in a table.
        gamma = torch.empty(len(chosen), 1).uniform_(-0.3, 0.3, generator=rng).exp()
        table = 255 * (torch.arange(256) / 255) ** gamma
        images = table.gather(1, images.flatten(1).long()).view_as(images)
        yield images, views.labels[chosen], cells, views.severity[chosen]


def _render(pictures: Pictures, seed: int, numbers: range) -> tuple[np.ndarray, ...]:
    views = [draw_view(pictures, np.random.default_rng((seed, number))) for number in numbers]
    return (
        np.stack([v.image for v in views]),
        np.stack([v.labels for v in views]),
        np.stack([v.cells for v in views]),
        np.array([v.severity for v in views], np.uint8),
        np.array([v.coverage for v in views], np.float32),
    )
