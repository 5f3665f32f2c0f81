"""Measures restored video: how much it flickers, and how close it is to the clean one.

The flicker of a video is the mean absolute difference, in grey levels, between a frame and the motion-compensated frame
before it, over pixels that both frames show. Motion and pixels of the clean video are used for all videos.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from derain_ros.engine import Engine
from derain_ros.evaluate.restoration import EvaluationError, read
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.motion import Step, motion
from derain_ros.rain.scene import Scene, rig
from derain_ros.rain.style import DropStyle
from derain_ros.runtime.stages.restore import restore_image
from derain_ros.runtime.stages.temporal import TemporalFilter

COVERED = 0.3
"""Alpha of the drops above which a pixel lies within them."""
STILL = 1e-6
"""Least flicker in grey levels used as a divisor: a still picture has no flicker."""
ALLOWED = 1.1
"""Largest flicker of a restored video, as a multiple of the clean video's."""
SETTLED = 10
"""Number of frames after which a temporal filter has settled; robots drive for longer."""


@dataclass(frozen=True)
class Video:
    """A clean video: frames (H, W) uint8 grey at `rate` frames a second, and the motion between them in `steps`."""

    name: str
    frames: list[np.ndarray]
    steps: list[Step]
    rate: float


@dataclass(frozen=True)
class SequenceFigures:
    """Flicker in grey levels and PSNR in dB of a video behind one kind of drops.

    Each has two values, over all pixels and within the drops, because the area without drops hides differences.
    """

    sequence: str
    drops: str
    coverage: float
    model: str
    clean: tuple[float, float]
    wet: tuple[float, float]
    restored: tuple[float, float]
    wet_psnr: tuple[float, float]
    restored_psnr: tuple[float, float]
    settled: float
    """Flicker of the restored video divided by the clean one's, from frame SETTLED on; NaN for shorter videos."""
    mask_iou: float
    """IoU of the mask of the last frame with the true mask."""

    @property
    def ratio(self) -> float:
        """Flicker of the restored video divided by the clean one's, over all pixels."""
        return self.restored[0] / max(self.clean[0], STILL)


def drive(count: int, rate: float = 20.0, seed: int = 7, width: int = 480, height: int = 360) -> Video:
    """`count` frames of the procedural drive, at `rate` frames a second, with the motion from its depth and poses.

    Moving objects are left out of the motion: their depth does not fit the static scene.
    """
    camera, scene = rig(width, height)["left"], Scene(seed)
    frames, steps = [], []
    before: np.ndarray | None = None
    for index in range(count):
        image, depth = scene.render(camera, index / rate)
        frames.append(image)
        if before is not None:
            steps.append(motion(camera, depth, before, index / rate, (index - 1) / rate))
        before = depth
    return Video("drive", frames, steps, rate)


def from_folder(folder: Path, count: int, rate: float = 10.0) -> Video:
    """The first `count` images of `folder` in order of name, in grey, at `rate` a second, with their optical flow.

    EvaluationError if there are fewer than two.
    """
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))[:count]
    if len(files) < 2:
        raise EvaluationError(f"{folder}: contains fewer than two .png or .jpg images; name a folder with more")
    frames = [read(path, 1) for path in files]
    steps = [_flow(now, before) for before, now in zip(frames, frames[1:], strict=False)]
    return Video(folder.parent.name, frames, steps, rate)


def evaluate(engine: Engine, video: Video, kind: str, temporal: Engine | None = None, seed: int = 7) -> SequenceFigures:
    """Figures of a video behind drops of one of `rain.style.KINDS`, with a coverage typical of that kind.

    The video is restored frame by frame, and then filtered by `temporal` if that is given.
    """
    height, width = video.frames[0].shape
    rng = np.random.default_rng(seed)
    drops = LensDrops(height, width, rng, style=DropStyle.draw(rng, kind))
    wet = [drops.apply(frame)[0] for frame in video.frames]
    results = [restore_image(engine, frame) for frame in wet]
    if temporal is not None:
        results = joined(temporal, wet, results, video.rate)
    restored, masks = [image for image, _ in results], [mask for _, mask in results]
    hidden = drops.alpha > COVERED
    clean, seen, ours = (measure(frames, video.steps, hidden) for frames in (video.frames, wet, restored))
    later = [measure(frames[SETTLED:], video.steps[SETTLED:], hidden)[0] for frames in (restored, video.frames)]
    found = masks[-1] > 0
    return SequenceFigures(
        video.name,
        kind,
        float(hidden.mean()),
        engine.model.name + (f" + {temporal.model.name}" if temporal else ""),
        clean,
        seen,
        ours,
        _psnr(wet, video.frames, hidden),
        _psnr(restored, video.frames, hidden),
        later[0] / max(later[1], STILL) if len(video.steps) > SETTLED else float("nan"),
        float((found & hidden).sum() / max(1, (found | hidden).sum())),
    )


