"""Measures every anomaly at three severities with every rung of the ladder: where restoring helps or hurts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from derain_ros.data.segmentation import confusion, mean_overlap
from derain_ros.engine import Engine
from derain_ros.engine.machine import this_machine
from derain_ros.evaluate.odometry import StereoSequence, drive, errors_and_points
from derain_ros.evaluate.pairs import PASSED, restored
from derain_ros.evaluate.restoration import EvaluationError, mean_and_interval
from derain_ros.evaluate.saved import read, save
from derain_ros.evaluate.segmentation import Segment
from derain_ros.rain.weather import FALLING, Weather
from derain_ros.replay.origin import Origin
from derain_ros.runtime.judge.decision import Decision
from derain_ros.runtime.pipeline import Pipeline
from derain_ros.runtime.stages.restore import restore_image

SEVERITIES = {"light": (0.06, 0.2), "moderate": (0.2, 0.5), "heavy": (0.4, 1.0)}
"""By name the share of the glass that is covered, and the intensity of what falls."""
WET, DEFAULT = "wet", ", by default"
FRAMES, RATE, SIZE = 2, 10.0, (360, 480)
"""Frames of a clip, frames a second, height and width of the drive."""
PLACES_S = 7.0
"""Time between two clips of one drive: they show other places of the street."""
BETTER = {"psnr": 1, "iou": 1, "matches": 1, "drift": -1, "miou": 1}
"""Figures, and whether more of it is better (1) or worse (-1)."""
FOR_SLAM = ("matches", "drift")
"""Those that decide whether a rung hurts."""
Values = dict[str, list[float]]
"""Of each figure its value on each clip."""


@dataclass(frozen=True)
class Cell:
    """One anomaly of one severity: `views` has, for the wet views, for those of each rung, and for those that the node
    publishes with this rung as its best (the rung's name and DEFAULT), the values on each clip of `psnr` in dB to the
    clear view, `iou` of the mask, `matches` (stereo points that agree on the motion), `drift` (error of a step in
    shares of its length, 1 at the most) and `miou` against the segmentation of the clear view. NaN where not measured.
    `used` is the share of the pairs that the node restores by default."""

    anomaly: str
    severity: str
    views: Mapping[str, Values]
    used: float

    @property
    def rungs(self) -> list[str]:
        """The rungs that were measured."""
        return [view for view in self.views if view != WET and not view.endswith(DEFAULT)]

    def gain(self, view: str, figure: str) -> tuple[float, float, float]:
        """What a view has more of a figure than the wet one: mean over the clips and its 95 % bootstrap interval."""
        return mean_and_interval(np.subtract(self.views[view][figure], self.views[WET][figure]))

    def hurts(self, view: str) -> list[str]:
        """The figures of FOR_SLAM in which a view is worse than the wet one, by more than chance."""
        return [figure for figure in FOR_SLAM if (BETTER[figure] * np.array(self.gain(view, figure)) < 0).all()]


@dataclass(frozen=True)
class Matrix:
    """All cells, and how they were made: `origin` has the digests of the models."""

    scenes: str
    clips: int
    seed: int
    cells: list[Cell] = field(default_factory=list)
    origin: Origin = field(default_factory=Origin)
    machine: Mapping[str, Any] = field(default_factory=this_machine)

    def save(self, path: Path) -> None:
        """Write all of it as JSON; ReplayError where that cannot be done."""
        save(path, "matrix", self)

    @classmethod
    def read(cls, path: Path) -> Matrix:
        """Read what `save` wrote; ReplayError if it cannot be read or is not a matrix of this format."""
        return read(path, "matrix", "derain evaluate matrix", cls)


def clips_of_drives(count: int, seed: int) -> list[StereoSequence]:
    """Clips of procedural drives, three of each drive."""
    return [
        drive(FRAMES, RATE, seed + clip // 3, SIZE[1], SIZE[0], begin=PLACES_S * (clip % 3)) for clip in range(count)
    ]


def clips_of(sequence: StereoSequence, count: int) -> list[StereoSequence]:
    """Clips of FRAMES spread over a sequence; EvaluationError where it is too short."""
    starts = np.unique(np.linspace(0, len(sequence.poses) - FRAMES, count).astype(int))
    if len(starts) < count or starts[0] < 0:
        raise EvaluationError(
            f"{sequence.name}: has {len(sequence.poses)} frames, too few for {count} clips; use fewer --clips"
        )
    return [
        replace(
            sequence,
            eyes=(sequence.eyes[0][n : n + FRAMES], sequence.eyes[1][n : n + FRAMES]),
            poses=sequence.poses[n : n + FRAMES],
        )
        for n in map(int, starts)
    ]


def evaluate(
    clips: Sequence[StereoSequence],
    anomalies: Sequence[str],
    severities: Sequence[str],
    rungs: Mapping[str, tuple[Engine, Pipeline]],
    segment: Segment | None = None,
    seed: int = 7,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Cell]:
    """The cells of `anomalies` (of weather.ANOMALIES) and `severities`, one after another.

    `rungs` has, by name, the rung's general network, which restores every pair, and a loaded pipeline with that rung as
    its best, which decides as the node does. `segment` takes RGB; without it there is no mIoU. Each clip has a glass of
    its own on each eye, the same for all rungs.
    """
    jobs = [(anomaly, severity) for anomaly in anomalies for severity in severities]
    for done, (anomaly, severity) in enumerate(jobs):
        amount = SEVERITIES[severity][anomaly in FALLING]
        found = [
            _Clip(clip, anomaly, amount, [seed, number], segment).measure(rungs) for number, clip in enumerate(clips)
        ]
        views = {view: {figure: [of[0][view][figure] for of in found] for figure in BETTER} for view in found[0][0]}
        yield Cell(anomaly, severity, views, float(np.mean([used for _, used in found])))
        if progress is not None:
            progress(done + 1, len(jobs))


class _Clip:
    """One clip behind one anomaly."""

    def __init__(
        self, clip: StereoSequence, anomaly: str, amount: float, seed: Sequence[int], segment: Segment | None
    ) -> None:
        self.clip, self.segment = clip, segment
        height, width = clip.eyes[0][0].shape
        weathers = [Weather(anomaly, amount, height, width, np.random.default_rng([*seed, eye])) for eye in range(2)]
        pairs = list(zip(weathers, clip.eyes, strict=True))
        seen = [[weather.wet(image) for image in images] for weather, images in pairs]
        self.clear = [[weather.clear(image) for image in images] for weather, images in pairs]
        self.wet = [[image for image, _ in eye] for eye in seen]
        self.hidden = [[mask for _, mask in eye] for eye in seen]
        self.labels = None if segment is None else segment(_rgb(self.clear[0][0]))

    def measure(self, rungs: Mapping[str, tuple[Engine, Pipeline]]) -> tuple[dict[str, dict[str, float]], float]:
        """The figures of each view, and the share of the pairs that the node restores by default, of all rungs."""
        views = {WET: self._figures(self.wet, None)}
        stamps_ns = [1_000_000_000 + round(n * 1e9 / self.clip.rate) for n in range(len(self.wet[0]))]
        used = []
        for rung, (engine, pipeline) in rungs.items():
            every = [[restore_image(engine, image) for image in eye] for eye in self.wet]
            images, masks = ([[of[part] for of in eye] for eye in every] for part in (0, 1))
            views[rung] = self._figures(images, masks)
            pipeline.decision = Decision()
            made = restored(pipeline, self.wet, stamps_ns)
            used.append(1 - made.plans[PASSED] / len(stamps_ns))
            views[rung + DEFAULT] = self._figures(made.images, made.masks) if used[-1] else views[WET]
        return views, float(np.mean(used))

    def _figures(self, eyes: Sequence[list[np.ndarray]], masks: Sequence[list[np.ndarray]] | None) -> dict[str, float]:
        """All figures of one kind of views of the clip."""
        errors, points = errors_and_points(self.clip, (eyes[0], eyes[1]))
        ways = np.linalg.norm(np.diff(self.clip.poses[:, :3, 3], axis=0), axis=1)
        pairs = [pair for eye in zip(eyes, self.clear, strict=True) for pair in zip(*eye, strict=True)]
        return {
            "psnr": float(np.mean([cv2.PSNR(image, clear) for image, clear in pairs])),
            "iou": float("nan") if masks is None else _overlap(masks, self.hidden),
            "matches": float(np.mean(points)),
            # Without a cap one wild step would be all that counts.
            "drift": float(np.mean(np.minimum(np.array(errors) / np.maximum(ways, 1e-6), 1.0))),
            "miou": self._miou(eyes[0][0]),
        }

    def _miou(self, image: np.ndarray) -> float:
        if self.segment is None or self.labels is None:
            return float("nan")
        return mean_overlap(confusion(self.labels, self.segment(_rgb(image)), int(self.labels.max()) + 1))


def _rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)


def _overlap(masks: Sequence[list[np.ndarray]], hidden: Sequence[list[np.ndarray]]) -> float:
    """Intersection over union of all masks of both eyes together; 1 where neither hides anything."""
    ours, true = (np.concatenate([mask.ravel() > 0 for eye in of for mask in eye]) for of in (masks, hidden))
    joined = np.count_nonzero(ours | true)
    return float(np.count_nonzero(ours & true) / joined) if joined else 1.0
