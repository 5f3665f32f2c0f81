"""Training of the anomaly detector on rendered and real views."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from derain_ros.data.pictures import Pictures, find_pictures
from derain_ros.data.samples import DataError
from derain_ros.data.views import IGNORED, UNKNOWN, WHOLE, draw_view
from derain_ros.nets.detector import CELLS, CLASSES, SIZE, Detection, Detector
from derain_ros.train import checkpoint
from derain_ros.train.calibrate import calibrate
from derain_ros.train.exported import begin_detector, name_of
from derain_ros.train.losses import overlap
from derain_ros.train.muon import Muon

BEGINNING_VIEWS = 256
"""Views of which an exported detector learns its normalisations anew."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectRecipe:
    """Hyper-parameters of the detector's training."""

    views: int = 12000
    """Views rendered before the first step, and shown once an epoch."""
    renewed: int = 2000
    """Of these, how many are rendered anew before each further epoch, the oldest first."""
    calibration_views: int = 1500
    """Views rendered from the pictures of the calibration split: they tell how training goes, and then calibrate."""
    epochs: int = 20
    batch: int = 16
    learning_rate: float = 0.02
    """Peak rate of Muon: it rises over the first twentieth of the steps and falls to nothing by a cosine."""
    mask_weight: float = 1.0
    """Weight of the mask's cross entropy and overlap beside the classes' cross entropy."""
    severity_weight: float = 0.3
    """Weight of the severity's cross entropy."""
    workers: int = 1
    """Processes that render the views; 1 renders in the training's own."""
    threads: int = 1
    """Threads of the training itself."""
    seed: int = 1
    start_from: str = ""
    """Whose weights to start from: a checkpoint of an earlier training, a shipped detector, such as detect_float, or an
    exported one; random ones where none is named."""


TUNE = DetectRecipe(views=4000, renewed=1000, calibration_views=1000, epochs=6, learning_rate=0.005)
"""What a trained detector, such as the shipped one, learns from a robot's own pictures."""


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
        """Write stacked views from number `start` on, to the places number modulo N."""
        places = torch.arange(start, start + len(part[0])) % len(self.labels)
        for field, values in zip(fields(self), part, strict=True):
            getattr(self, field.name)[places] = torch.from_numpy(values)


def empty_views(count: int) -> Views:
    """Room for `count` views."""
    return Views(torch.empty((count, *SIZE), dtype=torch.uint8), torch.empty((count, len(CLASSES)), dtype=torch.int8),
                 torch.empty((count, *CELLS), dtype=torch.uint8), torch.empty(count, dtype=torch.uint8),
                 torch.empty(count, dtype=torch.float32))


def render_views(pictures: Pictures, numbers: range, seed: int, workers: int, into: Views | None = None) -> Views:
    """The views of these numbers, at the places number modulo N: in `into`, or else in as many as are rendered.

    Number and seed decide each view, whatever the number of processes.
    """
    views = into or empty_views(len(numbers))
    chunks = [numbers[start : start + 50] for start in range(0, len(numbers), 50)]
    render = partial(_render, pictures, seed)
    with contextlib.ExitStack() as stack:
        parts: Iterator[tuple[np.ndarray, ...]] = map(render, chunks)
        if workers > 1:
            # Started afresh: a forked copy of a process in which PyTorch's threads ran may hang.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)))
            parts = pool.map(render, chunks)
        progress = stack.enter_context(_progress("rendering"))
        task = progress.add_task("", total=len(numbers), note="")
        for chunk, part in zip(chunks, parts, strict=True):
            views.put(chunk.start, part)
            progress.advance(task, len(chunk))
    return views


def detection_loss(out: Detection, labels: Tensor, cells: Tensor, severity: Tensor, recipe: DetectRecipe) -> Tensor:
    """Cross entropies of the classes, the cells and the severity, and 1 - IoU of the cells over the batch.

    Classes labelled UNKNOWN, cells and severities IGNORED count for nothing.
    """
    told = (labels != UNKNOWN).float()
    classes = F.binary_cross_entropy_with_logits(out.classes.float(), labels.clamp_min(0).float(), told,
                                                 reduction="sum") / told.sum().clamp_min(1.0)
    known, share = (cells != IGNORED).float(), (cells.float() / WHOLE).clamp_max(1.0)
    logits = out.mask.float()
    mask = F.binary_cross_entropy_with_logits(logits, share, known, reduction="sum") / known.sum().clamp_min(1.0)
    missed = 1 - overlap(logits.sigmoid() * known, share * known)
    graded = (severity != IGNORED).float()
    amount = F.binary_cross_entropy_with_logits(out.severity.float(), (severity.float() / WHOLE).clamp_max(1.0), graded,
                                                reduction="sum") / graded.sum().clamp_min(1.0)
    return classes + recipe.mask_weight * (mask + 0.3 * missed) + recipe.severity_weight * amount


