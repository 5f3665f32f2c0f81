"""Image messages of a bag to frames and back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from derain_ros.frame import Frame
from derain_ros.replay.images import camera_info, frame_of, header_of, image_of
from derain_ros.replay.records import ReplayError

TYPES = get_typestore(Stores.ROS2_JAZZY)
IMAGE = TYPES.types["sensor_msgs/msg/Image"]


def message(**fields: object) -> object:
    values = {"header": header_of(TYPES, 7, "eye"), "height": 2, "width": 3, "encoding": "mono8", "is_bigendian": 0,
              "step": 3, "data": np.arange(6, dtype=np.uint8)}
    return IMAGE(**{**values, **fields})


@pytest.mark.parametrize(("encoding", "shape", "dtype"), [
    ("mono8", (4, 6), np.uint8), ("8UC1", (4, 6), np.uint8), ("rgb8", (4, 6, 3), np.uint8),
    ("bgr8", (4, 6, 3), np.uint8), ("mono16", (4, 6), np.uint16)])
def test_there_and_back(encoding: str, shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    sent = image_of(TYPES, Frame(image, encoding, 5_000_000_007, "eye"))
    read = TYPES.deserialize_cdr(TYPES.serialize_cdr(sent, "sensor_msgs/msg/Image"), "sensor_msgs/msg/Image")
    frame = frame_of(read)
    np.testing.assert_array_equal(frame.image, image)
    assert (frame.encoding, frame.stamp_ns, frame.frame_id) == (encoding, 5_000_000_007, "eye")


def test_padded_rows() -> None:
    data = np.array([1, 2, 3, 99, 4, 5, 6], np.uint8)  # the last row needs no padding
    np.testing.assert_array_equal(frame_of(message(step=4, data=data)).image, [[1, 2, 3], [4, 5, 6]])


def test_big_endian() -> None:
    data = np.array([1, 500, 3, 4, 5, 60000], ">u2").view(np.uint8)
    frame = frame_of(message(encoding="mono16", is_bigendian=1, step=6, data=data))
    np.testing.assert_array_equal(frame.image, [[1, 500, 3], [4, 5, 60000]])
    assert frame.image.dtype.isnative


@pytest.mark.parametrize(("fields", "says"), [
    ({"data": np.zeros(5, np.uint8)}, "5 bytes"), ({"step": 2}, "rows of 2"), ({"height": 0}, "3x0"),
    ({"encoding": "32FC1"}, "32FC1")])
def test_broken_images_are_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        frame_of(message(**fields))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_compressed(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    kind = TYPES.types["sensor_msgs/msg/CompressedImage"]
    packed = cv2.imencode(".png", image)[1].ravel()
    frame = frame_of(kind(header=header_of(TYPES, 7, "eye"), format="png", data=packed))
    np.testing.assert_array_equal(frame.image, image)
    assert frame.encoding == ("mono8" if len(shape) == 2 else "bgr8")
    for broken in (packed[:40], packed[:0]):
        with pytest.raises(ReplayError, match="PNG"):
            frame_of(kind(header=header_of(TYPES, 7, "eye"), format="png", data=broken))


def test_camera_info_of_the_right_eye_has_the_baseline() -> None:
    matrix = np.array([[460.0, 0, 359.5], [0, 460, 269.5], [0, 0, 1]])
    info = camera_info(TYPES, 9, "right", 720, 540, matrix, 0.11)
    assert info.p.reshape(3, 4)[0, 3] == pytest.approx(-460 * 0.11)
    np.testing.assert_array_equal(info.k.reshape(3, 3), matrix)
