from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message, serialize_message
from ros_bench import image_message, stamp
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from derain_ros.frame import Frame
from derain_ros.ros.messages import read_compressed, read_image, read_stamp, write_image, write_status
from derain_ros.runtime.input.messages import ImageError, Received, frame_of, frame_unread
from derain_ros.runtime.status import Status

RNG = np.random.default_rng(3)


def pixels(encoding: str) -> np.ndarray:
    if encoding == "mono16":
        return RNG.integers(0, 65536, (5, 7), np.uint16)
    return RNG.integers(0, 256, (5, 7, 3) if encoding in ("rgb8", "bgr8") else (5, 7), np.uint8)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "rgb8", "bgr8", "mono16"])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("frame_id", ["", "l", "le", "lef", "left", "l\u00e4ft"])
def test_a_frame_is_a_view_of_the_message_and_comes_back_as_it_was(encoding: str, padding: int, frame_id: str) -> None:
    image = pixels(encoding)
    message = image_message(image, encoding, 1234.5, frame_id, padding)
    cdr = serialize_message(message)
    frame = frame_of(read_image(cdr), 99)
    assert np.array_equal(frame.image, image) and frame.image.dtype == image.dtype
    assert (frame.encoding, frame.stamp_ns, frame.frame_id) == (encoding, 1_234_500_000, frame_id)
    assert frame.received_ns == 99
    assert frame.message.cdr is cdr and np.shares_memory(frame.image, np.frombuffer(cdr, np.uint8))
    written = deserialize_message(write_image(frame), Image)
    assert written == image_message(image, encoding, 1234.5, frame_id)


@pytest.mark.parametrize("representation", [b"\0\1", b"\0\7"])
def test_both_plain_representations_are_read(representation: bytes) -> None:
    cdr = representation + serialize_message(image_message(pixels("mono8"), frame_id="left"))[2:]
    assert read_image(cdr).header.frame_id == "left"


def test_rows_of_a_part_of_a_picture_are_not_padded() -> None:
    row = np.zeros((4, 96), np.uint8)[:1, :70]
    message = deserialize_message(write_image(Frame(row)), Image)
    assert (message.width, message.step, len(message.data)) == (70, 70, 70)


def test_a_message_that_says_that_it_is_longer_is_told() -> None:
    cdr = bytearray(serialize_message(image_message(pixels("mono8"), frame_id="left")))
    cdr[-39:-35] = (1000).to_bytes(4, "little")
    with pytest.raises(ImageError) as caught:
        read_image(bytes(cdr))
    assert caught.value.reason == "truncated"


def test_what_is_no_utf8_in_a_frame_id_comes_out_as_it_came_in() -> None:
    cdr = serialize_message(image_message(pixels("mono8"), frame_id="ab")).replace(b"ab\0", b"\xffb\0")
    frame = frame_of(read_image(cdr))
    assert b"\xffb\0" in write_image(frame) and "'\\udcffb'" in repr(frame.frame_id)


def swapped(cdr: bytes) -> bytes:
    """The message of an image of frame id "left", as a big-endian machine would write it."""
    out = bytearray(cdr)
    out[1] = 0
    for start in (4, 8, 12, 24, 28, 32, 44, 48):
        out[start : start + 4] = out[start : start + 4][::-1]
    return bytes(out)


def test_messages_of_big_endian_machines_are_read() -> None:
    cdr = serialize_message(image_message(pixels("mono8"), ms=1234.5, frame_id="left"))
    swap, plain = read_image(swapped(cdr)), read_image(cdr)
    assert swap[:-2] == plain[:-2] and bytes(swap.data) == bytes(plain.data) and read_stamp(swap.cdr) == 1_234_500_000
    assert plain.header == ((1, 234_500_000), "left") and (plain.height, plain.width, plain.step) == (5, 7, 7)


@pytest.mark.parametrize("size", [0, 3, 4, 11, 17, 30, 40, 50])
@pytest.mark.parametrize("read", [read_image, read_compressed])
def test_messages_that_are_cut_off_are_told(read: Callable[[bytes], Any], size: int) -> None:
    kind = {
        read_image: image_message(pixels("mono8"), frame_id="left"),
        read_compressed: CompressedImage(header=Header(frame_id="left"), format="jpeg; a long description of it"),
    }
    cdr = serialize_message(kind[read])
    assert len(cdr) > 50
    with pytest.raises(ImageError) as caught:
        frame_of(read(cdr[:size]))
    assert not caught.value.usable and caught.value.reason in ("truncated", "undecodable")


