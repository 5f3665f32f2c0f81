from __future__ import annotations

import numpy as np
import pytest

from derain_ros.frame import Action, Alarm, Anomaly, CameraResult, Frame, Result
from derain_ros.runtime.status import OK, WARN, Status, statuses_of

MASK = np.zeros((2, 2), np.uint8)
FRAME = Frame(MASK, "mono8", 5, "optical")


def test_what_was_done_with_each_camera() -> None:
    anomaly = Anomaly("dirt", 0.75, 0.1, MASK, {"clean": 0.25, "dirt": 0.75})
    result = Result(
        {
            "left": CameraResult(FRAME, Action.RESTORED, MASK, anomaly, Alarm.SEVERE),
            "right": CameraResult(FRAME, Action.PASSED_ERROR, MASK),
        },
        "light + temporal",
        True,
        {"total": 12.346, "detect": 1.0, "light": 7.0, "temporal": 2.5},
        "why",
        "small, temporal",
        42.0,
    )
    # Restoring is all that comes after detecting.
    shared = {
        "plan": "light + temporal",
        "models": "small, temporal",
        "total_ms": "12.35",
        "detect_ms": "1.00",
        "restore_ms": "9.50",
        "left_ms": "42.00",
        "detail": "why",
    }
    assert statuses_of(result) == [
        Status(
            OK,
            "left",
            "restored",
            "optical",
            {
                "kind": "dirt",
                "score": "0.750",
                "coverage": "0.1000",
                "severity": "0.375",
                "alarm": "severe",
                "action": "restored",
                **shared,
                "p_clean": "0.250",
                "p_dirt": "0.750",
            },
        ),
        Status(
            WARN,
            "right",
            "passed_error",
            "optical",
            {
                "kind": "unknown",
                "score": "nan",
                "coverage": "nan",
                "severity": "nan",
                "alarm": "clear",
                "action": "passed_error",
                **shared,
            },
        ),
    ]


def test_what_was_not_run_took_no_time() -> None:
    told = statuses_of(Result({"left": CameraResult(FRAME, Action.PASSED_UNPAIRED, MASK)}, "passthrough", False, {}))
    assert {told[0].values[f"{stage}_ms"] for stage in ("total", "detect", "restore")} == {"0.00"}
    assert told[0].values["left_ms"] == "nan"


@pytest.mark.parametrize("action", Action)
def test_only_restored_and_clean_frames_are_fine(action: Action) -> None:
    told = statuses_of(Result({"left": CameraResult(FRAME, action, MASK)}, "passthrough", False, {}))
    assert told[0].level == (OK if action in (Action.RESTORED, Action.PASSED_CLEAN) else WARN)
