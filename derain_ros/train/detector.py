"""Training of the anomaly detector on rendered and real views."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from derain_ros.nets.detector import CELL, SIZE, Detection, Detector
from derain_ros.train.calibrate import clean_bias
from derain_ros.train.views import IGNORED, Pictures, draw_view, find_pictures

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectRecipe:
    """Hyper-parameters of the detector's training."""

    views: int = 24000
    """Views rendered before the first step, and shown once an epoch."""
    validation_views: int = 2000
    """Views rendered from the pictures kept out of training."""
    epochs: int = 10
    batch: int = 32
    learning_rate: float = 2e-3
    """Peak rate of AdamW: it rises over the first tenth of the steps and falls to nothing by a cosine."""
    weight_decay: float = 0.02
    label_smoothing: float = 0.02
    mask_weight: float = 1.0
    """Weight of the mask's cross entropy beside that of the classes."""
    workers: int = 2
    """Processes that render the views; 1 renders in the training's own."""
    threads: int = 1
    """Threads of the training itself."""
    seed: int = 1
    start_from: str = ""
    """Checkpoint of an earlier training whose weights to start from; random ones where none is named."""


@dataclass(frozen=True)
class Views:
    """Rendered views: `images` uint8 (N, h, w), `labels` int64 (N,), -1 for none, `cells` uint8 (N, h/8, w/8)."""

    images: Tensor
    labels: Tensor
    cells: Tensor


def render_views(pictures: Pictures, count: int, seed: int, workers: int) -> Views:
    """`count` views; number and seed decide each, whatever the number of processes."""
    height, width = SIZE
    images = torch.empty((count, height, width), dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    cells = torch.empty((count, height // CELL, width // CELL), dtype=torch.uint8)
    chunks = [range(start, min(start + 100, count)) for start in range(0, count, 100)]
    render = partial(_render, pictures, seed)
    with contextlib.ExitStack() as stack:
        parts: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]] = map(render, chunks)
        if workers > 1:
            # Started afresh: a forked copy of a process in which PyTorch's threads ran may hang.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)))
            parts = pool.map(render, chunks)
        progress = stack.enter_context(_progress("rendering"))
        task = progress.add_task("", total=count, note="")
        for chunk, part in zip(chunks, parts, strict=True):
            for target, source in zip((images, labels, cells), part, strict=True):
                target[chunk.start : chunk.stop] = torch.from_numpy(source)
            progress.advance(task, len(chunk))
    return Views(images, labels, cells)


def detection_loss(out: Detection, labels: Tensor, cells: Tensor, recipe: DetectRecipe) -> Tensor:
    """Cross entropy of the classes and of the cells; views of label -1 and cells of label 255 count for nothing."""
    classes = F.cross_entropy(out.classes.float(), labels, ignore_index=-1, label_smoothing=recipe.label_smoothing)
    known = (cells != IGNORED).float()
    mask = F.binary_cross_entropy_with_logits(out.mask.float(), (cells == 1).float(), known, reduction="sum")
    return classes + recipe.mask_weight * mask / known.sum().clamp_min(1.0)


def train(data: Path, output: Path, recipe: DetectRecipe) -> Path:
    """Train a detector on the folders below `data`; returns the checkpoint, `output`/detector.pt.

    It holds the operating point too, see `calibrate`. `output`/detector.jsonl gets one line per epoch. Raises
    DataError where data is missing.
    """
    training, validation = find_pictures(data, validation=False), find_pictures(data, validation=True)
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    views = render_views(training, recipe.views, recipe.seed, recipe.workers)
    unseen = render_views(validation, recipe.validation_views, recipe.seed + 1, recipe.workers)
    net = Detector()
    if recipe.start_from:
        net.load_state_dict(torch.load(recipe.start_from, weights_only=True)["net"])
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=recipe.weight_decay)
    steps = recipe.epochs * -(-recipe.views // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, steps, pct_start=0.1)
    checkpoint = output / "detector.pt"
    journal = output / "detector.jsonl"
    journal.unlink(missing_ok=True)
    with _progress("training") as progress:
        task = progress.add_task("", total=steps, note="")
        for epoch in range(recipe.epochs):
            losses = []
            for images, labels, cells in _batches(views, recipe.batch):
                # bf16 halves the time of a step on processors that have it, at the same result.
                with torch.autocast("cpu", torch.bfloat16):
                    out = net(images)
                loss = detection_loss(out, labels, cells, recipe)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
                progress.advance(task)
            figures = {"loss": float(np.mean(losses)), **validate(net, unseen)}
            progress.update(task, note=f"accuracy {figures['accuracy']:.3f}")
            log.info("epoch %d: %s", epoch + 1, figures)
            with journal.open("a") as file:
                file.write(json.dumps({"epoch": epoch + 1, **figures}) + "\n")
            torch.save({"net": net.state_dict(), "recipe": asdict(recipe), "figures": figures,
                        "clean_bias": clean_bias(net, validation)}, checkpoint)
    return checkpoint


@torch.no_grad()
def validate(net: Detector, views: Views) -> dict[str, float]:
    """Accuracy of the classes, false alarms among clean views, and the mask's intersection over union."""
    net.eval()
    parts = [net(images[:, None].float()) for images in views.images.split(256)]
    net.train()
    found, mask = torch.cat([p.classes for p in parts]).argmax(1), torch.cat([p.mask for p in parts]) > 0
    known, cells_known, affected = views.labels >= 0, views.cells != IGNORED, views.cells == 1
    either = ((mask | affected) & cells_known).sum().clamp_min(1)
    return {"accuracy": float((found == views.labels)[known].float().mean()),
            "false_alarms": float((found != 0)[views.labels == 0].float().mean()),
            "mask_iou": float((mask & affected).sum() / either)}


def _render(pictures: Pictures, seed: int, numbers: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    views = [draw_view(pictures, np.random.default_rng((seed, number))) for number in numbers]
    return (np.stack([v.image for v in views]), np.array([v.label for v in views]),
            np.stack([v.cells for v in views]))


def _batches(views: Views, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All views once in random order, mirrored and brightened at random: (N, 1, h, w) float in 0..255."""
    for chosen in torch.randperm(len(views.labels)).split(size):
        images = views.images[chosen][:, None].float()
        cells = views.cells[chosen]
        mirrored = torch.rand(len(chosen)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        cells = torch.where(mirrored[:, None, None], cells.flip(2), cells)
        gamma = torch.empty(len(chosen), 1, 1, 1).uniform_(-0.3, 0.3).exp()
        yield 255 * (images / 255) ** gamma, views.labels[chosen], cells


def _progress(what: str) -> Progress:
    return Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    TextColumn("{task.fields[note]}"))
