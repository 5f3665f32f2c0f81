from __future__ import annotations

import numpy as np
import pytest

from derain_ros.frame import Action, Anomaly, CameraResult, Frame, Result
from derain_ros.runtime.status import OK, WARN, Status, statuses_of

MASK = np.zeros((2, 2), np.uint8)
FRAME = Frame(MASK, "mono8", 5, "optical")


def test_what_was_done_with_each_camera() -> None:
    result = Result({"left": CameraResult(FRAME, Action.RESTORED, MASK, Anomaly("dirt", 0.75, 0.25, MASK)),
                     "right": CameraResult(FRAME, Action.PASSED_ERROR, MASK)}, "restore", True,
                    {"total": 12.346, "detect": 1.0}, "why")
    times = {"total_ms": "12.35", "detect_ms": "1.00", "restore_ms": "0.00", "detail": "why"}
    assert statuses_of(result) == [
        Status(OK, "left", "restored", "optical", {"kind": "dirt", "score": "0.750", "coverage": "0.2500",
                                                   "action": "restored", "plan": "restore", **times}),
        Status(WARN, "right", "passed_error", "optical", {"kind": "unknown", "score": "nan", "coverage": "nan",
                                                          "action": "passed_error", "plan": "restore", **times})]


@pytest.mark.parametrize("action", Action)
def test_only_restored_and_clean_frames_are_fine(action: Action) -> None:
    told = statuses_of(Result({"left": CameraResult(FRAME, action, MASK)}, "passthrough", False, {}))
    assert told[0].level == (OK if action in (Action.RESTORED, Action.PASSED_CLEAN) else WARN)
