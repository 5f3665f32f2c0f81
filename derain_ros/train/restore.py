"""Training of a restorer on real and synthetic pairs."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from derain_ros.nets.fast import FastRestorer
from derain_ros.train.data import (
    CLEAN_FOLDERS,
    BatchSource,
    Pair,
    image_files,
    random_crop,
    read_rgb,
    real_pairs,
    synthetic_pairs,
)
from derain_ros.train.losses import psnr, restoration_loss, ssim

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestoreRecipe:
    """Hyper-parameters of a restorer's training."""

    width: int = 64
    """Filters of the trunk; the edges have half of them."""
    blocks: int = 9
    """Residual blocks of the trunk."""
    steps: int = 9000
    batch: int = 8
    crop: int = 192
    """Side of the training crops in pixels, a multiple of 32."""
    learning_rate: float = 6e-4
    """Peak rate of AdamW; a cosine takes it to 1 % of that. Without normalisation layers 2e-3 diverges."""
    warm_up: int = 200
    """Steps over which the rate rises from nothing."""
    weight_decay: float = 1e-4
    real_share: float = 0.7
    """Share of the samples drawn from real pairs."""
    clean_share: float = 0.06
    """Share of the samples that are clean already, and must stay so."""
    synthetic: int = 1500
    """Synthetic pairs rendered before the first step."""
    average: float = 0.999
    """Decay of the moving average of the weights, which is what is validated and exported."""
    validate_every: int = 500
    start_from: str = ""
    """Checkpoint of an earlier training whose weights to start from; random ones where none is named."""
    seed: int = 1


@dataclass(frozen=True)
class ValidationSet:
    """Images never trained on: real pairs, and clean photographs that must stay as they are."""

    real: list[Pair]
    clean: list[np.ndarray]

    @classmethod
    def load(cls, data: Path) -> ValidationSet:
        """The held-out real frames and twelve crops of photographs of the validation folder below `data`."""
        rng = np.random.default_rng(0)
        photographs = image_files(data / "bsds500/val")[::8]
        return cls(real_pairs(data, held_out=True), [random_crop(read_rgb(p), 256, rng) for p in photographs])


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def validate(net: FastRestorer, images: ValidationSet, bf16: bool = False) -> dict[str, float]:
    """PSNR (dB) and SSIM of input and output on real pairs, and PSNR of clean images passed through."""
    net.eval()
    rows = []
    for pair in images.real:
        wet, clean = as_tensor(pair.wet), as_tensor(pair.clean)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = net(wet)
        restored = out.restored.float().clamp(0, 1)
        found, true = out.mask[0, 0].float() > 0, torch.from_numpy(pair.mask) > 0
        rows.append((float(psnr(wet, clean)), float(ssim(wet, clean)), float(psnr(restored, clean)),
                     float(ssim(restored, clean)), float((found & true).sum() / (found | true).sum().clamp_min(1))))
    mean = np.mean(rows, axis=0)
    kept = [float(psnr(net(as_tensor(c)).restored.clamp(0, 1), as_tensor(c))) for c in images.clean]
    net.train()
    return {"input_psnr": mean[0], "input_ssim": mean[1], "psnr": mean[2], "ssim": mean[3], "mask_iou": mean[4],
            "clean_psnr": float(np.mean(kept))}


def learning_rate(step: int, recipe: RestoreRecipe) -> float:
    """The rate at `step`: a linear rise, then a cosine down to 1 % of the peak."""
    rise = min(1.0, (step + 1) / max(1, recipe.warm_up))
    fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
    return recipe.learning_rate * rise * fall


def train(data: Path, output: Path, recipe: RestoreRecipe) -> Path:
    """Train a restorer on the folders below `data`; returns the checkpoint, `output`/last.pt.

    A checkpoint already there is taken up where it stopped. `output`/log.jsonl gets one line per validation.
    """
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / "last.pt"
    torch.manual_seed(recipe.seed)
    images = ValidationSet.load(data)
    synthetic = synthetic_pairs([data / f for f in CLEAN_FOLDERS], recipe.synthetic, 256, recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    source = BatchSource(real_pairs(data, held_out=False), synthetic, recipe.crop, recipe.batch, recipe.real_share,
                         recipe.clean_share, rng)
    net = FastRestorer(3, recipe.width, recipe.blocks)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its type stubs
    if recipe.start_from:
        net.load_state_dict(torch.load(recipe.start_from, weights_only=False)["average"])
    average = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        rng.bit_generator.state = state["rng"]
        start = state["step"]
        log.info("resumed at step %d", start)

    def save(step: int, figures: dict[str, float]) -> None:
        """Write the checkpoint beside the old one first, so that a cut leaves one of them whole."""
        state = {"net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                 "rng": rng.bit_generator.state, "step": step, "recipe": asdict(recipe), "figures": figures}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
        with (output / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "time": round(time.time()), **figures}) + "\n")

    with Progress(TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  TextColumn("{task.fields[note]}")) as progress:
        task = progress.add_task("", total=recipe.steps, completed=start, note="")
        for step in range(start, recipe.steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, recipe)
            batch = source.draw()
            # bf16 halves the time of a step on processors that have it, at the same result.
            with torch.autocast("cpu", torch.bfloat16):
                out = net(batch.wet.contiguous(memory_format=torch.channels_last))
            loss = restoration_loss(out, batch.clean, batch.mask)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay = min(recipe.average, (step + 1) / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
            progress.advance(task)
            if (step + 1) % recipe.validate_every == 0 or step + 1 == recipe.steps:
                figures = validate(average, images)
                save(step + 1, {"loss": loss.item(), **figures})
                progress.update(task, note=f"{figures['psnr']:.2f} dB {figures['ssim']:.3f}")
                log.info("step %d: %.2f dB, SSIM %.3f on real pairs; clean images kept at %.1f dB", step + 1,
                         figures["psnr"], figures["ssim"], figures["clean_psnr"])
    return checkpoint
