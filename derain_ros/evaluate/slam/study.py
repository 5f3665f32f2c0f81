"""Compares ORB-SLAM3 on dry, wet, restored and masked views of one drive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from derain_ros.engine.machine import this_machine
from derain_ros.evaluate.odometry import StereoSequence
from derain_ros.evaluate.pairs import restored
from derain_ros.evaluate.saved import read, save
from derain_ros.evaluate.slam import trajectory
from derain_ros.evaluate.slam.run import Stereo, Tapes, track
from derain_ros.evaluate.slam.trajectory import Trajectory, TrajectoryFigures, compare
from derain_ros.rain.weather import Weather
from derain_ros.replay.origin import Origin
from derain_ros.runtime.pipeline import Pipeline
from derain_ros.runtime.stages.fill import smooth

EPOCH_NS = 1_000_000_000
"""Stamp of the first frame of a folder; it is not 0, because 0 means no stamp."""
DRY, WET, MASKED = "dry", "wet", ", masked"


@dataclass(frozen=True)
class StudyRow:
    """Figures of each run on one kind of views.

    `anomaly` is one of weather.ANOMALIES or empty, of strength `amount`, and hides the share `hidden` of the views.
    `views` is `dry`, `wet`, or what restored them. `plans` says how many pairs each plan and network restored.
    """

    anomaly: str
    amount: float
    hidden: float
    views: str
    runs: list[TrajectoryFigures]
    plans: str = ""


@dataclass(frozen=True)
class Study:
    """All rows of one drive.

    `places` are for the plot: by the row's number the positions (x, y, z) in metres of its first run, aligned with the
    ground truth if that is known, and under -1 the ground truth. `notes` are shown beside the table. `origin` has the
    digests of the models, and of the files of a bag.
    """

    title: str
    frames: int
    repeats: int
    rows: list[StudyRow] = field(default_factory=list)
    places: dict[int, list[list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    origin: Origin = field(default_factory=Origin)
    machine: Mapping[str, Any] = field(default_factory=this_machine)

    def save(self, path: Path) -> None:
        """Write the study as JSON; ReplayError if it cannot be written."""
        save(path, "slam", self)

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read what `save` wrote; ReplayError if it cannot be read or is not a study of this format."""
        return read(path, "slam", "derain evaluate slam", cls)


class SlamJudge:
    """Runs ORB-SLAM3 on the views of one drive and keeps the `study`.

    `python` is its interpreter, `stamps_ns` are the instants of the drive. `truth` has the true positions (N, 3) in
    metres, NaN where not known, or is None. Each view is tracked `study.repeats` times. If `output` is given, each
    trajectory is written there, and the record after each row.
    """

    def __init__(
        self,
        study: Study,
        python: Path,
        vocabulary: Path,
        camera: Stereo,
        stamps_ns: Sequence[int],
        truth: np.ndarray | None,
        output: Path | None = None,
        tolerance_ns: int = 0,
    ) -> None:
        self.study, self.truth = study, truth
        self._python, self._vocabulary, self._camera = python, vocabulary, camera
        self._stamps_ns, self._output, self._tolerance_ns = stamps_ns, output, tolerance_ns
        if truth is not None:
            study.places[-1] = truth[np.isfinite(truth[:, 0])].tolist()

    def take_truth(self, found: Trajectory) -> None:
        """Use a trajectory as the ground truth from now on."""
        self.truth = found.poses[:, :3, 3]
        self.study.places[-1] = self.truth[found.known].tolist()

    def row(self, anomaly: str, amount: float, hidden: float, views: str, tapes: Tapes, plans: str = "") -> Trajectory:
        """Track the views of `tapes` and add a row to the study; return the trajectory of the first run."""
        runs, first = [], None
        for run in range(self.study.repeats):
            found, trouble = track(
                self._python, self._vocabulary, self._camera, tapes, self._stamps_ns, self._tolerance_ns
            )
            if trouble:
                self.study.notes.append(f"{' '.join([anomaly, views]).strip()}, run {run + 1}: {trouble}")
            if self._output is not None:
                name = f"{anomaly}_{amount:g}_{views}" if anomaly else views
                stem = "".join(c if c.isalnum() or c in "._" else "-" for c in name.replace(MASKED, "_masked"))
                trajectory.write(found, self._output / f"{stem}_{run + 1}")
            runs.append(compare(found, self.truth, bool(trouble)))
            first = first or found
        assert first is not None
        places = first.poses[:, :3, 3] if self.truth is None else trajectory.aligned(first, self.truth)
        self.study.places[len(self.study.rows)] = places[np.isfinite(places[:, 0])].tolist()
        self.study.rows.append(StudyRow(anomaly, amount, hidden, views, runs, plans))
        if self._output is not None:
            self.study.save(self._output / "slam.json")
        return first


