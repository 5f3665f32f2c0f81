"""The temporal filter on whole sequences: its output, its losses and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from derain_ros.data.sequences import SequenceSample
from derain_ros.nets.temporal import COVERED, MEMORY, TemporalNet, blend
from derain_ros.runtime.stages.motion import Motion
from derain_ros.train.losses import mask_loss

if TYPE_CHECKING:
    from derain_ros.train.temporal import TemporalRecipe


def sequence_losses(net: TemporalNet, samples: Sequence[SequenceSample], recipe: TemporalRecipe) -> dict[str, Tensor]:
    """Return the weighted losses of the filter's output: `error`, `change` and `mask`; the loss is their sum."""
    clean, covered = _images([s.clean for s in samples]), _images([s.covered[None] for s in samples])[:, 0]
    weight = torch.where(covered > 0, 1.0, recipe.free_weight)
    covered = F.avg_pool2d(covered, 2)
    steps = torch.from_numpy(np.stack([s.steps for s in samples]).astype(np.float32))
    known = ~torch.isnan(steps[..., 0])
    grids = _grids(recipe.size) + steps.nan_to_num(0.0)
    error, mask = torch.zeros(()), torch.zeros(())
    ours, usual = torch.zeros(len(samples)), torch.zeros(len(samples))
    before: Tensor | None = None
    for t, out in enumerate(run(net, samples)):
        error = error + ((out.image - clean[:, t]).abs() * weight).mean()
        if before is not None:
            changes = (
                (now - _look_up(then, grids[:, t - 1])).abs()[:, 0] * known[:, t - 1]
                for now, then in ((out.image, before), (clean[:, t], clean[:, t - 1]))
            )
            ours, usual = (sum_ + part.sum((1, 2)) for sum_, part in zip((ours, usual), changes, strict=True))
        mask = mask + mask_loss(out.mask, covered)
        before = out.image
    # Over whole sequences: a steadier image behind drops compensates for the jumps of what comes out from behind them.
    change = (F.relu(ours - usual) / known.sum((1, 2, 3)).clamp_min(1)).mean()
    return {
        "error": error / recipe.length,
        "change": recipe.flicker_weight * change,
        "mask": recipe.mask_weight * mask / recipe.length,
    }


class FilterOutput(NamedTuple):
    """The filter's output for a frame, with the logits (N, 1, h, w) of what covers the glass as `mask`.

    `image` is (N, 1, H, W) in 0..1. At half its size are `mask`, `seen` (N, 1, h, w), how much of the image was seen,
    and `memory` (N, MEMORY, h, w), that of the glass.
    """

    image: Tensor
    seen: Tensor
    mask: Tensor
    memory: Tensor


