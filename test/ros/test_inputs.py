from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.event_handler import EventHandler, QoSPublisherEventType, UnsupportedEventTypeError
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from ros_bench import BEST_EFFORT, LATCHED, RELIABLE, Bench, at_ms, image_message, pixels_of, wait_for
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool

from derain_ros.ros import inputs

Start = Callable[..., Bench]
WET = np.full((24, 36), 160, np.uint8)
OUTPUTS = [
    (Image, "derained/left/image_raw"),
    (CameraInfo, "derained/right/camera_info"),
    (Image, "derained/right/anomaly_mask"),
    (Bool, "/derain/anomaly"),
]


def alone(start: Start, **more: Any) -> Bench:
    """A bench that subscribes to /diagnostics and nothing else, and whose node has its models."""
    bench = start(**{"outputs": False, **more})
    wait_for(lambda: bench.derain.engine.startswith("ready"), "the models")
    return bench


def heard(bench: Bench) -> list[int]:
    """How many subscriptions each input has."""
    return [publisher.get_subscription_count() for publisher in (*bench.images.values(), *bench.infos.values())]


def nobody_wants(bench: Bench) -> Any:
    """The status of the node once it says that nobody wants anything, and of the left camera."""
    bench.got["/diagnostics"].clear()
    found = bench.wait_diagnostics(lambda d: d["derain"]["subscribed"] == "False", "a report that nobody listens")
    return found["derain"][0], found["derain: left"][0]


@pytest.mark.parametrize(("kind", "topic"), OUTPUTS, ids=lambda value: value if isinstance(value, str) else "")
def test_inputs_are_subscribed_to_while_any_output_is(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: Any, topic: str
) -> None:
    monkeypatch.setattr(inputs, "LINGER_S", 0.0)
    bench = alone(start)
    node, camera = nobody_wants(bench)
    assert heard(bench) == [0] * 4
    assert (node.level, camera.level) == (b"\0", b"\0") and "nobody subscribes to an output" in node.message
    for _ in range(2):
        subscription = bench.node.create_subscription(kind, topic, lambda message: None, RELIABLE)
        wait_for(lambda: heard(bench) == [1] * 4, "the node at all inputs")
        bench.node.destroy_subscription(subscription)
        wait_for(lambda: heard(bench) == [0] * 4, "the node to leave all inputs")


def test_without_events_of_the_middleware_subscribers_are_found_all_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = EventHandler.__init__

    def refuse(handler: EventHandler, *, event_type: Any, **more: Any) -> None:
        if event_type == QoSPublisherEventType.RCL_PUBLISHER_MATCHED:
            raise UnsupportedEventTypeError("matched")
        init(handler, event_type=event_type, **more)

    monkeypatch.setattr(EventHandler, "__init__", refuse)
    bench = alone(start)
    bench.node.create_subscription(Image, "derained/left/image_raw", lambda message: None, RELIABLE)
    wait_for(lambda: heard(bench) == [1] * 4, "the node at all inputs")


def test_a_subscriber_that_comes_back_soon_finds_the_inputs_as_they_were(start: Start) -> None:
    bench = start().ready()
    receiver = bench.derain._inputs._receiver
    for ms in (0, 50, 100):
        bench.leave_outputs()
        wait_for(lambda: not bench.derain._status.get_subscription_count(), "the last subscriber to leave")
        bench.derain._attend()
        bench.take_outputs()
        wait_for(lambda: bench.derain._status.get_subscription_count(), "a subscriber")
        bench.send_pair(ms, WET, WET)
        bench.wait_status(ms)
    assert bench.derain._inputs._receiver is receiver


