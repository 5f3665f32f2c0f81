"""Training of the temporal filter on sequences of a moving scene behind fixed drops and dirt."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from derain_ros.data.layouts import TrainingFolders
from derain_ros.data.samples import DataError
from derain_ros.data.sequences import SCENES, UNSEEN_SCENES, SequenceSample, draw_sequence
from derain_ros.engine import load
from derain_ros.manifest import Model
from derain_ros.nets.temporal import TemporalFilter
from derain_ros.runtime.stages.restore import restore_image
from derain_ros.train import checkpoint
from derain_ros.train.exported import load_temporal, name_of
from derain_ros.train.interrupt import any_asked, asked_to_stop
from derain_ros.train.muon import Muon
from derain_ros.train.restore import SAVE_EVERY
from derain_ros.train.temporal_run import sequence_losses, validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TemporalRecipe:
    """Hyper-parameters of the temporal filter's training."""

    width: int = 24
    """Filters of the network."""
    length: int = 8
    """Frames of a sequence; what is learnt goes back through all of them."""
    size: int = 224
    """Side of the frames in pixels, a multiple of 32."""
    batch: int = 4
    """Sequences in a step."""
    kept: int = 256
    """Sequences kept at hand; fresh ones take their places as training goes on."""
    reuse: float = 16.0
    """How often a sequence is shown before a fresh one replaces it, on the average."""
    steps: int = 7000
    learning_rate: float = 0.01
    """Peak rate of Muon, from which a cosine takes it to nothing."""
    warm_up: int = 100
    """Steps over which the rate rises from nothing."""
    flicker_weight: float = 5.0
    """Weight of how much more than the clean video the output of a whole sequence changes from frame to frame along the
    scene's motion, beside its error."""
    free_weight: float = 1.5
    """Weight of the error where nothing is on the glass, beside that where something is: there lies what is known."""
    mask_weight: float = 0.15
    """Weight of the loss of the mask of what covers the glass."""
    validate_every: int = 250
    """Steps from one validation to the next."""
    validation: int = 24
    """Sequences of photographs and scenes kept out of training that it is validated on."""
    seed: int = 1
    """Decides the first weights and every sequence."""
    start_from: str = ""
    """Whose weights to start from: a checkpoint of an earlier training, a shipped filter, such as temporal, or an
    exported one; random ones where none is named."""

    def __post_init__(self) -> None:
        """DataError for values that cannot be trained with."""
        if self.size <= 0 or self.size % 32:
            raise DataError(f"recipe: size: {self.size} is not a multiple of 32")
        if self.length < 2:
            raise DataError(f"recipe: length: {self.length} frames make no sequence; 2 is the least")
        for name in ("width", "batch", "kept", "reuse", "steps", "learning_rate", "validate_every", "validation"):
            if getattr(self, name) <= 0:
                raise DataError(f"recipe: {name}: {getattr(self, name)} is not above 0")
        for name in ("flicker_weight", "free_weight", "mask_weight"):
            if getattr(self, name) < 0:
                raise DataError(f"recipe: {name}: {getattr(self, name)} is below 0")


