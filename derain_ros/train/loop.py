"""The training loop: one for every network and every recipe.

A learner defines the network and one step of its training. The loop sets the learning rate, validates, logs, saves and
stops early. It resumes an interrupted training with the same result.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from derain_ros.data.samples import DataError
from derain_ros.train import checkpoint
from derain_ros.train.interrupt import any_asked, asked_to_stop
from derain_ros.train.learner import Learner
from derain_ros.train.recipe import Recipe

log = logging.getLogger(__name__)

SAVE_EVERY = 120.0
"""Seconds from one checkpoint to the next: the most training that an interruption costs."""

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True)
class Machine:
    """The device to train on."""

    accelerator: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto`: the fastest available."""
    devices: int = 1
    """CPUs or GPUs that share a batch."""
    precision: str = "auto"
    """`bf16-mixed` halves the time of a step if the device supports bfloat16, with the same result; on a CPU without it
    a step takes 3.5 times as long as with `32-true`. `auto` takes the faster one."""
    workers: int | None = None
    """Processes that draw samples for each device; by default none for a CPU, up to 8 for a CUDA GPU."""


Build = Callable[[Fabric, int], Learner]
"""Builds a learner on a fabric, with this number of processes that draw samples; picklable if several devices share a
batch."""


def train(build: Build, output: Path, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train the learner that `build` returns; returns its checkpoint in `output`.

    This is best.pt, the best of all validations, if the recipe stops early, else last.pt. A training found in `output`
    is resumed where it stopped, with the same result. DataError if data or recipe cannot be used. KeyboardInterrupt
    after Ctrl-C, once the checkpoint has been written.
    """
    # Spawned processes run this module only; the default would run the calling script again in each.
    fabric = Fabric(
        accelerator=machine.accelerator,
        devices=machine.devices,
        strategy="ddp_spawn" if machine.devices > 1 else "auto",
        precision=_precision(machine),  # type: ignore[arg-type]  # a literal there
    )
    try:
        result, stopped = fabric.launch(_run, build, output, machine.workers)  # type: ignore[arg-type]  # takes more
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGINT)
            child.join()
        raise
    if stopped:
        raise KeyboardInterrupt
    return Path(result)


def train_phases(phase: Callable[[AnyRecipe, Path], Path], output: Path, recipes: Sequence[AnyRecipe]) -> Path:
    """Train by one recipe after the other; each starts from the checkpoint of the one before.

    `phase(recipe, folder)` trains in `output`/1, `output`/2 and so on; a single recipe is trained in `output` itself.
    Returns the last checkpoint.
    """
    if len(recipes) == 1:
        return phase(recipes[0], output)
    result = Path()
    for number, recipe in enumerate(recipes, 1):
        log.info("phase %d of %d", number, len(recipes))
        result = phase(recipe.begun_with(result) if number > 1 else recipe, output / str(number))
    return result


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the rate at `step`: a cosine from the peak down to `final_rate` of it.

    During the warm-up it is multiplied by a linear rise.
    """
    rise = min(1.0, (step + 1) / max(1, recipe.warm_up))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
    return recipe.learning_rate * rise * (recipe.final_rate + (1 - recipe.final_rate) * cosine)


def _run(fabric: Fabric, build: Build, output: Path, workers: int | None) -> tuple[str, bool]:
    """Run one process of a training; returns its checkpoint and whether Ctrl-C came before the end."""
    output.mkdir(parents=True, exist_ok=True)
    main = fabric.is_global_zero  # the only process that writes
    if fabric.world_size > 1:  # a new process, without any logging
        logging.basicConfig(level=logging.INFO if main else logging.ERROR, format="%(message)s")
    on_gpu = fabric.device.type == "cuda"
    if on_gpu:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if workers is None:
        workers = min(8, (os.cpu_count() or 1) // fabric.world_size) if on_gpu else 0
    learner = build(fabric, workers)
    recipe = learner.recipe

    last, best = output / "last.pt", output / "best.pt"
    start, best_figure, best_step, sums = 0, -math.inf, 0, {}
    figures: dict[str, float] = {}
    if last.exists():
        state = checkpoint.read(last)
        try:
            learner.load(state)
            start, figures, best_step = state["step"], state["figures"], state["best_step"]
            best_figure, sums = state["best_figure"], fabric.to_device(state["sums"])
        except (RuntimeError, KeyError, ValueError) as error:  # PyTorch lists every layer
            raise DataError(
                f"{last}: holds another network or training than the recipe's; choose another output, or "
                "the recipe that it was begun with; weights alone are taken by `start_from`"
            ) from error
        learner.origin = state["origin"]
        log.info("resumed at step %d" if start < recipe.steps else "nothing is left to train: it holds step %d", start)
        checkpoint.tell_other_recipe(state["recipe"], asdict(recipe))

    def save(path: Path, step: int) -> None:
        # It includes the losses' sums since the last validation, so an interruption does not change the log.
        checkpoint.write(
            {
                **learner.state(),
                "task": learner.task,
                "step": step,
                "recipe": asdict(recipe),
                "figures": figures,
                "sums": sums,
                "best_figure": best_figure,
                "best_step": best_step,
                "data": list(learner.data),
                "origin": learner.origin,
            },
            path,
        )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with (
        _board(output, start, main) as board,
        asked_to_stop(fabric) as asked,
        Progress(*columns, disable=not main) as bar,
    ):
        learner.bar = bar
        task = bar.add_task("training", total=recipe.steps, completed=start, note="")
        saved = time.monotonic()
        batches = iter(learner.batches(start))
        for step in range(start + 1, recipe.steps + 1):
            if recipe.patience and step - 1 - best_step >= recipe.patience * recipe.validate_every:
                log.info(
                    "step %d: %s no better than %.2f for %d validations",
                    step - 1,
                    learner.better,
                    best_figure,
                    recipe.patience,
                )
                break
            losses = learner.step(next(batches), learning_rate(step - 1, recipe))
            learner.follow(step - 1)
            sums = {name: sums.get(name, 0) + value for name, value in losses.items()}
            bar.update(task, completed=step)

            if step % recipe.validate_every == 0 or step == recipe.steps:
                since = (step - 1) % recipe.validate_every + 1
                means = {name: float(value) / since for name, value in sums.items()}
                _must_be_finite(means["loss"], step, recipe)
                measured, samples = learner.validate()
                # All processes use the first one's figures: with their own, rounding might stop only some of them.
                figures, sums = fabric.broadcast({**means, **measured}), {}
                better = figures[learner.better] > best_figure
                if better:
                    best_figure, best_step = figures[learner.better], step
                if main:
                    if better:
                        save(best, step)
                    save(last, step)
                    saved = time.monotonic()
                    _record(output, board, step, figures, samples)
                bar.update(task, note=f"{learner.better} {figures[learner.better]:.4g}")
                log.info("step %d: %s", step, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
            elif main and time.monotonic() - saved > SAVE_EVERY:
                _must_be_finite(float(losses["loss"]), step, recipe)
                save(last, step)
                saved = time.monotonic()
            if any_asked(fabric, asked, step):
                if main:
                    save(last, step)
                log.info("interrupted: %s holds step %d; the same command goes on from there", last, step)
                return str(last), True
    return str(best if recipe.patience else last), False


def _precision(machine: Machine) -> str:
    """Return the name of the precision in Lightning Fabric."""
    if machine.precision != "auto":
        return machine.precision
    graphics = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_processor = machine.accelerator == "cpu" or (machine.accelerator == "auto" and not graphics)
    return "32-true" if on_processor and not torch.cpu._is_avx512_bf16_supported() else "bf16-mixed"


def _must_be_finite(loss: float, step: int, recipe: Recipe) -> None:
    """Raise DataError for a loss that is not finite, before a good checkpoint is overwritten."""
    if not math.isfinite(loss):
        raise DataError(f"step {step}: the loss is {loss}; try a lower `learning_rate` than {recipe.learning_rate}")


def _record(
    output: Path, board: SummaryWriter | None, step: int, figures: dict[str, float], samples: Tensor | None
) -> None:
    with (output / "log.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "time": round(time.time()), **figures}) + "\n")
    if board is not None:
        for name, value in figures.items():
            board.add_scalar(name, value, step)
        if samples is not None:
            board.add_image("samples", samples, step)
        board.flush()


@contextmanager
def _board(output: Path, start: int, main: bool) -> Iterator[SummaryWriter | None]:
    """Open the TensorBoard log; what an interrupted training wrote beyond `start` is hidden."""
    board = SummaryWriter(str(output / "tensorboard"), purge_step=start + 1) if main else None
    try:
        yield board
    finally:
        if board is not None:
            board.close()
