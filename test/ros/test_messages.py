from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from ros_bench import image_message, stamp
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from derain_ros.ros.messages import header_of, image_of
from derain_ros.runtime.messages import ImageError, frame_of, frame_unread, stamp_ns

RNG = np.random.default_rng(3)


def pixels(encoding: str) -> np.ndarray:
    if encoding == "mono16":
        return RNG.integers(0, 65536, (5, 7), np.uint16)
    return RNG.integers(0, 256, (5, 7, 3) if encoding in ("rgb8", "bgr8") else (5, 7), np.uint8)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "rgb8", "bgr8", "mono16"])
@pytest.mark.parametrize("padding", [0, 3])
def test_a_frame_is_a_view_of_the_message_and_comes_back_as_it_was(encoding: str, padding: int) -> None:
    image = pixels(encoding)
    message = image_message(image, encoding, 1234.5, "left_optical", padding)
    frame = frame_of(message, 99)
    assert np.array_equal(frame.image, image) and frame.image.dtype == image.dtype
    assert (frame.encoding, frame.stamp_ns, frame.frame_id, frame.received_ns) == (encoding, 1_234_500_000,
                                                                                   "left_optical", 99)
    assert frame.message is message and np.shares_memory(frame.image, np.frombuffer(message.data, np.uint8))
    assert header_of(frame) == message.header
    assert image_of(frame.image, encoding, message.header) == image_message(image, encoding, 1234.5, "left_optical")


def test_the_last_row_needs_no_padding() -> None:
    message = image_message(pixels("mono8"), padding=4)
    message.data = message.data[:-4]
    assert frame_of(message).image.shape == (5, 7)


def changed(**fields: object) -> Image:
    message = image_message(pixels("mono8"))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(("message", "reason", "usable"), [
    (changed(height=0), "empty", False), (changed(width=0), "empty", False),
    (changed(data=array.array("B")), "empty", False), (changed(height=6), "truncated", False),
    (changed(step=6), "truncated", False), (changed(step=0), "truncated", False),
    (changed(encoding="mono16"), "truncated", False), (changed(encoding="bgr8"), "truncated", False),
    (changed(encoding="bayer_rggb8"), "unknown_encoding", True), (changed(encoding=""), "unknown_encoding", True),
    (changed(encoding="bayer_rggb8", height=6), "truncated", False),
    (changed(encoding="bayer_rggb8", width=2**32 - 1), "truncated", False),
    (image_message(pixels("mono16"), "mono16"), "big_endian", True)])
def test_what_cannot_be_processed_says_why_and_whether_it_is_whole(message: Image, reason: str, usable: bool) -> None:
    message.is_bigendian = 1
    with pytest.raises(ImageError) as caught:
        frame_of(message)
    assert (caught.value.reason, caught.value.usable) == (reason, usable)
    if usable:
        unread = frame_unread(message, 5)
        assert unread.image.shape == (5, 7) and unread.message is message and unread.received_ns == 5


def test_stamps_are_in_nanoseconds() -> None:
    assert stamp_ns(stamp(2_000_000_000_123.5)) == 2_000_000_000_123_500_000


@pytest.mark.parametrize(("image", "form", "encoding"), [
    (pixels("mono8"), "mono8; png compressed mono8", "mono8"), (pixels("mono16"), "png", "mono16"),
    (pixels("bgr8"), "bgr8; png compressed bgr8", "bgr8"), (pixels("bgr8"), "rgb8; png compressed bgr8", "rgb8")])
def test_compressed_images_are_read(image: np.ndarray, form: str, encoding: str) -> None:
    header = Header(stamp=stamp(7), frame_id="cam")
    frame = frame_of(CompressedImage(header=header, format=form,
                                     data=cv2.imencode(".png", image)[1].tobytes()), 5)
    assert frame.encoding == encoding and frame.message is None and frame.received_ns == 5
    assert np.array_equal(frame.image, image[..., ::-1] if encoding == "rgb8" else image)
    assert header_of(frame) == header


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "empty"), (b"\xff\xd8 no jpeg", "undecodable"),
    (cv2.imencode(".png", np.zeros((4, 4, 3), np.uint16))[1].tobytes(), "undecodable")])
def test_what_cannot_be_decoded_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        frame_of(CompressedImage(format="png", data=data))
    assert (caught.value.reason, caught.value.usable) == (reason, False)