def test_the_first_frames_after_a_pause_are_restored_and_nothing_is_left_of_what_was_before(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "LINGER_S", 0.0)
    bench = start(on_hold_s=1.0, off_hold_s=1.0).ready()
    bench.send_pair(0, WET, WET)
    bench.wait_images("right", 1)
    # A frame that waits for its counterpart does not wait over the pause.
    bench.send("left", image_message(WET, ms=50))
    bench.leave_outputs()
    wait_for(lambda: heard(bench) == [0] * 4, "the node to leave all inputs")
    wait_for(lambda: bench.counts("left")["unpaired"] == 1, "the frame to be given up")
    assert "nobody subscribes" in nobody_wants(bench)[0].message
    bench.take_outputs()
    bench.ready()
    bench.send_pair(600_000, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("left", 2)[1]), WET + 10)
    assert bench.counts("left")["lost"] == bench.counts("right")["lost"] == 0
    # One wet frame before the pause and one behind it are not wet for ten minutes.
    assert [a.data for a in bench.got["/derain/anomaly"]][-1] is False
    bench.got["/diagnostics"].clear()
    found = bench.wait_diagnostics(lambda d: d["derain: right"]["published"] == "2", "a report")
    assert found["derain"][1]["subscribed"] == "True"


def test_the_first_frames_after_the_first_subscriber_are_restored(start: Start) -> None:
    bench = alone(start)
    wait_for(
        lambda: {"restore_mono", "restore_rgb"} <= {e.model.name for e in bench.derain._worker._pipeline.engines},
        "the restorers",
    )
    bench.take_outputs()
    wait_for(lambda: heard(bench) == [1] * 4, "the node at all inputs")
    bench.send_pair(0, WET, WET)
    assert np.array_equal(pixels_of(bench.wait_images("left", 1)[0]), WET + 10)


def test_lazy_is_switched_off_and_on_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LINGER_S", 0.0)
    bench = alone(start, lazy=False)
    wait_for(lambda: heard(bench) == [1] * 4, "the node at all inputs")
    bench.derain.set_parameters([Parameter("lazy", value=True)])
    wait_for(lambda: heard(bench) == [0] * 4, "the node to leave all inputs")
    bench.derain.set_parameters([Parameter("lazy", value=False)])
    wait_for(lambda: heard(bench) == [1] * 4, "the node at all inputs again")


@pytest.mark.parametrize(
    ("remaps", "images", "infos"),
    [
        ({}, "/left/image_raw/compressed", "/left/camera_info"),
        ({"left/image_raw": "/cam0/image"}, "/cam0/image/compressed", "/cam0/camera_info"),
        ({"left/image_raw/compressed": "/cam0/jpeg"}, "/cam0/jpeg", "/cam0/camera_info"),
        ({"left/image_raw/compressed": "/cam0/image/compressed"}, "/cam0/image/compressed", "/cam0/camera_info"),
        (
            {"left/image_raw": "/cam0/image", "left/image_raw/compressed": "/cam1/image/compressed"},
            "/cam1/image/compressed",
            "/cam1/camera_info",
        ),
        ({"left/image_raw": "/image_raw"}, "/image_raw/compressed", "/camera_info"),
        ({"left/image_raw": "/image_raw", "left/camera_info": "/calibration"}, "/image_raw/compressed", "/calibration"),
        ({"left/image_raw": "/cam0/image", "__ns": "/robot"}, "/cam0/image/compressed", "/cam0/camera_info"),
        ({"left/image_raw": "image", "__ns": "/robot"}, "/robot/image/compressed", "/robot/camera_info"),
    ],
)
def test_compressed_images_are_found_as_image_transport_finds_them(
    start: Start, remaps: dict[str, str], images: str, infos: str
) -> None:
    bench = start(
        cameras=["left"],
        transport="compressed",
        lazy=False,
        arguments=tuple(word for rule in remaps.items() for word in ("-r", ":=".join(rule))),
    )
    publishers = [
        bench.node.create_publisher(kind, topic, RELIABLE)
        for kind, topic in ((CompressedImage, images), (CameraInfo, infos))
    ]
    wait_for(lambda: all(publisher.get_subscription_count() == 1 for publisher in publishers), "matched inputs")
    assert bench.derain._inputs.names == {"left": images}


