from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from derain_ros.frame import Action, Alarm, Anomaly, CameraResult, Frame, Result
from derain_ros.ros.diagnostics import ERROR, OK, STALE, WARN, Health, Statistics

HEALTH = Health("active", "ready", "detect on cpu", True, False, 100.0)


@pytest.fixture
def statistics() -> Statistics:
    return Statistics(["left", "right"], thermal=True)


def report(statistics: Statistics, seconds: float = 1.0, **health: object) -> dict[str, DiagnosticStatus]:
    return {s.name: s for s in statistics.report("robot/derain", dataclasses.replace(HEALTH, **health), seconds)}


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {value.key: value.value for value in status.values}


def test_rates_are_of_the_last_interval_and_counts_of_all_time(statistics: Statistics) -> None:
    for _ in range(10):
        statistics.count("left", "received")
        statistics.count("left", "published", "restored")
    first = report(statistics, 0.5)["robot/derain: left"]
    assert values(first)["rate_in_hz"] == values(first)["rate_out_hz"] == "20.0" and first.level == OK
    statistics.count("left", "received")
    second = report(statistics, 2.0)["robot/derain: left"]
    assert values(second)["rate_in_hz"] == "0.5" and values(second)["received"] == "11"
    assert values(second)["waiting"] == "1" and values(second)["restored"] == "10"
    report(statistics)
    third = report(statistics)["robot/derain: left"]
    assert (third.level, third.message) == (STALE, "no frames")


@pytest.mark.parametrize("period_s", [0.97, 1.03, 1.2, 1.5, 1.9])
def test_a_camera_slower_than_the_reports_is_not_silent(statistics: Statistics, period_s: float) -> None:
    sent = np.arange(0.5, 60, period_s)
    for second in range(1, 60):
        for _ in range(np.count_nonzero((sent > second - 1) & (sent <= second))):
            for camera in ("left", "right"):
                statistics.count(camera, "received", "passed_clean")
        told = report(statistics)
        assert (told["robot/derain"].level, told["robot/derain: left"].level) == (OK, OK), second
    levels = [report(statistics)["robot/derain: left"].level for _ in range(5)]
    assert levels[0] == OK and levels[-1] == STALE and levels == sorted(levels)


def test_a_camera_much_slower_is_known_after_its_first_gap(statistics: Statistics) -> None:
    levels = []
    for second in range(40):
        if second % 4 == 0:
            statistics.count("left", "received", "passed_clean")
        levels.append(report(statistics)["robot/derain: left"].level)
    assert set(levels[4:]) == {OK}


@pytest.mark.parametrize("pause", [{"subscribed": False}, {"state": "inactive"}], ids=str)
def test_a_time_in_which_no_frames_should_come_is_not_silence(statistics: Statistics, pause: dict[str, object]) -> None:
    statistics.count("left", "received", "restored")
    statistics.count("right", "received", "restored")
    report(statistics)
    for _ in range(30):
        told = report(statistics, **pause)
        assert {status.level for status in told.values()} == {OK}
    assert "no frames" not in told["robot/derain"].message + told["robot/derain: left"].message
    statistics.count("left", "received", "restored")
    report(statistics)
    # Nor is it a gap between frames that a camera is granted again.
    levels = [report(statistics)["robot/derain: left"].level for _ in range(3)]
    assert levels[-1] == STALE


def test_troubles_are_told_while_they_last(statistics: Statistics) -> None:
    statistics.count("right", "received", "unusable", "bad_truncated", "lost", "lost")
    told = report(statistics)["robot/derain: right"]
    assert told.level == WARN and "1 bad_truncated" in told.message and "2 lost" in told.message
    assert values(told)["bad_truncated"] == "1" and values(told)["lost"] == "2" and values(told)["waiting"] == "0"
    statistics.count("right", "received")
    later = report(statistics)["robot/derain: right"]
    assert later.level == OK and values(later)["bad_truncated"] == "1"


def test_thermal_has_no_frames_to_publish(statistics: Statistics) -> None:
    statistics.count("thermal", "received")
    assert values(report(statistics)["robot/derain: thermal"]) == {
        "rate_in_hz": "1.0",
        "rate_out_hz": "0.0",
        "received": "1",
        "lost": "0",
        "unusable": "0",
        "fusion": "nobody subscribes to derained/fused",
        "fused": "0",
        "not_fused": "0",
    }


def test_images_that_are_not_fused_are_warned_of_with_the_reason(statistics: Statistics) -> None:
    def see(fusion: str, times: int) -> DiagnosticStatus:
        statistics.count("thermal", "received")
        for _ in range(times):
            fused = Frame(np.zeros((2, 2), np.uint8)) if fusion == "fused" else None
            statistics.see(Result({}, "light", False, {}, fused=fused, fusion=fusion))
        return report(statistics)["robot/derain: thermal"]

    assert see("fused", 3).level == OK
    gone = see("no thermal frame within 200 ms of the left one", 2)
    assert gone.level == WARN and gone.message.endswith("not fused: no thermal frame within 200 ms of the left one")
    again = see("fused", 1)
    assert again.level == OK and (values(again)["fused"], values(again)["not_fused"]) == ("4", "2")


