from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_bench import RELIABLE, Bench, at_ms, image_message, pixels_of, wait_for
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from derain_ros.ros.node import DerainNode
from derain_ros.ros.worker import Worker

Start = Callable[..., Bench]
WET = np.full((24, 36), 160, np.uint8)


def change(bench: Bench, transition: int) -> bool:
    return bench.call(ChangeState, "change_state", transition=Transition(id=transition)).success


def state(bench: Bench) -> str:
    return bench.call(GetState, "get_state").current_state.label


def test_the_node_starts_by_itself(start: Start) -> None:
    assert state(start().ready()) == "active"


def test_the_life_cycle_by_hand(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[None] = []
    monkeypatch.setattr("derain_ros.ros.node.give_back_memory", lambda: given_back.append(None))
    bench = start(autostart=False)
    assert state(bench) == "unconfigured" and bench.derain.engine == "not loaded"
    assert bench.derain.count_subscribers("left/image_raw") == 0
    for turn in range(2):
        assert change(bench, Transition.TRANSITION_CONFIGURE) and state(bench) == "inactive"
        # Inactive: nothing is taken from the cameras, though there are subscribers.
        wait_for(lambda: bench.node.count_publishers("derained/left/image_raw") == 1, "the outputs")
        assert bench.derain.count_subscribers("left/image_raw") == 0
        seen, received = len(bench.restored("left")), bench.received("left")
        assert change(bench, Transition.TRANSITION_ACTIVATE) and state(bench) == "active"
        bench.ready()
        bench.send_pair(100, WET, WET)
        images = wait_for(lambda seen=seen: bench.restored("left")[seen:], "an image")
        assert [at_ms(image) for image in images] == [100] and bench.received("left") == received + 1
        assert change(bench, Transition.TRANSITION_DEACTIVATE) and state(bench) == "inactive"
        assert bench.derain.count_subscribers("left/image_raw") == 0
        assert len(given_back) == turn
        assert change(bench, Transition.TRANSITION_CLEANUP) and state(bench) == "unconfigured"
        assert len(given_back) == turn + 1, "of the networks that are gone"
        wait_for(lambda: bench.node.count_publishers("derained/left/image_raw") == 0, "the topics to go")
    assert change(bench, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) and state(bench) == "finalized"


def test_what_waits_at_deactivation_is_accounted_for(start: Start) -> None:
    bench = start().ready()
    worker = bench.derain._worker
    process, started, go = worker._pipeline.process, threading.Event(), threading.Event()

    def slow(frames: Any) -> Any:
        started.set()
        assert go.wait(20)
        return process(frames)

    worker._pipeline.process = slow
    bench.send_pair(0, WET, WET)
    assert started.wait(20)
    bench.send_pair(50, WET, WET)
    bench.send("left", image_message(WET, ms=100))
    threading.Timer(0.05, go.set).start()
    assert change(bench, Transition.TRANSITION_DEACTIVATE)
    # The frame set in work goes out; the next, and the frame without a partner, count as dropped.
    assert [at_ms(image) for image in bench.wait_images("left", 1)] == [0]
    counts = bench.counts("left")
    assert (counts["received"], counts["published"], counts["dropped"]) == (3, 1, 2)


def test_a_transition_that_fails_leaves_a_node_to_be_configured_anew(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(worker: Worker) -> None:
        raise RuntimeError("no thread")

    bench = start(autostart=False)
    assert change(bench, Transition.TRANSITION_CONFIGURE)
    with monkeypatch.context() as broken:
        broken.setattr(Worker, "start", fail)
        assert not change(bench, Transition.TRANSITION_ACTIVATE) and state(bench) == "unconfigured"
    assert bench.derain.engine == "not loaded"
    assert change(bench, Transition.TRANSITION_CONFIGURE) and change(bench, Transition.TRANSITION_ACTIVATE)
    bench.ready().send_pair(0, WET, WET)
    bench.wait_images("left", 1)


def test_a_node_that_cannot_be_configured_says_why(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("no topic for left")

    monkeypatch.setattr("derain_ros.ros.node.CameraTopics", refuse)
    node = DerainNode(context=context, parameter_overrides=[Parameter("autostart", value=False)])
    lines: list[str] = []
    node.get_logger().error = lines.append  # type: ignore[method-assign]
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert len(lines) == 1 and "no topic for left" in lines[0]
    node.destroy_node()


def test_frames_are_passed_on_while_models_load(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros import Pipeline

    load, go = Pipeline.load, threading.Event()

    def slow(pipeline: Pipeline) -> None:
        assert go.wait(20)
        load(pipeline)

    monkeypatch.setattr(Pipeline, "load", slow)
    bench = start().ready("loading")
    bench.send_pair(0, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("left", 1)[0]), WET)
    assert bench.wait_status(0)["left"][1]["detail"] == "models: loading"
    status, _ = bench.wait_diagnostics(lambda d: d["derain"]["engine"] == "loading", "diagnostics")["derain"]
    assert status.level == b"\1" and "passed on" in status.message
    go.set()
    bench.ready()
    bench.send_pair(50, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("left", 2)[1]), WET + 10)


def test_enable_switches_restoration_and_its_parameter(start: Start) -> None:
    bench = start().ready()
    for ms, enabled in ((0, False), (50, True)):
        response = bench.call(SetBool, "enable", data=enabled)
        assert response.success and ("untouched" in response.message) is not enabled
        assert bench.derain.get_parameter("enabled").value is enabled
        bench.send_pair(ms, WET, WET)
        assert bench.wait_status(ms)["left"][0].message == ("restored" if enabled else "passed_disabled")
    assert np.array_equal(pixels_of(bench.wait_images("left", 1)[0]), WET)


def test_parameters_apply_at_once_and_bad_ones_are_refused_with_the_reason(start: Start) -> None:
    bench = start().ready()

    def set_parameters(kind: Any = SetParameters, **values: Any) -> Any:
        name = "set_parameters" if kind is SetParameters else "set_parameters_atomically"
        messages = [Parameter(key, value=value).to_parameter_msg() for key, value in values.items()]
        return bench.call(kind, name, parameters=messages)

    def refusal(**values: Any) -> str:
        result = set_parameters(**values).results[0]
        assert not result.successful
        return result.reason

    assert "20000" in refusal(budget_ms=20000.0) and "10000" in refusal(budget_ms=20000)
    assert "float" in refusal(budget_ms="soon")
    assert "off_score" in refusal(on_score=0.1)
    assert "read-only" in refusal(cameras=["top"]) and "read-only" in refusal(threads=2)
    assert bench.derain.get_parameter("on_score").value == 0.75
    # Both at once are in order.
    assert set_parameters(SetParametersAtomically, off_score=0.05, on_score=0.1).result.successful
    assert set_parameters(budget_ms=100, pair_tolerance_ms=20).results[0].successful
    for camera, ms in zip(bench.cameras, (0, 18), strict=True):
        bench.send(camera, image_message(WET, ms=ms))
    assert bench.wait_status(0)["right"][0].message == "restored"


def test_subscribers_of_either_reliability_match_and_remaps_hold(start: Start) -> None:
    bench = start(arguments=("-r", "left/image_raw:=/camera/first"), reliable=False)
    bench.images["left"] = bench.node.create_publisher(Image, "/camera/first", RELIABLE)
    wait_for(lambda: bench.images["left"].get_subscription_count() == 1, "the remapped topic")
    wait_for(lambda: bench.derain.engine == "ready", "models")
    wait_for(lambda: bench.images["right"].get_subscription_count() == 1, "right")
    wait_for(lambda: bench.derain.count_subscribers("derained/left/image_raw") == 1, "a best-effort subscriber")
    bench.send_pair(0, WET, WET)
    bench.wait_images("left", 1)


def test_a_simulated_clock_that_stands_still_stops_nothing(start: Start) -> None:
    bench = start(use_sim_time=True).ready()
    bench.send_pair(0, WET, WET)
    bench.wait_images("left", 1)
    found = bench.wait_diagnostics(lambda d: d["derain: left"]["published"] == "1", "a report")
    assert float(found["derain"][1]["latency_p50_ms"]) > 0
