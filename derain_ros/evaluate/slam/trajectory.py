"""Evaluates a trajectory: ATE and RPE by evo, and the share of right steps; and writes its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

RIGHT_M, RIGHT_SHARE = 0.1, 0.1
"""A step is right if the error of its length is below this in metres, and below this share of the median step."""


@dataclass(frozen=True)
class Trajectory:
    """The poses of a camera at the instants `stamps` (N,) in seconds.

    `poses` (N, 4, 4) map camera to world in metres, and are NaN where not known. `points` (N,) are the numbers of
    tracked map points.
    """

    stamps: np.ndarray
    poses: np.ndarray
    points: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(N,) bool: whether the pose is known."""
        return np.isfinite(self.poses[:, 0, 3])


@dataclass(frozen=True)
class TrajectoryFigures:
    """The figures of one run; unknown ones are NaN.

    `tracked` is the share of tracked instants and `right` that of right steps, both in [0, 1]. `ate_m` is the root
    mean square of the absolute error after alignment, `rpe_m` that of the error of a step's length. `points` is the
    mean number of tracked points. `crashed` says that the program failed.
    """

    tracked: float
    right: float
    ate_m: float
    rpe_m: float
    points: float
    crashed: bool = False


def compare(found: Trajectory, truth: np.ndarray | None, crashed: bool = False) -> TrajectoryFigures:
    """Compare a trajectory with the true positions (N, 3) in metres, NaN where not known, or None if none is known.

    A step is from an instant to the next one. It is not right if one of its ends was not tracked. It does not count if
    the truth of one end is not known. A trajectory in pieces with different coordinate frames is treated as one: its
    ATE is large.
    """
    known = found.known
    tracked, points = float(known.mean()), float(found.points[known].mean()) if known.any() else 0.0
    if truth is None:
        return TrajectoryFigures(tracked, float("nan"), float("nan"), float("nan"), points, crashed)
    there = np.isfinite(truth[:, 0])
    counted = there[1:] & there[:-1]
    errors = step_errors(found, truth)
    lengths = np.linalg.norm(np.diff(truth, axis=0), axis=1)[counted]
    if not len(lengths):
        return TrajectoryFigures(tracked, float("nan"), float("nan"), float("nan"), points, crashed)
    allowed = min(RIGHT_M, RIGHT_SHARE * float(np.median(lengths)))
    measured = errors[np.isfinite(errors)]
    return TrajectoryFigures(
        tracked,
        float(np.mean(errors[counted] < allowed)),
        _ate(found, truth, known & there),
        float(np.sqrt(np.mean(np.square(measured)))) if len(measured) else float("nan"),
        points,
        crashed,
    )


def step_errors(found: Trajectory, truth: np.ndarray) -> np.ndarray:
    """Return the absolute error in metres of each step's length, (N - 1,), NaN where an end of it is not known.

    It is evo's RPE of the point distance from frame to frame.
    """
    from evo.core.metrics import RPE, PoseRelation, Unit

    both = found.known & np.isfinite(truth[:, 0])
    errors = np.full(len(both) - 1, np.nan)
    # evo does not support gaps: each piece without a gap is measured separately.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], both, [False]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin > 1:
            metric = RPE(PoseRelation.point_distance, delta=1, delta_unit=Unit.frames)
            metric.process_data((_evo(found.stamps, truth, begin, end), _evo(found.stamps, _places(found), begin, end)))
            errors[begin : end - 1] = metric.error
    return errors


def aligned(found: Trajectory, truth: np.ndarray) -> np.ndarray:
    """Rotate and translate a trajectory to fit the truth best; returns its positions (N, 3), NaN where not known.

    If the rotation is not determined, because it stands still, it is only translated. Without common instants it is
    returned unchanged.
    """
    from evo.core.geometry import GeometryException, umeyama_alignment

    places, both = _places(found), found.known & np.isfinite(truth[:, 0])
    if not both.any():
        return places
    try:
        turn, shift, _ = umeyama_alignment(places[both].T, truth[both].T)
    except GeometryException:
        turn = np.eye(3)
        shift = truth[both].mean(0) - places[both].mean(0)
    return places @ turn.T + shift


def _ate(found: Trajectory, truth: np.ndarray, both: np.ndarray) -> float:
    """Return the root mean square of evo's APE of the aligned trajectory; NaN for fewer than three positions."""
    from evo.core.metrics import APE, PoseRelation, StatisticsType

    if both.sum() < 3:
        return float("nan")
    metric = APE(PoseRelation.translation_part)
    stamps, places = found.stamps[both], aligned(found, truth)[both]
    metric.process_data((_evo(stamps, truth[both]), _evo(stamps, places)))
    return float(metric.get_statistic(StatisticsType.rmse))


def _places(found: Trajectory) -> np.ndarray:
    return found.poses[:, :3, 3]


def _evo(stamps: np.ndarray, places: np.ndarray, begin: int = 0, end: int | None = None) -> object:
    """Make evo's trajectory of positions, without rotations, which its point errors do not use."""
    from evo.core.trajectory import PoseTrajectory3D

    part = slice(begin, end)
    turns = np.tile([1.0, 0.0, 0.0, 0.0], (len(places[part]), 1))
    return PoseTrajectory3D(places[part], turns, stamps[part])


def write(found: Trajectory, stem: Path) -> None:
    """Write the known poses to `stem`.tum with their stamps, and to `stem`.kitti without stamps."""
    from evo.core.trajectory import PoseTrajectory3D
    from evo.tools import file_interface

    known = found.known
    made = PoseTrajectory3D(poses_se3=list(found.poses[known]), timestamps=found.stamps[known])
    file_interface.write_tum_trajectory_file(stem.with_name(f"{stem.name}.tum"), made)
    file_interface.write_kitti_poses_file(stem.with_name(f"{stem.name}.kitti"), made)
