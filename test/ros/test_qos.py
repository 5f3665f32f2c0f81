from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSLivelinessPolicy, QoSProfile, QoSReliabilityPolicy
from ros_bench import BEST_EFFORT, Bench, image_message, wait_for
from sensor_msgs.msg import CameraInfo, Image

from derain_ros.config import ConfigError
from derain_ros.ros.node import DerainNode
from derain_ros.ros.qos import IMAGE_IN

Start = Callable[..., Bench]
WET = np.full((24, 36), 160, np.uint8)
RELIABLE, LATCHED = QoSReliabilityPolicy.RELIABLE, QoSDurabilityPolicy.TRANSIENT_LOCAL


def qos_of(bench: Bench, topic: str) -> QoSProfile:
    """What the node subscribes to a topic with, or publishes it with."""

    def found() -> list[QoSProfile]:
        ends = bench.node.get_subscriptions_info_by_topic(topic) + bench.node.get_publishers_info_by_topic(topic)
        return [end.qos_profile for end in ends if end.node_name == "derain"]

    return wait_for(found, topic)[0]


def test_parameters_of_ros_override_the_quality_of_service(start: Start) -> None:
    bench = start(
        **{
            "qos_overrides./left/image_raw.subscription.reliability": "reliable",
            "qos_overrides./left/camera_info.subscription.durability": "transient_local",
            "qos_overrides./derained/left/image_raw.publisher.reliability": "best_effort",
            "qos_overrides./derained/right/anomaly_mask.publisher.durability": "transient_local",
            "qos_overrides./derain/status.publisher.reliability": "best_effort",
            "qos_overrides./diagnostics.publisher.durability": "transient_local",
            "qos_overrides./right/image_raw.subscription.deadline": 10**9,
            "qos_overrides./derained/right/image_raw.publisher.lifespan": 2 * 10**9,
            "qos_overrides./derained/right/camera_info.publisher.liveliness": "manual_by_topic",
            "qos_overrides./derained/right/camera_info.publisher.liveliness_lease_duration": 3 * 10**9,
        },
        reliable=False,
    )
    assert qos_of(bench, "/left/image_raw").reliability == RELIABLE
    assert qos_of(bench, "/left/camera_info").durability == LATCHED
    assert qos_of(bench, "/derained/left/image_raw").reliability != RELIABLE
    assert qos_of(bench, "/derained/right/anomaly_mask").durability == LATCHED
    assert qos_of(bench, "/derain/status").reliability != RELIABLE
    assert qos_of(bench, "/diagnostics").durability == LATCHED
    assert qos_of(bench, "/right/image_raw").deadline == Duration(seconds=1)
    assert qos_of(bench, "/derained/right/image_raw").lifespan == Duration(seconds=2)
    assert qos_of(bench, "/derained/right/camera_info").liveliness == QoSLivelinessPolicy.MANUAL_BY_TOPIC
    assert qos_of(bench, "/derained/right/camera_info").liveliness_lease_duration == Duration(seconds=3)
    # What was named for one camera is not what the other one gets.
    assert qos_of(bench, "/right/image_raw").reliability != RELIABLE
    assert qos_of(bench, "/right/camera_info").durability != LATCHED
    assert qos_of(bench, "/derained/right/image_raw").reliability == RELIABLE
    assert IMAGE_IN.reliability != RELIABLE


def test_the_depth_is_how_many_images_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = start(
        cameras=["left"],
        **{
            "qos_overrides./left/image_raw.subscription.depth": 5,
            "qos_overrides./left/image_raw.subscription.reliability": "reliable",
        },
    ).ready()
    with bench.derain._taking:
        bench.images["left"].publish(image_message(WET, ms=0))
        # One is taken and waits for the lock; the others for their turn.
        for ms in (50, 100, 150, 200):
            bench.images["left"].publish(image_message(WET, ms=ms))
        wait_for(lambda: bench.images["left"].wait_for_all_acked(), "all to be sent")
    wait_for(lambda: bench.received("left") == 5, "all of them")
    assert bench.counts("left")["lost"] == 0


def test_what_comes_directly_behind_an_image_does_not_take_its_place(start: Start) -> None:
    bench = start(cameras=["left"]).ready()
    with bench.derain._taking:
        bench.images["left"].publish(image_message(WET, ms=0))
        time.sleep(0.5)  # it is taken and waits for the lock, so that the others wait in the queue
        for ms in (50, 51):
            bench.images["left"].publish(image_message(WET, ms=ms))
    wait_for(lambda: bench.received("left") == 3, "all of them")
    assert bench.counts("left")["lost"] == 0


