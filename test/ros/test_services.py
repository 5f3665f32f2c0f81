from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue, SetParametersResult
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from ros_bench import Bench
from std_srvs.srv import SetBool

from derain_ros.ros.intake import Intake

Start = Callable[..., Bench]
WET = np.full((24, 36), 160, np.uint8)
NONE_SUCH = ParameterMessage(name="budget_ms", value=ParameterValue(type=77))


def goes_on(bench: Bench, ms: float) -> bool:
    """Whether the stream does, and no callback has raised anything."""
    bench.send_pair(ms, WET, WET)
    bench.wait_status(ms)
    return not bench.derain_errors


@pytest.mark.parametrize(
    "transition",
    [
        Transition(id=Transition.TRANSITION_ACTIVATE),
        Transition(id=250),
        Transition(label="configure"),
        Transition(label="fly"),
    ],
    ids=str,
)
def test_an_impossible_transition_is_answered_and_ends_nothing(start: Start, transition: Transition) -> None:
    bench = start().ready()
    assert not bench.call(ChangeState, "change_state", transition=transition).success
    assert bench.call(GetState, "get_state").current_state.label == "active" and goes_on(bench, 0)


def test_a_parameter_that_cannot_be_set_says_nothing_of_the_others(start: Start) -> None:
    bench = start().ready()
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="soon")
    number = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.9)
    results = bench.call(
        SetParameters,
        "set_parameters",
        parameters=[
            ParameterMessage(name="severe", value=number),
            NONE_SUCH,
            ParameterMessage(name="budget_ms", value=text),
            ParameterMessage(name="nothing", value=number),
            ParameterMessage(name="on_score", value=number),
        ],
    ).results
    assert [result.successful for result in results] == [True, False, False, False, True]
    assert all(result.reason for result in results[1:4])
    assert [bench.derain.get_parameter(name).value for name in ("severe", "on_score")] == [0.9, 0.9]
    assert goes_on(bench, 0)


def test_parameters_that_cannot_be_set_at_once_are_refused_with_the_reason(start: Start) -> None:
    bench = start().ready()
    result = bench.call(SetParametersAtomically, "set_parameters_atomically", parameters=[NONE_SUCH]).result
    assert not result.successful and "77" in result.reason and goes_on(bench, 0)


def test_a_callback_that_fails_is_answered(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("the disk is full")

    bench = start().ready()
    monkeypatch.setattr(Intake, "apply", fail)
    response = bench.call(SetBool, "enable", data=False)
    assert (response.success, response.message) == (False, "the disk is full")
    monkeypatch.setattr(bench.derain, "get_parameter", fail)
    assert bench.call(GetParameters, "get_parameters", names=["enabled"]).values == []
    assert goes_on(bench, 0)


def test_switching_that_is_refused_says_so(start: Start) -> None:
    bench = start().ready()
    bench.derain.add_on_set_parameters_callback(lambda changes: SetParametersResult(successful=False, reason="locked"))
    response = bench.call(SetBool, "enable", data=False)
    assert (response.success, response.message) == (False, "locked")
    assert bench.derain.get_parameter("enabled").value is True and goes_on(bench, 0)
