from __future__ import annotations

import pytest

from derain_ros.runtime.plan.budget import ENOUGH_GAPS, Cadence, Times

MS = 1_000_000


def times(*runs: float) -> Times:
    found = Times()
    for ms in runs:
        found.learn("light", ms)
    return found


def test_of_what_was_never_run_nothing_is_known() -> None:
    assert times(10).usual("balanced") == 0.0 and times(10).usual("light") == 10.0


@pytest.mark.parametrize(
    ("runs", "usual"),
    [((30, 31, 32, 3000, 30), 31), ((30, 30, 30, 3000, 3000), 30), ((30, 30, 90, 91, 92), 90), ((30, 90), 60)],
    ids=["an outlier", "two of them", "load", "the first runs"],
)
def test_an_outlier_is_none_of_the_usual_and_three_slow_runs_are(runs: tuple[float, ...], usual: float) -> None:
    assert times(*runs).usual("light") == usual


def test_old_runs_do_not_count() -> None:
    assert times(*[900] * 50, *[10] * 5).usual("light") == 10


def test_what_is_forgotten_is_learnt_anew_and_the_others_stay() -> None:
    found = times(90, 90, 90)
    found.learn("balanced", 200)
    found.forget("light")
    found.forget("never run")
    assert (found.usual("light"), found.usual("balanced")) == (0.0, 200)
    found.learn("light", 10)
    assert found.usual("light") == 10


@pytest.mark.parametrize("lost", [(), (5, 11)])
@pytest.mark.parametrize(("arrives", "stamped"), [(40, 40), (40, 10), (2, 40)])
def test_the_cadence_is_the_median_period_of_stamps_or_arrivals(
    lost: tuple[int, ...], arrives: int, stamped: int
) -> None:
    cadence = Cadence()
    found = [cadence.period_ms(n * arrives * MS, n * stamped * MS) for n in range(60) if n not in lost]
    assert found[:ENOUGH_GAPS] == [0.0] * ENOUGH_GAPS and set(found[ENOUGH_GAPS:]) == {40.0}


def test_stamps_that_jump_back_once_do_not_disturb_the_cadence() -> None:
    cadence = Cadence()
    assert {cadence.period_ms(n * 40 * MS, n % 25 * 40 * MS) for n in range(60)} == {0.0, 40.0}


def test_another_rate_of_the_camera_is_seen_within_so_many_frames() -> None:
    cadence, now_ms = Cadence(), 0
    for period in (100, 25):
        for _ in range(20):
            now_ms += period
            found = cadence.period_ms(now_ms * MS, now_ms * MS)
        assert found == period
