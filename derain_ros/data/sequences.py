"""Sequences for the temporal filter: a moving scene behind a lens with drops or dirt, and its restoration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from derain_ros.data.samples import read_rgb
from derain_ros.data.splits import SCENES
from derain_ros.rain.dirt import LensDirt
from derain_ros.rain.drops import LensDrops, mask_of
from derain_ros.rain.motion import motion
from derain_ros.rain.scene import Scene, rig
from derain_ros.rain.style import DropStyle

DRIVES, RATES = 0.35, (4.0, 30.0)
"""Share of the sequences from procedural drives, and the range of their frame rates in frames a second."""
DRY, DIRTY = 0.1, 0.2
"""Shares of the sequences with a clean lens, and with dirt instead of drops."""
NEARER = 2.4
"""Largest factor by which drops are enlarged beyond what fits the size of the sequence."""
STILL = 0.1
"""Share of the sequences from photographs in which the camera does not move."""

Restore = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From a grey image to the restored image and the mask, (H, W) uint8 each."""


@dataclass(frozen=True)
class SequenceSample:
    """One sequence of T frames.

    `clean`, `wet`, `restored` (T, size, size) uint8 grey; `mask` of the restorer likewise, 0 or 255; `covered` (size,
    size) uint8, 255 where the lens is covered. `steps` (T - 1, size, size, 2) float16: the offset from each pixel to
    its place in the frame before, in columns and rows; NaN where it is not known.
    """

    clean: np.ndarray
    wet: np.ndarray
    restored: np.ndarray
    mask: np.ndarray
    covered: np.ndarray
    steps: np.ndarray


def draw_sequence(
    files: Sequence[Path], length: int, size: int, restore: Restore, rng: np.random.Generator, scenes: range = SCENES
) -> SequenceSample:
    """A sequence of `length` frames: a camera moving over one of the photographs `files`, or a procedural drive."""
    clean, steps = _drive(scenes, length, size, rng) if rng.random() < DRIVES else _pan(files, length, size, rng)
    noise = rng.choice([0.0, rng.uniform(0.5, 3.0)])
    clean = np.clip(clean + noise * rng.standard_normal(clean.shape, np.float32) + 0.5, 0, 255).astype(np.uint8)
    apply, alpha = _glass(size, rng)
    wet = np.stack([apply(frame)[0] for frame in clean])
    restored, mask = (np.stack(part) for part in zip(*map(restore, wet), strict=True))
    covered = np.zeros((size, size), np.uint8) if alpha is None else mask_of(alpha)
    return SequenceSample(clean, wet, restored, mask, covered, steps.astype(np.float16))


def _glass(
    size: int, rng: np.random.Generator
) -> tuple[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], np.ndarray | None]:
    """A random lens: the function that gives a frame seen through it, and its opacity per pixel (None if clean)."""
    what = rng.random()
    if what < DRY:
        return (lambda image: (image, image)), None
    if what < DRY + DIRTY:
        dirt = LensDirt(size, size, rng, float(np.exp(rng.uniform(np.log(0.02), np.log(0.3)))))
        return dirt.apply, dirt.apply(np.zeros((size, size), np.uint8))[1]
    # Half of the lenses have the coverage that is natural for their style.
    coverage = float(np.exp(rng.uniform(np.log(0.02), np.log(0.45)))) if rng.random() < 0.5 else None
    # A crop is smaller than a whole frame, but shows as many pixels of a drop.
    style = DropStyle.draw(rng).larger(float(np.exp(rng.uniform(0, np.log(NEARER)))))
    drops = LensDrops(size, size, rng, coverage, style)
    return drops.apply, drops.alpha


def _pan(files: Sequence[Path], length: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, size, size) float32 of a window on a photograph that turns, grows and shifts, and their `steps`."""
    grey = cv2.cvtColor(read_rgb(files[int(rng.integers(len(files)))]), cv2.COLOR_RGB2GRAY)
    if rng.random() < 0.5:
        grey = np.ascontiguousarray(grey[:, ::-1])
    zoom = max(float(rng.uniform(0.8, 1.6)), 1.1 * size / min(grey.shape))
    middle = np.array([grey.shape[1], grey.shape[0]]) / 2 + rng.uniform(-0.1, 0.1, 2) * grey.shape[::-1]
    moving = rng.random() >= STILL
    glide = rng.normal(0, 1, 2) * np.exp(rng.uniform(np.log(0.3), np.log(25))) * moving
    grow, turn = rng.normal(0, 0.03) * moving, rng.normal(0, 0.008) * moving
    lean = rng.normal(0, 0.0001, 2) * moving
    shake = rng.normal(0, 0.4, (length, 2)) * moving
    frames, matrices = [], []
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    points = np.stack([x, y], -1)
    for t in range(length):
        time = t - (length - 1) / 2
        scale, angle = np.exp(grow * time) / zoom, turn * time
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        here = np.array([[1, 0, -size / 2], [0, 1, -size / 2], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, 1, 0], [*(lean * time), 1]])
        there = np.array(
            [
                [c, -s, middle[0] + (glide[0] * time + shake[t, 0]) / zoom],
                [s, c, middle[1] + (glide[1] * time + shake[t, 1]) / zoom],
                [0, 0, 1],
            ]
        )
        matrix = there @ tilt @ here
        frames.append(
            cv2.warpPerspective(
                grey,
                matrix,
                (size, size),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        )
        matrices.append(matrix)
    steps = []
    for now, then in zip(matrices[1:], matrices, strict=False):
        steps.append(
            cv2.perspectiveTransform(points.reshape(1, -1, 2), np.linalg.inv(then) @ now).reshape(size, size, 2)
            - points
        )
    return np.stack(frames).astype(np.float32), np.stack(steps)


def _drive(scenes: range, length: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A window of a procedural drive, as `_pan` gives it; the motion of moving objects is not known."""
    width, height = round(size * rng.uniform(1.4, 2.4)), round(size * rng.uniform(1.05, 1.8))
    camera, scene = rig(width, height)["left"], _scene(scenes[int(rng.integers(len(scenes)))])
    rate, start = rng.uniform(*RATES), rng.uniform(0, 60)
    left, top = rng.integers(width - size + 1), rng.integers(height - size + 1)
    window = (slice(top, top + size), slice(left, left + size))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    frames, steps, before = [], [], None
    for n in range(length):
        image, depth = scene.render(camera, start + n / rate)
        frames.append(image[window].astype(np.float32))
        if before is not None:
            step = motion(camera, depth, before, start + n / rate, start + (n - 1) / rate)
            away = np.stack([step.column - x, step.row - y], -1)
            away[~step.known] = np.nan
            steps.append(away[window])
        before = depth
    return np.stack(frames), np.stack(steps)


@cache
def _scene(seed: int) -> Scene:
    return Scene(seed)