def test_messages_in_another_representation_are_told() -> None:
    cdr = serialize_message(image_message(pixels("mono8")))
    with pytest.raises(ImageError, match="'0003', not in plain CDR"):
        read_image(b"\0\3" + cdr[2:])


def test_statuses_arrive_as_they_are() -> None:
    values = {"k" * n: "v" * (9 - n) for n in range(1, 9)}
    statuses = [Status(level, "left" + "x" * level, "m\u00fcd", "optical", values) for level in range(4)]
    array = deserialize_message(write_status(statuses, -1_500_000_000), DiagnosticArray)
    assert (array.header.stamp.sec, array.header.stamp.nanosec, array.header.frame_id) == (-2, 500_000_000, "")
    assert [
        Status(s.level[0], s.name, s.message, s.hardware_id, {v.key: v.value for v in s.values}) for s in array.status
    ] == statuses


def test_the_last_row_needs_no_padding() -> None:
    message = image_message(pixels("mono8"), padding=4)
    message.data = message.data[:-4]
    assert frame_of(read_image(serialize_message(message))).image.shape == (5, 7)


def changed(**fields: object) -> Image:
    message = image_message(pixels("mono8"))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "reason", "usable"),
    [
        (changed(height=0), "empty", False),
        (changed(width=0), "empty", False),
        (changed(data=array.array("B")), "empty", False),
        (changed(height=6), "truncated", False),
        (changed(step=6), "step", True),
        (changed(step=0), "step", True),
        (changed(encoding="mono16"), "truncated", False),
        (changed(encoding="bgr8"), "truncated", False),
        (changed(encoding="h264"), "unknown_encoding", True),
        (changed(encoding=""), "unknown_encoding", True),
        (changed(encoding="bayer_rggb8", height=6), "truncated", False),
        (changed(encoding="h264", width=2**32 - 1), "empty", False),
        (image_message(pixels("mono16"), "mono16"), "big_endian", True),
    ],
)
def test_what_cannot_be_processed_says_why_and_whether_it_is_whole(message: Image, reason: str, usable: bool) -> None:
    message.is_bigendian = 1
    read = read_image(serialize_message(message))
    with pytest.raises(ImageError) as caught:
        frame_of(read)
    assert (caught.value.reason, caught.value.usable) == (reason, usable)
    if usable:
        unread = frame_unread(read, 5)
        assert unread.image.shape == (5, 7) and unread.message is read and unread.received_ns == 5


@pytest.mark.parametrize("ns", [2_000_000_000_123_500_000, 0, -1])
def test_stamps_are_in_nanoseconds(ns: int) -> None:
    at = Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)
    assert read_stamp(serialize_message(CameraInfo(header=Header(stamp=at)))) == ns


def compressed(**fields: object) -> Received:
    return frame_of(read_compressed(serialize_message(CompressedImage(**fields))), 5)


@pytest.mark.parametrize(
    ("image", "form", "encoding"),
    [
        (pixels("mono8"), "mono8; png compressed mono8", "mono8"),
        (pixels("mono16"), "png", "mono16"),
        (pixels("bgr8"), "bgr8; png compressed bgr8", "bgr8"),
        (pixels("bgr8"), "rgb8; png compressed bgr8", "rgb8"),
    ],
)
def test_compressed_images_are_read(image: np.ndarray, form: str, encoding: str) -> None:
    header = Header(stamp=stamp(7), frame_id="cam")
    frame = compressed(header=header, format=form, data=cv2.imencode(".png", image)[1].tobytes())
    assert frame.encoding == encoding and frame.message is None and frame.received_ns == 5
    assert np.array_equal(frame.image, image[..., ::-1] if encoding == "rgb8" else image)
    assert (frame.stamp_ns, frame.frame_id) == (7_000_000, "cam")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\xff\xd8 no jpeg", "undecodable"),
        (b"\xff\xd8 no jpeg\xff\xd9", "undecodable"),
        (cv2.imencode(".tif", np.zeros((4, 4), np.float32))[1].tobytes(), "undecodable"),
    ],
)
def test_what_cannot_be_decoded_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        compressed(format="png", data=data)
    assert (caught.value.reason, caught.value.usable) == (reason, bool(data)), "what it is others may know"
