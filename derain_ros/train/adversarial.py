"""Paper 1's training: a step of the discriminator, then one joint step of generator and enhancer."""

from __future__ import annotations

import json
import logging
import math
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional as F

from derain_ros.nets.discriminator import Discriminator
from derain_ros.nets.fast import Restoration
from derain_ros.nets.printed import PrintedRestorer
from derain_ros.train.data import CLEAN_FOLDERS, Batch, BatchSource, DataError, real_pairs, synthetic_pairs
from derain_ros.train.gan_losses import Features, discrimination, generator_losses, perceptual_features
from derain_ros.train.restore import ValidationSet, validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdversarialRecipe:
    """Hyper-parameters of paper 1's training; those it prints have its values."""

    enhancer: bool = True
    aggregation: bool = True
    epochs: int = 200
    """At the most, as printed."""
    epoch_steps: int = 250
    """Steps between two validations: samples are drawn at random, so an epoch has no end of its own."""
    patience: int = 10
    """Validations without a better PSNR after which training stops, as printed."""
    batch: int = 8
    """As printed."""
    crop: int = 192
    """Side of the training crops in pixels, a multiple of 32."""
    learning_rate: float = 2e-4
    """Of Adam, for both networks, as printed."""
    beta: float = 0.5
    """Adam's first moment, as in the image-to-image translation that the paper follows."""
    mask_weight: float = 0.05
    """Weight of the mask's cross entropy, which loss (5) does not have."""
    real_share: float = 0.7
    """Share of the samples drawn from real pairs."""
    clean_share: float = 0.06
    """Share of the samples that are clean already, and must stay so."""
    synthetic: int = 1500
    """Synthetic pairs rendered before the first step."""
    seed: int = 1