def test_a_reliable_input_hears_no_best_effort_camera(start: Start) -> None:
    bench = start(cameras=["left"], **{"qos_overrides./left/image_raw.subscription.reliability": "reliable"}).ready()
    mute = bench.node.create_publisher(Image, "left/image_raw", BEST_EFFORT)
    other = bench.node.create_publisher(CameraInfo, "left/camera_info", BEST_EFFORT)
    wait_for(lambda: other.get_subscription_count(), "the camera_info to be matched")
    assert mute.get_subscription_count() == 0


def test_topics_are_named_as_they_are_after_remapping(start: Start) -> None:
    bench = start(
        arguments=("-r", "left/image_raw:=/cam0/image", "-r", "__ns:=/robot"),
        lazy=False,
        **{
            "qos_overrides./cam0/image.subscription.reliability": "reliable",
            "qos_overrides./cam0/camera_info.subscription.reliability": "reliable",
            "qos_overrides./robot/derained/left/image_raw.publisher.reliability": "best_effort",
        },
    )
    assert qos_of(bench, "/cam0/image").reliability == qos_of(bench, "/cam0/camera_info").reliability == RELIABLE
    assert qos_of(bench, "/robot/derained/left/image_raw").reliability != RELIABLE


def test_they_can_be_read_before_anybody_subscribes(start: Start) -> None:
    bench = start(outputs=False, **{"qos_overrides./left/image_raw.subscription.depth": 3})
    name = "qos_overrides./left/image_raw.subscription"
    assert bench.derain.get_parameter(f"{name}.depth").value == 3
    assert bench.derain.get_parameter(f"{name}.reliability").value == "best_effort"
    assert bench.derain.describe_parameter(f"{name}.reliability").read_only


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        ("reliability", "relible"),
        ("reliability", "unknown"),
        ("depth", 0),
        ("depth", -1),
        ("history", "all"),
        ("deadline", -5),
        ("liveliness", "alive"),
    ],
)
@pytest.mark.parametrize(
    "end", ["/left/image_raw.subscription", "/left/camera_info.subscription", "/derained/right/image_raw.publisher"]
)
def test_a_node_with_a_value_that_cannot_be_used_says_so(
    context: Any, capfd: pytest.CaptureFixture[str], end: str, policy: str, value: Any
) -> None:
    node = DerainNode(
        context=context,
        parameter_overrides=[
            Parameter("autostart", value=False),
            Parameter(f"qos_overrides.{end}.{policy}", value=value),
        ],
    )
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    told = capfd.readouterr().err
    assert f"qos_overrides.{end}: " in told and str(value) in told and "depth 1 or more" in told
    assert str(value) in node._failure and "cannot be configured" in node._failure
    # Nothing is left of what was made before.
    assert not list(node.subscriptions) and [p.topic_name for p in node.publishers if "derained" in p.topic_name] == []
    node.destroy_node()


def test_a_node_that_cannot_be_configured_is_an_error_in_diagnostics(start: Start) -> None:
    bench = start(outputs=False, **{"qos_overrides./left/image_raw.subscription.reliability": "relible"})
    found = bench.wait_diagnostics(lambda d: d["derain"]["state"] == "unconfigured", "a report")
    level, message = found["derain"][0].level, found["derain"][0].message
    assert level == DiagnosticStatus.ERROR
    assert message.startswith("the node cannot be configured: qos_overrides./left/image_raw.subscription: ")
    assert "`relible`; history is keep_last or keep_all" in message


@pytest.mark.parametrize(
    ("topic", "policy", "value"),
    [("/diagnostics", "reliability", "relible"), ("/derain/status", "depth", "ten"), ("/derain/anomaly", "depth", 0)],
)
def test_a_node_does_not_start_with_such_a_value_of_its_own_topics(
    context: Any, topic: str, policy: str, value: Any
) -> None:
    name = f"qos_overrides.{topic}.publisher"
    with pytest.raises((ConfigError, ParameterException), match=name):
        DerainNode(context=context, parameter_overrides=[Parameter(f"{name}.{policy}", value=value)])