def joined(
    temporal: Engine, frames: Sequence[np.ndarray], results: Sequence[tuple[np.ndarray, np.ndarray]], rate: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The restored images and masks of a grey video after the temporal filter.

    `frames` are the input (H, W) uint8 at `rate` frames a second; `results` has the restored image and mask of each.
    """
    remembering, done = TemporalFilter(), []
    for n, (frame, (restored, mask)) in enumerate(zip(frames, results, strict=True)):
        image, covered = remembering.apply(
            temporal, ["camera"], [round(n * 1e9 / rate)], frame[None, ..., None], restored[None, ..., None], mask[None]
        )[0]
        done.append((image[..., 0], covered))
    return done


def _psnr(frames: Sequence[np.ndarray], clean: Sequence[np.ndarray], hidden: np.ndarray) -> tuple[float, float]:
    """PSNR in dB of a video, over all pixels and over the pixels of `hidden` (H, W) bool."""
    squares = np.mean([np.square(a.astype(np.float32) - b) for a, b in zip(frames, clean, strict=True)], 0)
    whole, within = (10 * np.log10(255**2 / max(float(s.mean()), 1e-9)) for s in (squares, squares[hidden]))
    return float(whole), float(within)


def measure(frames: Sequence[np.ndarray], steps: Sequence[Step], hidden: np.ndarray) -> tuple[float, float]:
    """Flicker in grey levels of `frames` (H, W) uint8, over all known pixels and over those in `hidden` (H, W) bool."""
    sums = np.zeros((2, 2))
    for before, now, step in zip(frames, frames[1:], steps, strict=False):
        moved = cv2.remap(before.astype(np.float32), step.column, step.row, cv2.INTER_LINEAR)
        difference = np.abs(now - moved)
        for part, where in enumerate((step.known, step.known & hidden)):
            sums[part] += difference[where].sum(), np.count_nonzero(where)
    total, within = sums[:, 0] / np.maximum(sums[:, 1], 1)
    return float(total), float(within)


def markdown(rows: Sequence[SequenceFigures]) -> str:
    """A Markdown table of the figures, with an explanation."""
    lines = [
        "Flicker: mean absolute difference of motion-compensated neighbouring frames in grey levels, while drops "
        "stay on the glass of a moving camera; in brackets within the drops. Holds: whether the restored video "
        f"flickers at most {ALLOWED:g} times as much as the clean one. Settled: restored / clean from frame {SETTLED} "
        "on. PSNR in dB, in brackets within the drops. Mask: intersection over union of the last frame.",
        "",
        "| sequence | drops | cover | model | flicker clean | wet | restored | restored / clean | holds | settled "
        "| PSNR wet | restored | mask |",
        "| --- " * 13 + "|",
    ]
    for row in rows:
        flickers = [f"{whole:.2f} ({within:.2f})" for whole, within in (row.clean, row.wet, row.restored)]
        within = row.restored[1] / max(row.clean[1], STILL)
        psnr = [f"{whole:.1f} ({within:.1f})" for whole, within in (row.wet_psnr, row.restored_psnr)]
        lines.append(
            f"| {row.sequence} | {row.drops} | {row.coverage:.0%} | {row.model} | {' | '.join(flickers)} | "
            f"{row.ratio:.2f} ({within:.2f}) | {'yes' if row.ratio <= ALLOWED else 'no'} | "
            f"{'' if math.isnan(row.settled) else format(row.settled, '.2f')} | {' | '.join(psnr)} | "
            f"{row.mask_iou:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _flow(now: np.ndarray, before: np.ndarray) -> Step:
    """Dense optical flow by DIS; `known` where flow forth and back agree within a pixel."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]  # not in its stubs
    back, forth = dis.calc(now, before, None), dis.calc(before, now, None)
    height, width = now.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    column, row = x + back[..., 0], y + back[..., 1]
    home = cv2.remap(forth, column, row, cv2.INTER_LINEAR)
    inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    return Step(column, row, inside & (np.hypot(*np.moveaxis(back + home, 2, 0)) < 1.0))