def test_eyes_can_be_swapped(start: Start) -> None:
    swapped = [("left", "right"), ("right", "left")]
    bench = start(
        arguments=tuple(
            word
            for one, other in swapped
            for name in ("image_raw", "camera_info")
            for word in ("-r", f"{one}/{name}:={other}/{name}")
        )
    ).ready()
    bench.infos["right"].publish(CameraInfo(width=7))
    wait_for(lambda: bench.derain._topics["left"]._infos._latest, "camera_info at the node")
    for camera, other in swapped:
        bench.images[camera].publish(image_message(WET, ms=100, frame_id=camera))
        wait_for(lambda other=other: bench.received(other) == 1, "the image")
    assert bench.wait_images("left", 1)[0].header.frame_id == "right"
    assert [info.width for info in wait_for(lambda: bench.camera_infos("left"), "camera_info")] == [7]


@pytest.mark.parametrize("place", ["/camera_info", "/left/camera_info"])
@pytest.mark.parametrize("qos", [RELIABLE, BEST_EFFORT, LATCHED], ids=["reliable", "best effort", "latched"])
def test_camera_info_is_found_beside_the_images_or_by_its_own_name(start: Start, place: str, qos: QoSProfile) -> None:
    bench = start(cameras=["left"], arguments=("-r", "left/image_raw:=/image_raw"))
    bench.node.destroy_publisher(bench.infos["left"])
    images = bench.node.create_publisher(Image, "/image_raw", RELIABLE)
    infos = bench.node.create_publisher(CameraInfo, place, qos)
    wait_for(lambda: images.get_subscription_count() and infos.get_subscription_count(), "matched inputs")
    infos.publish(CameraInfo(width=7))
    wait_for(lambda: bench.derain._topics["left"]._infos._latest, "camera_info at the node")
    images.publish(image_message(WET, ms=100))
    assert [info.width for info in wait_for(lambda: bench.camera_infos("left"), "camera_info")] == [7]


def test_camera_info_beside_the_images_goes_before_that_of_another_place(start: Start) -> None:
    bench = start(cameras=["left"], arguments=("-r", "left/image_raw:=/small/image_raw"))
    images = bench.node.create_publisher(Image, "/small/image_raw", RELIABLE)
    beside = bench.node.create_publisher(CameraInfo, "/small/camera_info", RELIABLE)
    own = bench.infos["left"]
    wait_for(lambda: all(p.get_subscription_count() for p in (images, beside, own)), "matched inputs")
    wait_for(lambda: bench.derain.count_publishers("/small/camera_info"), "the publisher beside the images")
    for width, publisher in ((2, own), (1, beside), (2, own)):
        publisher.publish(CameraInfo(width=width))
    wait_for(lambda: bench.derain._topics["left"]._infos._latest, "camera_info at the node")
    images.publish(image_message(WET, ms=100))
    assert [info.width for info in wait_for(lambda: bench.camera_infos("left"), "camera_info")] == [1]


def test_camera_info_that_was_latched_before_the_node_is_found_and_goes_with_every_image(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = start(autostart=False)
    bench.node.destroy_publisher(bench.infos["left"])
    infos = bench.node.create_publisher(CameraInfo, "left/camera_info", LATCHED)
    infos.publish(CameraInfo(width=7))
    bench.derain.trigger_configure()
    bench.derain.trigger_activate()
    wait_for(lambda: bench.derain._topics["left"]._infos._latest, "camera_info at the node")
    wait_for(lambda: infos.get_subscription_count() == 1, "the subscription that asked for it to go")
    for count in (bench.images[camera].get_subscription_count for camera in bench.cameras):
        wait_for(count, "matched images")
    for ms in (100, 150):
        bench.send_pair(ms, WET, WET)
        bench.wait_status(ms)
    assert [
        info.width
        for info in wait_for(
            lambda: bench.camera_infos("left")[1:] and bench.camera_infos("left"), "camera_info of both"
        )
    ] == [7, 7]
    assert [at_ms(image) for image in bench.wait_images("left", 2)] == [100, 150]
    # The other camera latches nothing, and is not asked for it.
    assert "incompatible QoS" not in capfd.readouterr().err
