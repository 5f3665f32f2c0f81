"""The books of a replay."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from derain_ros.replay.account import Account, Output, judge, output_of, percentiles


def out(
    stamp: int, flagged: bool = False, action: str = "passed_clean", camera: str = "left", ms: float = 1.0
) -> Output:
    return Output(camera, stamp, action, flagged, 0.9 if flagged else 0.1, ms)


def test_every_frame_is_accounted_for() -> None:
    account = Account(
        Counter(left=5, right=4),
        [out(1, action="restored"), out(2), out(1, camera="right")],
        Counter(left=1, thermal=3),
    )
    assert account.total("left") == {"in": 5, "out": 2, "dropped": 2, "restored": 1, "passed on": 1, "broken": 1}
    assert account.total() == {"in": 9, "out": 3, "dropped": 5, "restored": 1, "passed on": 2, "broken": 1}


def test_what_the_status_tells_of_a_frame() -> None:
    told = {"action": "restored", "kind": "dirt", "score": "0.9", "alarm": "severe", "plan": "light"}
    found = output_of("left", 7, {**told, "detect_ms": "2", "restore_ms": "8.5", "total_ms": "12"}, 20.0, 23.0)
    assert (found.action, found.flagged, found.score, found.alarm) == ("restored", True, 0.9, "severe")
    assert (found.detect_ms, found.restore_ms, found.transport_ms, found.age_ms) == (2.0, 8.5, 8.0, 23.0)
    assert not output_of("left", 7, {"kind": "clean"}, 20.0, 23.0).flagged
    unheard = output_of("left", 7, {}, 20.0, 23.0)
    assert (unheard.action, unheard.flagged, unheard.alarm) == ("unknown", False, "") and np.isnan(unheard.transport_ms)


def test_jitter_is_of_each_camera_by_itself() -> None:
    outputs = [out(1, ms=10.0), out(1, camera="right", ms=50.0), out(2, ms=13.0), out(2, camera="right", ms=49.0)]
    assert Account(Counter(left=2, right=2), outputs).jitter_ms() == [3.0, 1.0]


def test_percentiles_leave_out_what_is_not_known() -> None:
    assert percentiles([1.0, np.nan, 3.0]) == pytest.approx((2.0, 2.9, 2.98))
    assert np.isnan(percentiles([])).all()


def test_decisions_against_the_truth() -> None:
    second = 10**9
    truth = {k * second: k in (3, 4, 5, 8) for k in range(10)}
    flags = {0: False, 1: True, 2: False, 3: False, 4: True, 5: True, 6: True, 7: False, 8: False, 9: True}
    found = judge([out(k * second, flag) for k, flag in flags.items()] + [out(77, True)], truth)
    assert (found.affected, found.hits, found.clean, found.false_alarms) == (4, 2, 6, 3)
    assert found.delays_s == (1.0, float("inf"))


def test_dropped_frames_are_no_misses() -> None:
    found = judge([out(2, True)], {1: True, 2: True, 3: False})
    assert (found.affected, found.hits, found.clean) == (1, 1, 0)
    assert found.delays_s == (1e-9,)
