"""How much restored video flickers: differences of neighbouring frames, motion compensated, beside the clean video's.

The flicker of a video is the mean absolute difference, in grey levels, between a frame and the one before it moved to
where the scene is now; over pixels that both frames show. Motion and pixels are those of the clean video, for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from derain_ros.engine import Engine
from derain_ros.evaluate.restoration import EvaluationError, read, restore
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.scene import Camera, Scene, pose, rig

COVERAGE = 0.16
"""Share of the view that the drops cover."""
STILL = 1e-6
"""Least flicker in grey levels that anything is compared with: a picture that stands still has none."""
ALLOWED = 1.1
"""Times the clean video's flicker that a restored one may have."""


@dataclass(frozen=True)
class Step:
    """From one frame to the next: where each pixel was before, (H, W) float32 columns and rows, and whether it was.

    `known` is (H, W) bool: seen in both frames, and its motion certain.
    """

    column: np.ndarray
    row: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Video:
    """A clean video, (H, W) uint8 each, its motion, and the drops on the glass before it."""

    name: str
    frames: list[np.ndarray]
    steps: list[Step]
    drops: LensDrops


@dataclass(frozen=True)
class Flicker:
    """Flicker in grey levels of the clean, the wet and the restored video; and of the last two within the drops.

    Each is (over all pixels, where drops are): a difference in the whole picture drowns in what the drops leave free.
    """

    sequence: str
    model: str
    clean: tuple[float, float]
    wet: tuple[float, float]
    restored: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Of the restored video to the clean one, over all pixels."""
        return self.restored[0] / max(self.clean[0], STILL)


def drive(count: int, rate: float = 20.0, seed: int = 7, width: int = 480, height: int = 360) -> Video:
    """`count` frames of the procedural drive, at `rate` a second, with the motion that its depth and poses give.

    What moves by itself is left out: its depth is not where the standing scene would have it.
    """
    camera, scene = rig(width, height)["left"], Scene(seed)
    frames, steps = [], []
    before: np.ndarray | None = None
    for index in range(count):
        image, depth = scene.render(camera, index / rate)
        frames.append(image)
        if before is not None:
            steps.append(_motion(camera, depth, before, index / rate, (index - 1) / rate))
        before = depth
    return Video("drive", frames, steps, _drops(frames[0], seed))


def from_folder(folder: Path, count: int, seed: int = 7) -> Video:
    """The first `count` images of `folder` in order of name, in grey, with their optical flow.

    EvaluationError where there are fewer than two.
    """
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))[:count]
    if len(files) < 2:
        raise EvaluationError(f"{folder}: holds fewer than two .png or .jpg images to make a sequence of")
    frames = [read(path, 1) for path in files]
    steps = [_flow(now, before) for before, now in zip(frames, frames[1:], strict=False)]
    return Video(folder.parent.name, frames, steps, _drops(frames[0], seed))


def flicker(engine: Engine, sequence: Video) -> Flicker:
    """The flicker of a sequence restored frame by frame, and of what it is to be compared with."""
    wet = [sequence.drops.apply(frame)[0] for frame in sequence.frames]
    restored = [restore(engine, frame)[0] for frame in wet]
    hidden = sequence.drops.alpha > 0.3
    clean, seen, ours = (measure(frames, sequence.steps, hidden) for frames in (sequence.frames, wet, restored))
    return Flicker(sequence.name, engine.model.name, clean, seen, ours)


def measure(frames: Sequence[np.ndarray], steps: Sequence[Step], hidden: np.ndarray) -> tuple[float, float]:
    """Flicker in grey levels of (H, W) uint8 `frames` over all known pixels, and over those of `hidden` (H, W) bool."""
    sums = np.zeros((2, 2))
    for before, now, step in zip(frames, frames[1:], steps, strict=False):
        moved = cv2.remap(before.astype(np.float32), step.column, step.row, cv2.INTER_LINEAR)
        difference = np.abs(now - moved)
        for part, where in enumerate((step.known, step.known & hidden)):
            sums[part] += difference[where].sum(), np.count_nonzero(where)
    total, within = sums[:, 0] / np.maximum(sums[:, 1], 1)
    return float(total), float(within)


def markdown(rows: Sequence[Flicker]) -> str:
    """A table of flicker, and what it means."""
    lines = [f"Mean absolute difference of motion-compensated neighbouring frames in grey levels, fixed drops over "
             f"{COVERAGE:.0%} of a moving view; in brackets within the drops. A restored video may flicker {ALLOWED:g} "
             "times as much as the clean one.", "",
             "| sequence | model | clean | wet | restored | restored / clean | holds |", "| --- " * 7 + "|"]
    for row in rows:
        cells = [f"{whole:.2f} ({within:.2f})" for whole, within in (row.clean, row.wet, row.restored)]
        within = row.restored[1] / max(row.clean[1], STILL)
        lines.append(f"| {row.sequence} | {row.model} | {' | '.join(cells)} | {row.ratio:.2f} "
                     f"({within:.2f}) | {'yes' if row.ratio <= ALLOWED else 'no'} |")
    return "\n".join(lines) + "\n"


def _drops(frame: np.ndarray, seed: int) -> LensDrops:
    height, width = frame.shape[:2]
    return LensDrops(height, width, np.random.default_rng(seed), COVERAGE)


def _motion(camera: Camera, depth: np.ndarray, before: np.ndarray, now: float, then: float) -> Step:
    """Where the pixels of `depth`, (H, W) in metres at the time `now`, were at `then`, when the depth was `before`."""
    height, width = depth.shape
    (eye, turn), (eye_then, turn_then) = (_camera_pose(camera, t) for t in (now, then))
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    far = ~np.isfinite(depth)
    # The sky is so far that only turns move it.
    distance = np.where(far, 1e6, depth).astype(np.float64)
    rays = np.stack([(x - (width - 1) / 2) / camera.focal, (y - (height - 1) / 2) / camera.focal, np.ones_like(x)], -1)
    world = (rays * distance[..., None]) @ turn + eye
    seen = (world - eye_then) @ turn_then.T
    column = (seen[..., 0] / seen[..., 2] * camera.focal + (width - 1) / 2).astype(np.float32)
    row = (seen[..., 1] / seen[..., 2] * camera.focal + (height - 1) / 2).astype(np.float32)
    was = cv2.remap(np.where(np.isfinite(before), before, 1e6).astype(np.float32), column, row, cv2.INTER_NEAREST,
                    borderMode=cv2.BORDER_CONSTANT, borderValue=-1.0)
    return Step(column, row, (np.abs(was - seen[..., 2]) < 0.02 * seen[..., 2]) | (far & (was > 1e5)))


def _camera_pose(camera: Camera, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Place of the camera's eye in the world, and its rotation from world to optical axes."""
    place, turn = pose(seconds)
    return place + turn[2] * camera.offset[0] - turn[0] * camera.offset[1] - turn[1] * camera.offset[2], turn


def _flow(now: np.ndarray, before: np.ndarray) -> Step:
    """Dense optical flow by DIS; known where the way back leads home, to a pixel."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]  # not in its stubs
    back, forth = dis.calc(now, before, None), dis.calc(before, now, None)
    height, width = now.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    column, row = x + back[..., 0], y + back[..., 1]
    home = cv2.remap(forth, column, row, cv2.INTER_LINEAR)
    inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    return Step(column, row, inside & (np.hypot(*np.moveaxis(back + home, 2, 0)) < 1.0))
