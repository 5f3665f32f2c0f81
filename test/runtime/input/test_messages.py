"""Messages of any make: nothing here is of ROS."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace as Message

import cv2
import numpy as np
import pytest

from derain_ros.runtime.input.encoding import LAYOUTS, check, size_of
from derain_ros.runtime.input.messages import ImageError, frame_of, frame_unread, stated_size

HEADER = Message(stamp=Message(sec=5, nanosec=7), frame_id="eye")


def image(**fields: object) -> Message:
    return Message(
        **{
            "header": HEADER,
            "height": 2,
            "width": 3,
            "encoding": "mono8",
            "is_bigendian": 0,
            "step": 3,
            "data": np.arange(6, dtype=np.uint8),
            **fields,
        }
    )


@pytest.mark.parametrize("encoding", LAYOUTS)
def test_every_known_encoding_is_viewed_in_place(encoding: str) -> None:
    layout = LAYOUTS[encoding]
    rows, row = 4 * layout.rows // 2, 6 * layout.values * np.dtype(layout.dtype).itemsize
    step = row + 2
    message = image(
        height=4, width=6, encoding=encoding, step=step, data=np.arange(rows * step, dtype=np.uint16).astype(np.uint8)
    )
    frame = frame_of(message, 9)
    check(frame)
    pixels = message.data.reshape(rows, step)[:, :-2]
    assert np.array_equal(np.ascontiguousarray(frame.image).view(np.uint8).reshape(rows, -1), pixels)
    assert np.shares_memory(frame.image, message.data) and frame.message is message
    assert (frame.encoding, frame.stamp_ns, frame.frame_id, frame.received_ns) == (encoding, 5_000_000_007, "eye", 9)


@pytest.mark.parametrize(
    ("fields", "reason", "usable"),
    [
        ({"height": 0}, "empty", False),
        ({"data": np.zeros(0, np.uint8)}, "empty", False),
        ({"height": 1 << 16, "width": 1 << 16, "encoding": "h264"}, "empty", False),
        ({"data": np.zeros(5, np.uint8)}, "truncated", False),
        ({"encoding": "nv12", "width": 2, "step": 2, "data": np.zeros(5, np.uint8)}, "truncated", False),
        ({"step": 0}, "step", True),
        ({"step": 2}, "step", True),
        ({"step": 4}, "step", True),
        ({"encoding": "bgr8", "step": 3, "data": np.zeros(18, np.uint8)}, "step", True),
        ({"encoding": "nv24"}, "unknown_encoding", True),
        ({"encoding": "h264", "step": 0}, "unknown_encoding", True),
        ({"encoding": "h264", "height": 1080, "width": 1920}, "unknown_encoding", True),
        ({"encoding": "yuyv", "step": 6, "data": np.zeros(12, np.uint8)}, "odd_size", True),
        ({"encoding": "nv12", "height": 3, "width": 2, "data": np.zeros(99, np.uint8)}, "odd_size", True),
        ({"encoding": "mono16", "is_bigendian": 1, "step": 6, "data": np.zeros(12, np.uint8)}, "big_endian", True),
    ],
)
def test_what_cannot_be_processed_says_why(fields: dict[str, object], reason: str, usable: bool) -> None:
    message = image(**fields)
    with pytest.raises(ImageError) as caught:
        frame_of(message)
    assert (caught.value.reason, caught.value.usable) == (reason, usable)
    if usable:
        frame = frame_unread(message, 9)
        assert size_of(frame) == (message.height, message.width) or reason == "odd_size"
        assert frame.message is message and frame.received_ns == 9


RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)
SIXTEEN = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000


@pytest.mark.parametrize(
    ("form", "pixels", "encoding", "wanted"),
    [
        ("rgb8; png compressed bgr8", RED[..., ::-1], "rgb8", RED),
        ("png", RED[..., ::-1], "bgr8", RED[..., ::-1]),
        ("bgr8; png compressed bgr8", RED[..., ::-1], "bgr8", RED[..., ::-1]),
        ("8UC3; png compressed ", RED[..., ::-1], "8UC3", RED[..., ::-1]),
        ("bgra8; png compressed bgr8", RED[..., ::-1], "bgra8", np.insert(RED[..., ::-1], 3, 255, 2)),
        ("rgba8; png compressed ", np.insert(RED[..., ::-1], 3, 7, 2), "rgba8", np.insert(RED, 3, 7, 2)),
        ("rgb8; png compressed ", np.insert(RED[..., ::-1], 3, 7, 2), "rgb8", RED),
        ("png", np.insert(RED[..., ::-1], 3, 7, 2), "bgra8", np.insert(RED[..., ::-1], 3, 7, 2)),
        ("bayer_rggb8; png compressed ", RED[..., 0], "bayer_rggb8", RED[..., 0]),
        ("bayer_rggb8; png compressed bgr8", RED[..., ::-1], "bgr8", RED[..., ::-1]),
        ("mono8; png compressed ", RED[..., 0], "mono8", RED[..., 0]),
        ("8UC1;png compressed", RED[..., 0], "8UC1", RED[..., 0]),
        ("16UC1; png compressed ", SIXTEEN, "16UC1", SIXTEEN),
        ("png", SIXTEEN, "mono16", SIXTEEN),
        ("bayer_gbrg16; png compressed ", SIXTEEN, "bayer_gbrg16", SIXTEEN),
        ("mono16; png compressed ", RED[..., 0], "mono8", RED[..., 0]),
        ("yuv422_yuy2; png compressed bgr8", RED[..., ::-1], "bgr8", RED[..., ::-1]),
        ("nv12; png compressed ", RED[..., 0], "mono8", RED[..., 0]),
        (
            "rgb16; png compressed bgr16",
            np.dstack([SIXTEEN, SIXTEEN // 2, SIXTEEN // 3]),
            "rgb16",
            np.dstack([SIXTEEN // 3, SIXTEEN // 2, SIXTEEN]),
        ),
    ],
)
def test_the_whole_format_of_a_compressed_image_is_believed(
    form: str, pixels: np.ndarray, encoding: str, wanted: np.ndarray
) -> None:
    frame = frame_of(Message(header=HEADER, format=form, data=cv2.imencode(".png", pixels)[1].ravel()), 9)
    check(frame)
    assert frame.encoding == encoding and np.array_equal(frame.image, wanted)
    assert frame.message is None and (frame.received_ns, frame.frame_id) == (9, "eye")


@pytest.mark.parametrize(
    ("sec", "nanosec", "wanted"),
    [(-5, 7, -4_999_999_993), (2**31 - 1, 999_999_999, 2**31 * 10**9 - 1), (2**31 - 1, 2**32 - 1, 2**31 * 10**9 - 1)],
)
def test_stamps_can_be_written_again(sec: int, nanosec: int, wanted: int) -> None:
    frame = frame_of(image(header=Message(stamp=Message(sec=sec, nanosec=nanosec), frame_id="")))
    assert frame.stamp_ns == wanted and -(1 << 31) <= frame.stamp_ns // 10**9 < 1 << 31


def jpeg(orientation: int = 0, thumbnail: bytes = b"") -> bytes:
    """A JPEG twice as wide as high, with what a camera writes of its orientation, or a thumbnail beside."""
    data = cv2.imencode(".jpg", cv2.resize(RED, (64, 32)))[1].tobytes()
    if not orientation and not thumbnail:
        return data
    entry = b"\x12\x01\x03\0\x01\0\0\0" + bytes((orientation, 0, 0, 0))
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0" + thumbnail
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_image_is_not_turned_away_from_its_camera_info(orientation: int) -> None:
    frame = frame_of(Message(header=HEADER, format="jpeg", data=jpeg(orientation)))
    assert np.array_equal(frame.image, frame_of(Message(header=HEADER, format="jpeg", data=jpeg())).image)
    assert frame.image.shape == (32, 64, 3)


@pytest.mark.parametrize(
    "data", [jpeg(), jpeg(1, jpeg()), cv2.imencode(".png", SIXTEEN)[1].tobytes()], ids=["jpeg", "thumbnail", "png"]
)
def test_a_compressed_image_that_is_cut_off_is_told(data: bytes) -> None:
    whole = Message(header=HEADER, format="", data=data + b"\0\0")
    assert frame_of(whole).image.size, "what follows the image does no harm"
    for size in (len(data) - 2, len(data) - 20, len(data) // 2 + 100 if len(data) > 400 else len(data) // 2):
        with pytest.raises(ImageError, match="is cut off") as caught:
            frame_of(Message(header=HEADER, format="", data=data[:size]))
        assert caught.value.reason == "undecodable"


def test_a_compressed_image_of_too_many_pixels_is_told_and_held_back() -> None:
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16), np.uint8))[1].tobytes())
    size = data.find(b"\xff\xc0") + 5
    data[size : size + 4] = (65000).to_bytes(2, "big") * 2
    with pytest.raises(ImageError, match="'jpeg' of 'eye' .* states 65000x65000 pixels") as caught:
        frame_of(Message(header=HEADER, format="jpeg", data=bytes(data)))
    assert caught.value.reason == "undecodable" and not caught.value.usable


@pytest.mark.parametrize(
    "data",
    [jpeg()[:-20], b"\0\0\0\x1cftypheic", cv2.imencode(".tif", np.zeros((8, 8), np.float32))[1].tobytes()],
    ids=["cut off", "heic", "float"],
)
def test_a_compressed_image_that_others_may_read_goes_on_without_pixels(data: bytes) -> None:
    message = Message(header=HEADER, format="", data=data)
    with pytest.raises(ImageError) as caught:
        frame_of(message)
    assert caught.value.reason == "undecodable" and caught.value.usable
    frame = frame_unread(message, 9)
    assert (size_of(frame), frame.compressed, frame.message, frame.readable) == ((0, 0), message, None, False)


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_rows_of_colours_may_count_as_height(encoding: str) -> None:
    data = np.arange(54, dtype=np.uint8)
    frame = frame_of(image(encoding=encoding, height=9, width=6, step=6, data=data))
    check(frame)
    assert size_of(frame) == (6, 6) and np.array_equal(frame.image, data.reshape(9, 6))
    assert stated_size(frame) == (9, 6), "it goes out as it came"
    assert stated_size(replace(frame, encoding="mono8", image=frame.image[:6])) == (6, 6)
    with pytest.raises(ImageError) as caught:
        frame_of(image(encoding=encoding, height=9, width=6, step=6, data=data[:-1]))
    assert caught.value.reason == "truncated"


def test_ros_is_not_needed() -> None:
    code = (
        "import sys; import derain_ros.runtime.input.messages, derain_ros.runtime.status; "
        "sys.exit(bool({'rclpy', 'sensor_msgs', 'diagnostic_msgs'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