def run(net: TemporalNet, samples: Sequence[SequenceSample]) -> list[FilterOutput]:
    """Run the filter frame after frame on some sequences in parallel, as on the robot but without 8-bit rounding."""
    wet, restored, found = (_images([getattr(s, name) for s in samples]) for name in ("wet", "restored", "mask"))
    count, length, _, size, _ = wet.shape
    motions = [Motion() for _ in samples]
    outputs: list[FilterOutput] = []
    for t in range(length):
        if not outputs:
            previous = restored[:, t]
            seen = previous.new_zeros(count, 1, size // 2, size // 2)
            memory = previous.new_zeros(count, MEMORY, size // 2, size // 2)
        else:
            last = outputs[-1]
            hidden = F.interpolate((last.mask.detach() > COVERED).to(torch.uint8), scale_factor=2).numpy()
            images = (last.image.detach().clamp(0, 1) * 255).round().byte().numpy()
            maps = torch.from_numpy(
                np.stack(
                    [
                        motion.maps(sample.restored[t], image[0], covered[0])
                        for motion, sample, image, covered in zip(motions, samples, images, hidden, strict=True)
                    ]
                )
            )
            there = ((maps >= 0) & (maps <= size - 1)).all(-1)[:, None]
            before = torch.cat([last.image, F.interpolate(last.seen, scale_factor=2.0)], 1)
            previous, seen = _look_up(before, maps).chunk(2, 1)
            previous, seen = torch.where(there, previous, restored[:, t]), F.avg_pool2d(seen * there, 2)
            memory = last.memory
        halves = F.avg_pool2d(torch.cat([wet[:, t], restored[:, t], previous, found[:, t]], 1), 2)
        weights = net(torch.cat([halves, seen, memory], 1))
        keep, recall, smooth = (F.interpolate(w, scale_factor=2.0, mode="bilinear") for w in weights[:3])
        image = blend(keep, recall, smooth, wet[:, t], restored[:, t], previous)
        seen = weights.keep + (1 - weights.keep) * weights.recall * seen
        outputs.append(FilterOutput(image, seen, weights.mask, weights.memory))
    return outputs


@torch.no_grad()
def validate(net: TemporalNet, samples: Sequence[SequenceSample]) -> dict[str, float]:
    """Return figures of the last frame of each sequence, and the flicker of whole sequences.

    PSNR in dB of covered pixels, for the restorer and the filter, and of free pixels, for the filter; IoU of the mask.
    Flicker is relative to that of the clean sequences.
    """
    sums = dict.fromkeys(("clean", "filtered", "restored"), 0.0)
    squares = {name: [0.0, 0] for name in ("psnr", "restored_psnr", "free_psnr")}
    shared, either = 0, 1
    for sample in samples:
        outputs = run(net, [sample])
        images = np.stack([(out.image[0, 0].clamp(0, 1) * 255).numpy() for out in outputs])
        covered = sample.covered > 0
        for name, image, where in (
            ("psnr", images[-1], covered),
            ("restored_psnr", sample.restored[-1], covered),
            ("free_psnr", images[-1], ~covered),
        ):
            squares[name][0] += float(((image - sample.clean[-1].astype(np.float32))[where] ** 2).sum())
            squares[name][1] += int(where.sum())
        found = (F.interpolate(outputs[-1].mask, scale_factor=2.0, mode="bilinear")[0, 0] > COVERED).numpy()
        shared, either = shared + int((found & covered).sum()), either + int((found | covered).sum())
        for name, video in (("clean", sample.clean), ("filtered", images), ("restored", sample.restored)):
            sums[name] += _flicker(video.astype(np.float32), sample.steps.astype(np.float32))
    figures = {
        name: 10 * math.log10(255**2 * max(1, count) / max(total, 1e-9)) for name, (total, count) in squares.items()
    }
    return {
        **figures,
        "mask_iou": shared / either,
        "flicker": sums["filtered"] / sums["clean"],
        "restored_flicker": sums["restored"] / sums["clean"],
    }


def _flicker(frames: np.ndarray, steps: np.ndarray) -> float:
    """Return the mean difference of neighbouring frames along the motion, in grey levels."""
    grid = _grids(frames.shape[1])[0].numpy()
    parts = []
    for before, now, step in zip(frames, frames[1:], steps, strict=False):
        known = ~np.isnan(step[..., 0])
        moved = cv2.remap(before, grid + np.nan_to_num(step), None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
        parts.append(float(np.abs(now - moved)[known].mean()))
    return float(np.mean(parts))


def _images(videos: Sequence[np.ndarray]) -> Tensor:
    """Stack grey uint8 videos (T, H, W) into one tensor (N, T, 1, H, W) in 0..1."""
    return torch.from_numpy(np.stack(videos))[:, :, None].float() / 255


def _grids(size: int) -> Tensor:
    """Return the columns and rows of a square's pixels, (1, size, size, 2)."""
    place = torch.arange(size, dtype=torch.float32)
    return torch.stack(torch.meshgrid(place, place, indexing="xy"), -1)[None]


def _look_up(images: Tensor, maps: Tensor) -> Tensor:
    """Sample `images` (N, C, H, W) at columns and rows `maps` (N, H, W, 2); the edge is repeated beyond it."""
    height, width = images.shape[2:]
    scaled = maps * maps.new_tensor([2 / (width - 1), 2 / (height - 1)]) - 1
    return F.grid_sample(images, scaled, align_corners=True, padding_mode="border")
