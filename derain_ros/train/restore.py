"""Training of a restorer: the loop, for every network and every recipe."""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from derain_ros.data.layouts import TrainingFolders, check
from derain_ros.data.samples import DataError, SampleSource, image_files
from derain_ros.train import checkpoint
from derain_ros.train.batches import Batches, Unlabelled, loader, prepare
from derain_ros.train.gan_losses import Features, perceptual_features
from derain_ros.train.interrupt import any_asked, asked_to_stop
from derain_ros.train.learners import Adversarial, Supervised
from derain_ros.train.recipe import RestoreRecipe
from derain_ros.train.sources import sample_source, validation_set
from derain_ros.train.validation import ValidationSet, validate

log = logging.getLogger(__name__)

SAVE_EVERY = 120.0
"""Seconds of training, at the most, that a cut costs."""


@dataclass(frozen=True)
class Machine:
    """What to train on."""

    accelerator: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto`: the fastest there is."""
    devices: int = 1
    """Processors or graphics cards that share a batch."""
    precision: str = "bf16-mixed"
    """`bf16-mixed` halves the time of a step where the device has it, at the same result; `32-true` is for others."""
    workers: int | None = None
    """Processes that draw samples for each device; by itself none on a processor, up to 8 beside a graphics card."""


def train(data: Sequence[Path], output: Path, recipe: RestoreRecipe, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train a restorer on the images below the folders `data`; returns its checkpoint in `output`.

    That is best.pt, the best of all validations, where the recipe stops early, else last.pt. A training found in
    `output` is taken up where it stopped, to the same result. DataError where data or recipe do not fit.
    KeyboardInterrupt after Ctrl-C, when the checkpoint has been written.
    """
    if recipe.batch % machine.devices or (recipe.unlabelled and recipe.unlabelled_batch % machine.devices):
        raise DataError(f"recipe: batch: {recipe.batch} samples, and {recipe.unlabelled_batch} unlabelled ones, cannot "
                        f"be shared out among {machine.devices} devices")
    # Mistakes are told before processes begin.
    for trained in filter(None, (recipe.start_from, recipe.teacher)):
        checkpoint.read(Path(trained))
    folders = TrainingFolders.find(data, recipe.anomaly)
    check([*folders.train, *folders.validation])
    # Spawned processes run this module only; the default would run the calling script once more for each.
    fabric = Fabric(accelerator=machine.accelerator, devices=machine.devices,
                    strategy="ddp_spawn" if machine.devices > 1 else "auto",
                    precision=machine.precision)  # type: ignore[arg-type]  # a literal there
    try:
        # As a dict: Fabric looks through the arguments, and cannot look through a frozen dataclass.
        result, stopped = fabric.launch(_train, data, output, asdict(recipe),  # type: ignore[arg-type]
                                        machine.workers)
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGINT)
            child.join()
        raise
    if stopped:
        raise KeyboardInterrupt
    return Path(result)


def train_phases(data: Sequence[Path], output: Path, recipes: Sequence[RestoreRecipe], machine: Machine) -> Path:
    """Train by one recipe after the other in `output`/1, `output`/2 and so on; each begins where the last one ended.

    Returns the last checkpoint. A single recipe is trained in `output` itself.
    """
    if len(recipes) == 1:
        return train(data, output, recipes[0], machine)
    result = ""
    for number, recipe in enumerate(recipes, 1):
        log.info("phase %d of %d", number, len(recipes))
        recipe = replace(recipe, start_from=recipe.start_from or result)
        result = str(train(data, output / str(number), recipe, machine))
    return Path(result)


def _train(fabric: Fabric, data: Sequence[Path], output: Path, values: dict[str, Any],
           workers: int | None) -> tuple[str, bool]:
    """One process of a training by the recipe of these values: gather the data, then `fit`."""
    recipe = RestoreRecipe(**values)
    if fabric.world_size > 1:  # a process of its own, in which nothing is set up
        logging.basicConfig(level=logging.INFO if fabric.is_global_zero else logging.ERROR, format="%(message)s")
    folders = TrainingFolders.find(data, recipe.anomaly)
    source = sample_source(folders, recipe)
    perceptual = perceptual_features(recipe.detector) if recipe.adversarial else None
    described = [] if folders.are_ours and len(data) == 1 else folders.described()
    return fit(fabric, source, validation_set(folders, recipe), output, recipe, perceptual, workers, described)


def fit(fabric: Fabric, source: SampleSource, images: ValidationSet, output: Path, recipe: RestoreRecipe,
        perceptual: Features | None = None, workers: int | None = None,
        described: Sequence[str] = ()) -> tuple[str, bool]:
    """Train on what `source` draws; returns the checkpoint as `train` does, and whether Ctrl-C came before the end.

    `described` is what the data is, for the card. `output` gets last.pt, best.pt, a line of log.jsonl for every
    validation, and a folder for TensorBoard.
    """
    output.mkdir(parents=True, exist_ok=True)
    first = fabric.is_global_zero  # the only process that writes
    on_gpu = fabric.device.type == "cuda"
    if on_gpu:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if workers is None:
        workers = min(8, (os.cpu_count() or 1) // fabric.world_size) if on_gpu else 0

    torch.manual_seed(recipe.seed)
    net = checkpoint.build(asdict(recipe))
    origin = ""  # The model that it began with may be replaced by what comes of it.
    if recipe.start_from:
        checkpoint.begin_with(net, Path(recipe.start_from))
        origin = checkpoint.read(Path(recipe.start_from)).get("exported", "")
    teacher = checkpoint.load_network(Path(recipe.teacher)) if recipe.teacher else None
    learner = (Adversarial(fabric, recipe, net, teacher, perceptual) if recipe.adversarial
               else Supervised(fabric, recipe, net, teacher))

    last, best = output / "last.pt", output / "best.pt"
    start, best_psnr, best_step, sums = 0, -math.inf, 0, {}
    figures: dict[str, float] = {}
    if last.exists():
        state = checkpoint.read(last)
        try:
            learner.load(state)
        except (RuntimeError, KeyError, ValueError) as error:  # PyTorch lists every layer
            raise DataError(f"{last}: holds another network or training than the recipe's; choose another output, or "
                            "the recipe that it was begun with") from error
        start, figures = state["step"], state["figures"]
        origin = state.get("origin", origin)
        best_psnr, best_step, sums = state["best_psnr"], state["best_step"], fabric.to_device(state["sums"])
        log.info("resumed at step %d" if start < recipe.steps else "nothing is left to train: it holds step %d", start)
        checkpoint.tell_other_recipe(state["recipe"], asdict(recipe))

    def save(step: int) -> None:
        # The losses' sums since the last validation are part of it: the log will not tell where training was cut.
        checkpoint.write({**learner.state(), "step": step, "recipe": asdict(recipe), "figures": figures, "sums": sums,
                          "best_psnr": best_psnr, "best_step": best_step, "data": list(described),
                          "origin": origin}, last)

    unlabelled = Unlabelled([path for folder in recipe.unlabelled for path in image_files(Path(folder))],
                            recipe.unlabelled_batch, recipe.crop, recipe.seed)
    batches = Batches(source, unlabelled, recipe.batch, start, recipe.steps, fabric.global_rank, fabric.world_size)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[note]}"))
    with (_board(output, start, first) as board, asked_to_stop(fabric) as asked,
          Progress(*columns, disable=not first) as bar):
        task = bar.add_task("", total=recipe.steps, completed=start, note="")
        saved = time.monotonic()
        step = start
        for raw in loader(batches, workers, on_gpu):
            if recipe.patience and step - best_step >= recipe.patience * recipe.validate_every:
                log.info("step %d: no better than %.2f dB for %d validations", step, best_psnr, recipe.patience)
                break
            losses = learner.step(prepare(raw, fabric.device), learning_rate(step, recipe))
            learner.follow(step)
            sums = {name: sums.get(name, 0) + value for name, value in losses.items()}
            step += 1
            bar.update(task, completed=step)

            if step % recipe.validate_every == 0 or step == recipe.steps:
                since = (step - 1) % recipe.validate_every + 1
                means = {name: float(value) / since for name, value in sums.items()}
                _must_be_finite(means["loss"], step, recipe)
                measured, samples = validate(learner.average, images)
                # All go by the first one's figures, or rounding might stop only some of them.
                figures, sums = fabric.broadcast({**means, **measured}), {}
                if figures["psnr"] > best_psnr:
                    best_psnr, best_step = figures["psnr"], step
                    if first:
                        checkpoint.write({"net": learner.net.state_dict(), "average": learner.average.state_dict(),
                                          "step": step, "recipe": asdict(recipe), "figures": figures,
                                          "data": list(described), "origin": origin}, best)
                if first:
                    save(step)
                    saved = time.monotonic()
                    _record(output, board, step, figures, samples)
                bar.update(task, note=f"{figures['psnr']:.2f} dB {figures['ssim']:.3f}")
                log.info("step %d: loss %.4f; %.2f dB, SSIM %.3f on pairs; clean images kept at %.1f dB", step,
                         figures["loss"], figures["psnr"], figures["ssim"], figures["clean_psnr"])
            elif first and time.monotonic() - saved > SAVE_EVERY:
                _must_be_finite(float(losses["loss"]), step, recipe)
                save(step)
                saved = time.monotonic()
            if any_asked(fabric, asked, step):
                if first:
                    save(step)
                log.info("interrupted: %s holds step %d; the same command goes on from there", last, step)
                return str(last), True
    return str(best if recipe.patience else last), False


def learning_rate(step: int, recipe: RestoreRecipe) -> float:
    """The rate at `step`: a linear rise, then a cosine down to `final_rate` of the peak."""
    rise = min(1.0, (step + 1) / max(1, recipe.warm_up))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
    return recipe.learning_rate * rise * (recipe.final_rate + (1 - recipe.final_rate) * cosine)


def _must_be_finite(loss: float, step: int, recipe: RestoreRecipe) -> None:
    """DataError before a checkpoint of use is overwritten by one of none."""
    if not math.isfinite(loss):
        raise DataError(f"step {step}: the loss is {loss}; try a lower `learning_rate` than {recipe.learning_rate}")


def _record(output: Path, board: SummaryWriter | None, step: int, figures: dict[str, float], samples: Tensor) -> None:
    with (output / "log.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "time": round(time.time()), **figures}) + "\n")
    if board is not None:
        for name, value in figures.items():
            board.add_scalar(name, value, step)
        board.add_image("wet, restored, clean", samples, step)
        board.flush()


@contextmanager
def _board(output: Path, start: int, first: bool) -> Iterator[SummaryWriter | None]:
    """Where TensorBoard reads; what a cut training wrote beyond `start` is hidden."""
    board = SummaryWriter(str(output / "tensorboard"), purge_step=start + 1) if first else None
    try:
        yield board
    finally:
        if board is not None:
            board.close()
