"""ATE, RPE and right steps of trajectories whose answers are known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("evo", reason="the judge of trajectories: pip install 'derain_ros[slam]'")

from derain_ros.evaluate.slam.trajectory import Trajectory, aligned, compare, step_errors, write

CORNERS = np.array([[0.0, 0, 0], [2, 0, 0], [2, 0, 2], [2, 0, 4], [2, 1, 6], [2, 1, 8]])


def trajectory(places: np.ndarray) -> Trajectory:
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    poses[:, :3, 3] = places
    poses[np.isnan(places[:, 0])] = np.nan
    return Trajectory(np.arange(len(places)) / 10, poses, np.full(len(places), 100.0))


def test_a_world_that_is_turned_and_moved_is_no_error() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = trajectory(CORNERS @ turn.T + (5, -3, 1))
    figures = compare(found, CORNERS)
    assert (figures.tracked, figures.right, figures.points) == (1.0, 1.0, 100.0)
    assert figures.ate_m == pytest.approx(0, abs=1e-9) and figures.rpe_m == pytest.approx(0, abs=1e-9)
    assert np.allclose(aligned(found, CORNERS), CORNERS)


def test_a_step_that_is_too_long_is_wrong_and_its_error_is_that_of_its_length() -> None:
    places = CORNERS.copy()
    places[3:, 2] += 0.5  # from the third place on
    found = trajectory(places)
    assert step_errors(found, CORNERS) == pytest.approx([0, 0, 0.5, 0, 0])
    figures = compare(found, CORNERS)
    assert figures.right == 0.8 and figures.rpe_m == pytest.approx(np.sqrt(0.25 / 5))
    # Half of the places are half a metre too far, which alignment spreads.
    assert 0.1 < figures.ate_m < 0.25


def test_the_absolute_error_is_of_what_alignment_leaves() -> None:
    # Left and right in turns: no turn and no shift makes that any less.
    truth = np.array([[0.0, 0, z] for z in range(1000)])
    truth[:, 1] = np.sin(np.arange(1000) / 50)
    places = truth.copy()
    places[:, 0] += 0.3 * (-1.0) ** np.arange(1000)
    assert compare(trajectory(places), truth).ate_m == pytest.approx(0.3, rel=1e-3)


def test_what_was_not_tracked_is_not_right() -> None:
    places = CORNERS.copy()
    places[2] = np.nan
    found = trajectory(places)
    figures = compare(found, CORNERS)
    assert figures.tracked == pytest.approx(5 / 6) and figures.right == pytest.approx(3 / 5)
    assert np.isnan(step_errors(found, CORNERS)).tolist() == [False, True, True, False, False]
    assert figures.rpe_m == pytest.approx(0, abs=1e-9)


def test_where_the_truth_is_not_known_nothing_counts() -> None:
    truth = CORNERS.copy()
    truth[0] = np.nan
    places = CORNERS.copy()
    places[1:, 2] += 7  # the first step is wrong, but nobody knows
    assert compare(trajectory(places), truth).right == 1.0
    for unknown in (None, np.full_like(CORNERS, np.nan)):
        figures = compare(trajectory(CORNERS), unknown)
        assert figures.tracked == 1.0 and np.isnan([figures.right, figures.ate_m, figures.rpe_m]).all()


def test_steps_of_a_slow_robot_are_judged_by_their_own_length() -> None:
    slow = CORNERS / 100  # steps of 2 cm, of which 1 cm is half
    places = slow.copy()
    places[3:, 2] += 0.01
    assert compare(trajectory(places), slow).right == 0.8


def test_one_that_stands_still_or_was_never_tracked() -> None:
    still = compare(trajectory(np.zeros_like(CORNERS)), CORNERS)
    assert (still.tracked, still.right) == (1.0, 0.0)
    assert still.ate_m == pytest.approx(np.sqrt(np.square(CORNERS - CORNERS.mean(0)).sum(1).mean()))
    lost = compare(trajectory(np.full_like(CORNERS, np.nan)), CORNERS, crashed=True)
    assert (lost.tracked, lost.right, lost.points, lost.crashed) == (0.0, 0.0, 0.0, True)
    assert np.isnan([lost.ate_m, lost.rpe_m]).all()


def test_files_in_both_formats(tmp_path: Path) -> None:
    places = CORNERS.copy()
    places[1] = np.nan
    write(trajectory(places), tmp_path / "raindrop_0.12_wet_1")
    tum, kitti = (np.loadtxt(tmp_path / f"raindrop_0.12_wet_1.{end}") for end in ("tum", "kitti"))
    assert np.allclose(tum[:, 0], [0, 0.2, 0.3, 0.4, 0.5]) and np.allclose(tum[:, 1:4], CORNERS[[0, 2, 3, 4, 5]])
    assert np.allclose(tum[:, 4:], [0, 0, 0, 1])
    assert np.allclose(kitti.reshape(-1, 3, 4)[:, :, 3], CORNERS[[0, 2, 3, 4, 5]])