def train(data: Path, output: Path, recipe: DetectRecipe) -> Path:
    """Train a detector on the folders below `data`; returns the checkpoint, `output`/detector.pt.

    It holds the calibration too, see `calibrate`. `output`/detector.jsonl gets one line per epoch. A training found in
    `output` is taken up after its last whole epoch, to the same weights. Raises DataError where data is missing.
    """
    training, unseen = find_pictures(data, "train"), find_pictures(data, "calibration")
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    cv2.setNumThreads(recipe.threads)
    net = Detector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = Muon(net, recipe.learning_rate)
    last, journal, begun, origin = output / "detector.pt", output / "detector.jsonl", 0, ""
    if last.exists():
        state = checkpoint.read(last)
        checkpoint.begin_with(net, last)
        if "optimiser" not in state:
            raise DataError(f"{last}: of an earlier version, which could not be taken up; name it as `start_from` and "
                            "another output")
        optimiser.load_state_dict(state["optimiser"])
        begun, origin = state["epoch"], state.get("origin", "")
        log.info("resumed after epoch %d" if begun < recipe.epochs else "nothing is left to train: it holds epoch %d",
                 begun)
        checkpoint.tell_other_recipe(state["recipe"], asdict(recipe))
    else:
        journal.unlink(missing_ok=True)
        if recipe.start_from:
            origin = _begin(net, checkpoint.find(Path(recipe.start_from), "detect"), training, recipe)
    if begun >= recipe.epochs:
        return last
    check = render_views(unseen, range(recipe.calibration_views), recipe.seed + 1000, recipe.workers)
    first = begun * recipe.renewed
    views = render_views(training, range(first, first + recipe.views), recipe.seed, recipe.workers)
    of_epoch = -(-recipe.views // recipe.batch)
    steps, step = recipe.epochs * of_epoch, begun * of_epoch
    with _progress("training") as progress:
        task = progress.add_task("", total=steps, completed=step, note="")
        for epoch in range(begun, recipe.epochs):
            torch.manual_seed(recipe.seed + epoch)
            if epoch > begun:
                first = recipe.views + (epoch - 1) * recipe.renewed
                render_views(training, range(first, first + recipe.renewed), recipe.seed, recipe.workers, views)
            losses = []
            for images, labels, cells, severity in _batches(views, recipe.batch):
                for group in optimiser.param_groups:
                    group["lr"] = (recipe.learning_rate * min(1.0, 20 * (step + 1) / steps)
                                   * 0.5 * (1 + math.cos(math.pi * step / steps)))
                # bf16 halves the time of a step on processors that have it, at the same result.
                with torch.autocast("cpu", torch.bfloat16):
                    out = net(images)
                loss = detection_loss(out, labels, cells, severity, recipe)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                step += 1
                losses.append(loss.item())
                progress.advance(task)
            out = predict(net, check.images)
            figures = {"loss": float(np.mean(losses)), **validate(out, check)}
            progress.update(task, note=f"accuracy {figures['accuracy']:.3f}")
            log.info("epoch %d: %s", epoch + 1, figures)
            checkpoint.write({"net": net.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1,
                              "recipe": asdict(recipe), "origin": origin, "data": training.described(),
                              "figures": figures,
                              "calibration": calibrate(out.classes, check.labels)}, last)
            with journal.open("a") as file:
                file.write(json.dumps({"epoch": epoch + 1, **figures}) + "\n")
    return last


@torch.no_grad()
def predict(net: Detector, images: Tensor) -> Detection:
    """What the net says of grey uint8 images (N, h, w), in batches."""
    net.eval()
    parts = [net(part[:, None].float()) for part in images.split(64)]
    net.train()
    return Detection(*(torch.cat(part) for part in zip(*parts, strict=True)))


def validate(out: Detection, views: Views) -> dict[str, float]:
    """Figures of raw logits: share of right answers about classes, recall of affected views and false alarms among
    clean ones, the area under the curve of these two, and the mask's intersection over union.
    """
    told, right = views.labels != UNKNOWN, (out.classes > 0) == (views.labels == 1)
    clean, affected = views.labels[:, 0] == 1, views.labels[:, 0] == 0
    order = -out.classes[:, 0]
    above = (order[affected][:, None] > order[clean][None]).float().mean()
    known, truth, mask = views.cells != IGNORED, views.cells > WHOLE // 2, out.mask > 0
    either = ((mask | truth) & known).sum().clamp_min(1)
    return {"accuracy": float(right[told].float().mean()), "auroc": float(above),
            "recall": float((order > 0)[affected].float().mean()),
            "false_alarms": float((order > 0)[clean].float().mean()),
            "mask_iou": float((mask & truth & known).sum() / either)}


def _begin(net: Detector, path: Path, training: Pictures, recipe: DetectRecipe) -> str:
    """Give `net` the weights of a checkpoint or of an exported detector; whose they are."""
    if path.suffix != ".onnx":
        checkpoint.begin_with(net, path)
        return "an earlier training"
    views = render_views(training, range(min(BEGINNING_VIEWS, recipe.views)), recipe.seed, recipe.workers)
    begin_detector(net, path, views.images[:, None].float())
    return name_of(path)


def _render(pictures: Pictures, seed: int, numbers: range) -> tuple[np.ndarray, ...]:
    views = [draw_view(pictures, np.random.default_rng((seed, number))) for number in numbers]
    return (np.stack([v.image for v in views]), np.stack([v.labels for v in views]),
            np.stack([v.cells for v in views]), np.array([v.severity for v in views], np.uint8),
            np.array([v.coverage for v in views], np.float32))


def _batches(views: Views, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """All views once in random order, mirrored and brightened at random: (N, 1, h, w) float in 0..255, and truths."""
    for chosen in torch.randperm(len(views.labels)).split(size):
        images = views.images[chosen][:, None].float()
        cells = views.cells[chosen]
        mirrored = torch.rand(len(chosen)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        cells = torch.where(mirrored[:, None, None], cells.flip(2), cells)
        # Powers are slow: a table of them is looked up.
        gamma = torch.empty(len(chosen), 1).uniform_(-0.3, 0.3).exp()
        table = 255 * (torch.arange(256) / 255) ** gamma
        images = table.gather(1, images.flatten(1).long()).view_as(images)
        yield images, views.labels[chosen], cells, views.severity[chosen]


def _progress(what: str) -> Progress:
    return Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    TextColumn("{task.fields[note]}"))
