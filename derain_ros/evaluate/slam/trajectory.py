"""How right a trajectory is: ATE and RPE by evo, and the share of the steps that are right; and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

RIGHT_M, RIGHT_SHARE = 0.1, 0.1
"""A step is right if its length is wrong by less than this, in metres, and than this share of the usual step."""


@dataclass(frozen=True)
class Trajectory:
    """Where a camera was at the instants `stamps` (N,), in seconds: `poses` (N, 4, 4), camera to world, metres; NaN
    where it is not known. `points` (N,) are those of the map that were tracked."""

    stamps: np.ndarray
    poses: np.ndarray
    points: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(N,) bool: whether the pose is known."""
        return np.isfinite(self.poses[:, 0, 3])


@dataclass(frozen=True)
class Figures:
    """Of one run: shares in 0..1 of the instants that were `tracked` and of the steps that are `right`; root mean
    square of the absolute error after alignment, `ate_m`, and of the error of a step's length, `rpe_m`; the mean of the
    `points` tracked. NaN for what cannot be told. `crashed` says that the program ended before its time."""

    tracked: float
    right: float
    ate_m: float
    rpe_m: float
    points: float
    crashed: bool = False


def compare(found: Trajectory, truth: np.ndarray | None, crashed: bool = False) -> Figures:
    """The figures of a trajectory against the true places (N, 3), NaN where they are not known; None where none are.

    A step leads from an instant to the next one. Where either of its ends was not tracked it is not right; where the
    truth of either is not known it does not count. A trajectory in pieces, each with a world of its own, is not told
    apart: its ATE is large.
    """
    known = found.known
    tracked, points = float(known.mean()), float(found.points[known].mean()) if known.any() else 0.0
    if truth is None:
        return Figures(tracked, float("nan"), float("nan"), float("nan"), points, crashed)
    there = np.isfinite(truth[:, 0])
    counted = there[1:] & there[:-1]
    errors = step_errors(found, truth)
    lengths = np.linalg.norm(np.diff(truth, axis=0), axis=1)[counted]
    if not len(lengths):
        return Figures(tracked, float("nan"), float("nan"), float("nan"), points, crashed)
    allowed = min(RIGHT_M, RIGHT_SHARE * float(np.median(lengths)))
    measured = errors[np.isfinite(errors)]
    return Figures(
        tracked,
        float(np.mean(errors[counted] < allowed)),
        _ate(found, truth, known & there),
        float(np.sqrt(np.mean(np.square(measured)))) if len(measured) else float("nan"),
        points,
        crashed,
    )


def step_errors(found: Trajectory, truth: np.ndarray) -> np.ndarray:
    """By how many metres each step is too long or too short, (N - 1,): evo's RPE of the point distance, from frame to
    frame. NaN where an end of it is not known."""
    from evo.core.metrics import RPE, PoseRelation, Unit

    both = found.known & np.isfinite(truth[:, 0])
    errors = np.full(len(both) - 1, np.nan)
    # evo knows no gaps: each piece without one is measured by itself.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], both, [False]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin > 1:
            metric = RPE(PoseRelation.point_distance, delta=1, delta_unit=Unit.frames)
            metric.process_data((_evo(found.stamps, truth, begin, end), _evo(found.stamps, _places(found), begin, end)))
            errors[begin : end - 1] = metric.error
    return errors


def aligned(found: Trajectory, truth: np.ndarray) -> np.ndarray:
    """The places (N, 3) of a trajectory moved and turned to where it fits the truth best; NaN where they are unknown.

    Where it cannot be turned, as it stands still, it is moved alone."""
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
    """evo's APE of the aligned trajectory; NaN where less than three places are known."""
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
    """evo's trajectory of places; its errors of points look at no turns."""
    from evo.core.trajectory import PoseTrajectory3D

    part = slice(begin, end)
    turns = np.tile([1.0, 0.0, 0.0, 0.0], (len(places[part]), 1))
    return PoseTrajectory3D(places[part], turns, stamps[part])


def write(found: Trajectory, stem: Path) -> None:
    """Write the known poses to `stem`.tum, with their stamps, and `stem`.kitti, without."""
    from evo.core.trajectory import PoseTrajectory3D
    from evo.tools import file_interface

    known = found.known
    made = PoseTrajectory3D(poses_se3=list(found.poses[known]), timestamps=found.stamps[known])
    file_interface.write_tum_trajectory_file(stem.with_name(f"{stem.name}.tum"), made)
    file_interface.write_kitti_poses_file(stem.with_name(f"{stem.name}.kitti"), made)