def test_latencies_are_percentiles(statistics: Statistics) -> None:
    assert values(report(statistics)["robot/derain"])["latency_p50_ms"] == "nan"
    for ms in range(101):
        statistics.finish(float(ms), ms > 98)
    statistics.count("left", "received", "passed_clean")
    node = report(statistics)["robot/derain"]
    assert [values(node)[f"latency_p{p}_ms"] for p in (50, 95, 99)] == ["50.00", "95.00", "99.00"]
    assert values(node)["budget_misses"] == "2" and node.level == WARN and "budget of 100 ms" in node.message
    statistics.count("left", "received", "passed_clean")
    assert report(statistics)["robot/derain"].level == OK


@pytest.mark.parametrize(
    ("health", "level", "word"),
    [
        ({}, OK, "clean"),
        ({"affected": True}, OK, "restoring"),
        ({"enabled": False}, OK, "switched off"),
        ({"engine": "ready (restore_fast: measuring)"}, OK, "clean"),
        ({"engine": "ready (dirt is not used: no memory)"}, WARN, "no memory"),
        ({"hints": ["set cameras:=[left]"]}, WARN, "clean; set cameras:=[left]"),
        ({"engine": "loading"}, WARN, "loading"),
        ({"engine": "failed: no models.yaml"}, ERROR, "no models.yaml"),
        ({"state": "inactive", "engine": "failed: x"}, OK, "inactive"),
    ],
)
def test_the_node_says_how_it_is(statistics: Statistics, health: dict[str, object], level: bytes, word: str) -> None:
    statistics.count("left", "received", "passed_clean")
    status = report(statistics, **health)["robot/derain"]
    assert status.level == level and word in status.message


@pytest.mark.parametrize(
    ("counts", "level", "message"),
    [
        ({}, STALE, "no frames"),
        ({"received": 9, "passed_error": 9}, ERROR, "no frame could be judged: 9 passed_error"),
        (
            {"received": 9, "passed_unpaired": 8, "unusable": 1},
            ERROR,
            "no frame could be judged: 1 unusable, 8 passed_unpaired",
        ),
        ({"received": 9, "passed_error": 2, "restored": 7}, WARN, "restoring; 2 passed_error"),
        ({"received": 9, "passed_budget": 9}, OK, "restoring"),
        ({"received": 9}, OK, "restoring"),
    ],
)
def test_the_node_is_not_well_where_frames_are_not_judged(
    statistics: Statistics, counts: dict[str, int], level: bytes, message: str
) -> None:
    for name, number in counts.items():
        statistics.count("left", *[name] * number)
    status = report(statistics, affected=True)["robot/derain"]
    assert (status.level, status.message) == (level, message)
    report(statistics)
    assert report(statistics)["robot/derain"].level == STALE, "counts are those since the last report"


def test_a_camera_whose_frames_fail_is_warned_of(statistics: Statistics) -> None:
    statistics.count("left", "received", "published", "passed_error")
    left = report(statistics)["robot/derain: left"]
    assert left.level == WARN and "1 passed_error" in left.message


@pytest.mark.parametrize(("alarm", "level"), [(Alarm.CLEAR, OK), (Alarm.AFFECTED, WARN), (Alarm.SEVERE, ERROR)])
def test_a_cameras_level_is_that_of_its_alarm_while_frames_come(
    statistics: Statistics, alarm: Alarm, level: bytes
) -> None:
    mask = np.zeros((2, 2), np.uint8)
    done = CameraResult(Frame(mask), Action.RESTORED, mask, Anomaly("dirt", 0.75, 0.3, mask), alarm)
    statistics.see(Result({"left": done}, "balanced", True, {}))
    statistics.see(Result({"left": done}, "fast", True, {}))
    for camera in ("left", "right", "thermal"):
        statistics.count(camera, "received")
    told = report(statistics)
    left = told["robot/derain: left"]
    assert left.level == level and ("dirt, 30% of the view" in left.message) == (alarm > 0)
    assert (values(left)["alarm"], values(left)["kind"], values(left)["severity"]) == (
        alarm.name.lower(),
        "dirt",
        "0.750",
    )
    assert told["robot/derain: right"].level == OK and values(told["robot/derain"])["plans"] == "balanced 1, fast 1"
    report(statistics)
    silent = report(statistics)["robot/derain: left"]
    assert (silent.level, silent.message) == (STALE, "no frames") and "alarm" not in values(silent)


def test_trouble_does_not_hide_a_severe_alarm(statistics: Statistics) -> None:
    mask = np.zeros((2, 2), np.uint8)
    done = CameraResult(Frame(mask), Action.RESTORED, mask, Anomaly("dirt", 0.75, 0.3, mask), Alarm.SEVERE)
    statistics.see(Result({"left": done}, "fast", True, {}))
    statistics.count("left", "received", "lost")
    left = report(statistics)["robot/derain: left"]
    assert left.level == ERROR and "1 lost" in left.message and "dirt" in left.message


def test_an_alarm_lasts_while_frames_go_on_without_being_judged(statistics: Statistics) -> None:
    frame = Frame(np.zeros((4, 4), np.uint8))
    late = CameraResult(frame, Action.PASSED_BUDGET, np.zeros((4, 4), np.uint8), None, alarm=Alarm.SEVERE)
    statistics.count("left", "received", "published", "passed_budget")
    statistics.see(Result({"left": late}, "passthrough", True, {}))
    told = report(statistics)["robot/derain: left"]
    assert told.level == ERROR and "affected" in told.message
    assert values(told)["alarm"] == "severe" and "score" not in values(told)