def train(data: Sequence[Path], output: Path, recipe: TemporalRecipe, restorers: Sequence[Model]) -> Path:
    """Train a temporal filter for what `restorers`, grey ones, give; returns its checkpoint, `output`/last.pt.

    A training found in `output` is taken up where it stopped. DataError where the data does not fit.
    """
    folders = TrainingFolders.find(data, "drops")
    if not folders.photographs or not folders.validation_photographs:
        raise DataError(f"{', '.join(map(str, data))}: the sequences are made of photographs, and there are too few to "
                        "train and to validate on")
    engines = [load(model, "onnxruntime", 1) for model in restorers]
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)

    def draw(files: Sequence[Path], scenes: range, seed: tuple[int, ...]) -> SequenceSample:
        rng = np.random.default_rng(seed)
        engine = engines[int(rng.integers(len(engines)))]
        return draw_sequence(files, recipe.length, recipe.size, lambda wet: restore_image(engine, wet), rng, scenes)

    net = TemporalFilter(recipe.width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = Muon(net, recipe.learning_rate)
    last, start, origin = output / "last.pt", 0, ""
    if last.exists():
        state = checkpoint.read(last)
        checkpoint.begin_with(net, last)
        optimiser.load_state_dict(state["optimiser"])
        start, origin = state["step"], state.get("origin", "")
        log.info("resumed at step %d", start)
        checkpoint.tell_other_recipe({**asdict(TemporalRecipe()), **state["recipe"]}, asdict(recipe))
    elif recipe.start_from:
        origin = _begin(net, checkpoint.find(Path(recipe.start_from), "temporal"))
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[note]}"))
    fabric = Fabric(accelerator="cpu", devices=1)
    with asked_to_stop(fabric) as asked, Progress(*columns) as bar:
        task = bar.add_task("", total=recipe.steps, completed=start, note="rendering what it is validated on")
        unseen = [draw(folders.validation_photographs, UNSEEN_SCENES, (recipe.seed, 1, n))
                  for n in range(recipe.validation)]
        bar.update(task, note="")
        pool = Pool(lambda n: draw(folders.photographs, SCENES, (recipe.seed, 0, n)), recipe)
        sums: dict[str, float] = {}
        counted = 0
        saved = time.monotonic()
        for step in range(start, recipe.steps):
            for group in optimiser.param_groups:
                group["lr"] = (recipe.learning_rate * min(1.0, (step + 1) / max(1, recipe.warm_up))
                               * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))
            losses = sequence_losses(net, pool.batch(step), recipe)
            loss = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(loss):
                raise DataError(f"step {step}: the loss is {loss.item()}; try a lower `learning_rate`")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            done, counted = step + 1, counted + 1
            bar.update(task, completed=done)
            if done % recipe.validate_every == 0 or done == recipe.steps:
                figures = {**{name: value / counted for name, value in sums.items()}, **validate(net, unseen)}
                sums, counted = {}, 0
                with (output / "log.jsonl").open("a") as file:
                    file.write(json.dumps({"step": done, "time": round(time.time()), **figures}) + "\n")
                log.info("step %d: %s", done, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
                bar.update(task, note=f"{figures['psnr']:.2f} dB behind drops, flicker {figures['flicker']:.2f}")
            stop = any_asked(fabric, asked, done)
            if done == recipe.steps or stop or time.monotonic() - saved > SAVE_EVERY:
                checkpoint.write({"net": net.state_dict(), "optimiser": optimiser.state_dict(), "step": done,
                                  "recipe": {"network": "temporal", **asdict(recipe)},
                                  "restorers": [model.name for model in restorers], "origin": origin}, last)
                saved = time.monotonic()
            if stop:
                log.info("interrupted: %s holds step %d; the same command goes on from there", last, done)
                raise KeyboardInterrupt
    return last


def _begin(net: TemporalFilter, path: Path) -> str:
    """Give `net` the weights of a checkpoint or of an exported filter; whose they are."""
    if path.suffix != ".onnx":
        checkpoint.begin_with(net, path)
        return "an earlier training"
    load_temporal(net, path)
    return name_of(path)


class Pool:
    """Sequences at hand, number n of them by `draw(n)`; a window of them moves on as training does."""

    def __init__(self, draw: Callable[[int], SequenceSample], recipe: TemporalRecipe) -> None:
        self._draw, self._recipe = draw, recipe
        self._at_hand: dict[int, SequenceSample] = {}

    def batch(self, step: int) -> list[SequenceSample]:
        """The sequences of one step: a function of the recipe and the step alone."""
        recipe = self._recipe
        rng = np.random.default_rng((recipe.seed, 2, step))
        oldest = int(step * recipe.batch / recipe.reuse)
        numbers = oldest + rng.integers(recipe.kept, size=recipe.batch)
        self._at_hand = {n: kept for n, kept in self._at_hand.items() if n >= oldest}
        for number in map(int, numbers):
            if number not in self._at_hand:
                self._at_hand[number] = self._draw(number)
        return [self._at_hand[int(number)] for number in numbers]