def recorded(folder: Path, name: str, eyes: Iterable[Iterable[np.ndarray]], stamps_ns: Sequence[int]) -> Tapes:
    """Write the views of both eyes, each (H, W) uint8, to tapes in the new folder `folder / name`."""
    tapes = Tapes.in_folder(folder / name)
    for tape, images in zip((tapes.left, tapes.right), eyes, strict=True):
        for image, stamp_ns in zip(images, stamps_ns, strict=True):
            tape.add(image, stamp_ns)
    return tapes


def without_detail(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blur a grey image (H, W) uint8 under its widened mask, so that nothing can be tracked there.

    This is what `fill: smooth` does; examples/smooth_masked.py does nearly the same.
    """
    return smooth(image[..., None], mask)[..., 0]


def stamps_of(sequence: StereoSequence) -> list[int]:
    """Return the stamps of a sequence's frames in nanoseconds."""
    return [EPOCH_NS + round(n * 1e9 / sequence.rate) for n in range(len(sequence.eyes[0]))]


def of_sequence(
    judge: SlamJudge,
    sequence: StereoSequence,
    cases: Iterable[tuple[str, float]],
    pipelines: Mapping[str, Pipeline],
    masked: bool,
    seed: int,
    told: Callable[[str], None] = lambda what: None,
) -> Study:
    """Study a sequence with the anomalies and amounts of `cases`.

    The rows are the dry views, then for each case the wet views and the results of each of the loaded `pipelines`, by
    name; with `masked` also these without detail under the widened mask. Each eye has its own anomaly.
    """
    stamps_ns = stamps_of(sequence)
    with TemporaryDirectory(prefix="derain") as name:
        folder = Path(name)
        told(DRY)
        judge.row("", 0.0, 0.0, DRY, recorded(folder, DRY, sequence.eyes, stamps_ns))
        height, width = sequence.eyes[0][0].shape
        for anomaly, amount in cases:
            weathers = [Weather(anomaly, amount, height, width, np.random.default_rng([seed, eye])) for eye in range(2)]
            seen = [
                [weather.wet(image) for image in images]
                for weather, images in zip(weathers, sequence.eyes, strict=True)
            ]
            hidden = float(np.mean([(mask > 0).mean() for eye in seen for _, mask in eye]))
            wet = [[image for image, _ in eye] for eye in seen]
            del seen
            case = f"{anomaly} {amount:g}"
            told(f"{case}: {WET}")
            judge.row(anomaly, amount, hidden, WET, recorded(folder, f"{case} {WET}", wet, stamps_ns))
            for plan, pipeline in pipelines.items():
                told(f"{case}: {plan}")
                made = restored(pipeline, wet, stamps_ns)
                views: dict[str, Iterable[Iterable[np.ndarray]]] = {plan: made.images}
                if masked:
                    views[plan + MASKED] = [
                        map(without_detail, images, masks)
                        for images, masks in zip(made.images, made.masks, strict=True)
                    ]
                plans = ", ".join(f"{by}: {count}" for by, count in made.plans.items())
                for what, eyes in views.items():
                    tapes = recorded(folder, f"{case} {what}", eyes, stamps_ns)
                    judge.row(anomaly, amount, hidden, what, tapes, plans)
    return judge.study
