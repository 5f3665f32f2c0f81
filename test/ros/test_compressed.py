"""What comes out as `…/image_raw/compressed`, over DDS, and in which form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from ros_bench import RELIABLE, Bench, at_ms, image_message, stamp, wait_for
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from derain_ros.frame import Frame
from derain_ros.ros import topics
from derain_ros.ros.compressed import compress
from derain_ros.ros.messages import read_compressed
from derain_ros.runtime.input.encoding import LAYOUTS, to_network
from derain_ros.runtime.input.messages import frame_of

Start = Callable[..., Bench]
WET, CLEAN = np.full((24, 36), 160, np.uint8), np.full((24, 36), 60, np.uint8)


def smooth_frame(encoding: str) -> Frame:
    layout = LAYOUTS[encoding]
    shape = (32 * layout.rows // 2, 48, *((layout.values,) if layout.values > 1 else ()))
    ramp = np.broadcast_to(np.linspace(40, 200, 48).reshape(1, 48, *[1] * (len(shape) - 2)), shape)
    return Frame((ramp if layout.dtype == "u1" else ramp * 16).astype(layout.dtype), encoding, 1_500_000_000, "cam")


@pytest.mark.parametrize("encoding", LAYOUTS)
def test_what_is_compressed_is_read_as_the_same(encoding: str) -> None:
    frame = smooth_frame(encoding)
    cdr = compress(frame)
    message = deserialize_message(cdr, CompressedImage)
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (1, 500_000_000, "cam")
    back = frame_of(read_compressed(cdr))
    lossless = LAYOUTS[encoding].dtype != "u1" or encoding.startswith("bayer")
    assert ("png" if lossless else "jpeg") in message.format
    yuv = encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21")
    assert back.encoding == ("bgr8" if yuv else encoding)
    assert message.format.startswith(f"{back.encoding}; ")
    if lossless:
        assert np.array_equal(back.image, frame.image)
    else:
        assert np.abs(to_network(back).astype(int) - to_network(frame)).max() <= 8


@pytest.fixture
def listen() -> Callable[[Bench, str], list[Any]]:
    def begin(bench: Bench, topic: str) -> list[Any]:
        got: list[Any] = []
        subscription = bench.node.create_subscription(CompressedImage, topic, got.append, RELIABLE)
        wait_for(lambda: subscription.get_publisher_count() == 1, "the compressed output")
        return got

    return begin


def test_it_is_made_while_somebody_subscribes(
    start: Start, listen: Callable[[Bench, str], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Frame] = []
    monkeypatch.setattr(topics, "compress", lambda frame: made.append(frame) or compress(frame))
    bench = start().ready()
    bench.send_pair(0, WET, WET)
    bench.wait_images("right", 1)
    assert not made
    got = listen(bench, "derained/right/image_raw/compressed")
    bench.send_pair(100, WET, WET)
    message = wait_for(lambda: [m for m in got if at_ms(m) == 100], "the image")[0]
    assert message.format == "mono8; jpeg compressed "
    assert np.abs(cv2.imdecode(np.frombuffer(message.data, np.uint8), 0).astype(int) - (WET + 10)).max() <= 2
    assert len(made) == 1, "and only of that camera"


def test_what_came_compressed_and_is_passed_on_keeps_its_bytes(
    start: Start, listen: Callable[[Bench, str], list[Any]]
) -> None:
    bench = start(transport="compressed").ready()
    got = listen(bench, "derained/left/image_raw/compressed")
    sent = {}
    for ms, image in ((50, CLEAN), (100, WET)):
        sent[ms] = cv2.imencode(".png", image)[1].tobytes()
        for camera in bench.cameras:
            bench.send(
                camera,
                CompressedImage(
                    header=Header(stamp=stamp(ms), frame_id="cam"), format="mono8; png compressed ", data=sent[ms]
                ),
            )
        wait_for(lambda ms=ms: [m for m in got if at_ms(m) == ms], "the image")
    clean, wet = got
    assert bytes(clean.data) == sent[50] and clean.format == "mono8; png compressed "
    assert bytes(wet.data) != sent[100] and wet.format == "mono8; jpeg compressed " and wet.header.frame_id == "cam"


def test_it_lies_below_the_name_that_the_image_is_given(
    start: Start, listen: Callable[[Bench, str], list[Any]]
) -> None:
    bench = start(arguments=("-r", "derained/left/image_raw:=/slam/left/image"))
    listen(bench, "/slam/left/image/compressed")


def test_an_image_that_cannot_be_read_is_not_made_up(start: Start, listen: Callable[[Bench, str], list[Any]]) -> None:
    bench = start().ready()
    got = listen(bench, "derained/left/image_raw/compressed")
    broken = image_message(WET, ms=50)
    broken.step = 0
    bench.send("left", broken)
    bench.wait_images("left", 1)
    bench.send_pair(100, WET, WET)
    wait_for(lambda: [m for m in got if at_ms(m) == 100], "the next image")
    assert [at_ms(m) for m in got] == [100]


@pytest.mark.parametrize(
    "data",
    [b"\0\0\0\x1cftypheic and so on", cv2.imencode(".jpg", WET)[1].tobytes()[:-9]],
    ids=["another format", "cut off"],
)
def test_what_came_compressed_and_cannot_be_read_goes_on_as_it_came(
    start: Start, listen: Callable[[Bench, str], list[Any]], data: bytes
) -> None:
    bench = start(transport="compressed").ready()
    got = listen(bench, "derained/left/image_raw/compressed")
    bench.send("left", CompressedImage(header=Header(stamp=stamp(50), frame_id="cam"), format="heic", data=data))
    message = wait_for(lambda: list(got), "the image")[0]
    assert (bytes(message.data), message.format, at_ms(message), message.header.frame_id) == (data, "heic", 50, "cam")
    status, values = bench.wait_status(50)["left"]
    assert status.message == "passed_error" and "compressed image 'heic'" in values["detail"]
    counts = bench.counts("left")
    assert (counts["bad_undecodable"], counts["published"], counts["unusable"]) == (1, 1, 0)
    assert not bench.restored("left") and not bench.masks("left"), "there is no image that could be told of"


def test_pixels_that_only_a_header_tells_of_are_not_made(start: Start) -> None:
    bench = start(transport="compressed").ready()
    png = bytearray(cv2.imencode(".png", WET)[1].tobytes())
    png[16:24] = (60000).to_bytes(4, "big") * 2
    bench.send("left", CompressedImage(header=Header(stamp=stamp(50)), format="png", data=bytes(png)))
    counts = wait_for(lambda: bench.counts("left")["unusable"] and bench.counts("left"), "the count")
    assert counts["bad_undecodable"] == 1 and not bench.derain_errors


def test_an_image_too_long_to_be_compressed_goes_out_itself(
    start: Start, capfd: pytest.CaptureFixture[str], listen: Callable[[Bench, str], list[Any]]
) -> None:
    bench = start(cameras=["left"]).ready()
    got = listen(bench, "derained/left/image_raw/compressed")
    line = np.full((1, 66000), 60, np.uint8)
    bench.send("left", image_message(line, ms=50))
    assert bench.wait_images("left", 1)[0].width == 66000
    wait_for(lambda: bench.masks("left"), "its mask")
    bench.send("left", image_message(CLEAN, ms=100))
    wait_for(lambda: got, "the next one, compressed")
    assert at_ms(got[0]) == 100
    assert "an image of 66000x1 cannot be compressed, a JPEG has sides of 65500 at the most" in capfd.readouterr().err