class AdversarialTraining:
    """The two networks and their optimisers; `step` after `step` they learn."""

    def __init__(self, recipe: AdversarialRecipe, perceptual: Features | None) -> None:
        self.recipe, self.perceptual = recipe, perceptual
        self.net = PrintedRestorer(3, recipe.enhancer, recipe.aggregation)
        self.discriminator = Discriminator(3)
        self.net, self.discriminator = (n.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                                        for n in (self.net, self.discriminator))
        betas = (recipe.beta, 0.999)
        self.optimiser = torch.optim.Adam(self.net.parameters(), recipe.learning_rate, betas)
        self.judge_optimiser = torch.optim.Adam(self.discriminator.parameters(), recipe.learning_rate, betas)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step of each network on `batch`; the losses, before it: `judge`, `total`, its parts and `mask`."""
        wet = batch.wet.contiguous(memory_format=torch.channels_last)
        # bf16 halves the time of a step on processors that have it, at the same result.
        with torch.autocast("cpu", torch.bfloat16):
            out = self.net(wet)
        out = Restoration(*(image.float() for image in out))
        # The discriminator learns on what has just been restored; then the restorer must convince it.
        judge = discrimination(self.discriminator(batch.clean)[-1], self.discriminator(out.generated.detach())[-1])
        self.judge_optimiser.zero_grad()
        judge.backward()
        self.judge_optimiser.step()

        self.discriminator.requires_grad_(False)
        parts = generator_losses(out, batch.clean, self.discriminator, self.perceptual)
        self.discriminator.requires_grad_(True)
        parts["mask"] = self.recipe.mask_weight * F.binary_cross_entropy_with_logits(out.mask, batch.mask)
        total = torch.stack(list(parts.values())).sum()
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        return {"judge": judge.item(), "total": total.item(), **{name: part.item() for name, part in parts.items()}}

    def state(self) -> dict[str, Any]:
        """All that learning changes."""
        return {"net": self.net.state_dict(), "discriminator": self.discriminator.state_dict(),
                "optimiser": self.optimiser.state_dict(), "judge_optimiser": self.judge_optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name in ("net", "discriminator", "optimiser", "judge_optimiser"):
            getattr(self, name).load_state_dict(state[name])


def train(data: Path, output: Path, recipe: AdversarialRecipe, initial: Path | None = None) -> Path:
    """Train on the folders below `data`; returns the checkpoint of the best validation, `output`/best.pt."""
    images = ValidationSet.load(data)
    rng = np.random.default_rng(recipe.seed)
    synthetic = synthetic_pairs([data / f for f in CLEAN_FOLDERS], recipe.synthetic, 256, recipe.seed)
    source = BatchSource(real_pairs(data, held_out=False), synthetic, recipe.crop, recipe.batch, recipe.real_share,
                         recipe.clean_share, rng)
    return fit(source, images, output, recipe, perceptual_features(), initial)


def fit(source: BatchSource, images: ValidationSet, output: Path, recipe: AdversarialRecipe,
        perceptual: Features | None, initial: Path | None = None) -> Path:
    """Train on what `source` draws until `images` have not been restored better for `patience` validations.

    Weights begin as drawn from N(0, 0.02), or as those of the checkpoint `initial`. Every epoch `output`/last.pt, from
    which a cut training goes on to the same result, and a line of `output`/log.jsonl are written; the best network
    is `output`/best.pt, which is returned. DataError where `initial` does not fit.
    """
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    training = AdversarialTraining(recipe, perceptual)
    epoch, best, best_epoch = 0, -math.inf, 0
    if (output / "last.pt").exists():
        state = torch.load(output / "last.pt", weights_only=False)
        training.load(state)
        source.rng.bit_generator.state = state["rng"]
        epoch, best, best_epoch = state["epoch"], state["best"], state["best_epoch"]
        log.info("resumed after epoch %d", epoch)
    elif initial is not None:
        _begin_with(training.net, initial)
        log.info("weights begin as those of %s", initial)

    with Progress(TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  TextColumn("{task.fields[note]}")) as progress:
        task = progress.add_task("", total=recipe.epochs * recipe.epoch_steps, completed=epoch * recipe.epoch_steps,
                                 note="")
        while epoch < recipe.epochs and epoch - best_epoch < recipe.patience:
            losses = []
            for _ in range(recipe.epoch_steps):
                losses.append(training.step(source.draw()))
                progress.advance(task)
            epoch += 1
            figures = validate(training.net, images)  # type: ignore[arg-type]  # any network that gives a Restoration
            figures |= {name: float(np.mean([loss[name] for loss in losses])) for name in losses[0]}
            if figures["psnr"] > best:
                best, best_epoch = figures["psnr"], epoch
                _save({"net": training.net.state_dict(), "recipe": asdict(recipe), "figures": figures},
                      output / "best.pt")
            _save({**training.state(), "rng": source.rng.bit_generator.state, "epoch": epoch, "best": best,
                   "best_epoch": best_epoch, "recipe": asdict(recipe)}, output / "last.pt")
            with (output / "log.jsonl").open("a") as file:
                file.write(json.dumps({"epoch": epoch, "time": round(time.time()), **figures}) + "\n")
            progress.update(task, note=f"{figures['psnr']:.2f} dB {figures['ssim']:.3f}")
            log.info("epoch %d: %.2f dB, SSIM %.3f, best %.2f dB in epoch %d", epoch, figures["psnr"],
                     figures["ssim"], best, best_epoch)
    return output / "best.pt"


def load_printed(checkpoint: Path) -> PrintedRestorer:
    """The network of `checkpoint`, in evaluation mode; DataError where it is none of this training."""
    try:
        state = torch.load(checkpoint, weights_only=False, map_location="cpu")
        net = PrintedRestorer(3, state["recipe"]["enhancer"], state["recipe"]["aggregation"])
        net.load_state_dict(state["net"])
    except (OSError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(f"{checkpoint}: not a checkpoint of adversarial training: {error}") from error
    return net.eval()


def _begin_with(net: nn.Module, initial: Path) -> None:
    try:
        net.load_state_dict(load_printed(initial).state_dict())
    except RuntimeError as error:
        raise DataError(f"{initial}: has not the parts of the network to be trained: {error}") from error


def _save(state: dict[str, Any], path: Path) -> None:
    """Write beside the old one first, so that a cut leaves one of them whole."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
