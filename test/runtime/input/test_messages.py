"""Messages of any make: nothing here is of ROS."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace as Message

import cv2
import numpy as np
import pytest

from derain_ros.runtime.input.encoding import PIXELS, check
from derain_ros.runtime.input.messages import ImageError, frame_of, frame_unread

HEADER = Message(stamp=Message(sec=5, nanosec=7), frame_id="eye")


def image(**fields: object) -> Message:
    return Message(**{"header": HEADER, "height": 2, "width": 3, "encoding": "mono8", "is_bigendian": 0, "step": 3,
                      "data": np.arange(6, dtype=np.uint8), **fields})


@pytest.mark.parametrize("encoding", PIXELS)
def test_every_known_encoding_is_viewed_in_place(encoding: str) -> None:
    kind, channels = PIXELS[encoding]
    step = 3 * channels * np.dtype(kind).itemsize + 2
    message = image(encoding=encoding, step=step, data=np.arange(2 * step, dtype=np.uint8))
    frame = frame_of(message, 9)
    check(frame)
    rows = message.data.reshape(2, step)[:, :-2]
    assert np.array_equal(np.ascontiguousarray(frame.image).view(np.uint8).reshape(2, -1), rows)
    assert np.shares_memory(frame.image, message.data) and frame.message is message
    assert (frame.encoding, frame.stamp_ns, frame.frame_id, frame.received_ns) == (encoding, 5_000_000_007, "eye", 9)


@pytest.mark.parametrize(("fields", "reason", "usable"), [
    ({"height": 0}, "empty", False), ({"data": np.zeros(5, np.uint8)}, "truncated", False),
    ({"step": 2}, "truncated", False), ({"encoding": "yuv422"}, "unknown_encoding", True),
    ({"encoding": "mono16", "is_bigendian": 1, "step": 6, "data": np.zeros(12, np.uint8)}, "big_endian", True)])
def test_what_cannot_be_processed_says_why(fields: dict[str, object], reason: str, usable: bool) -> None:
    message = image(**fields)
    with pytest.raises(ImageError) as caught:
        frame_of(message)
    assert (caught.value.reason, caught.value.usable) == (reason, usable)
    if usable:
        assert frame_unread(message).image.shape == (2, 3) and frame_unread(message).message is message


def test_compressed_colours_come_in_the_order_they_had() -> None:
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    data = cv2.imencode(".png", red[..., ::-1])[1].ravel()
    frame = frame_of(Message(header=HEADER, format="rgb8; png compressed bgr8", data=data))
    assert frame.encoding == "rgb8" and np.array_equal(frame.image, red) and frame.message is None
    assert frame_of(Message(header=HEADER, format="png", data=data)).encoding == "bgr8"


def test_a_compressed_image_whose_header_is_damaged_is_told() -> None:
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16), np.uint8))[1].tobytes())
    size = data.find(b"\xff\xc0") + 5
    data[size:size + 4] = (65000).to_bytes(2, "big") * 2  # more pixels than OpenCV takes
    with pytest.raises(ImageError, match="no readable JPEG") as caught:
        frame_of(Message(header=HEADER, format="jpeg", data=bytes(data)))
    assert caught.value.reason == "undecodable" and not caught.value.usable


def test_ros_is_not_needed() -> None:
    code = ("import sys; import derain_ros.runtime.input.messages, derain_ros.runtime.status; "
            "sys.exit(bool({'rclpy', 'sensor_msgs', 'diagnostic_msgs'} & set(sys.modules)))")
    subprocess.run([sys.executable, "-c", code], check=True)
