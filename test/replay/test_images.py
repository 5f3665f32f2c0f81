"""Frames to the messages of a bag."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from derain_ros.frame import Frame
from derain_ros.replay.images import camera_info, image_of
from derain_ros.runtime.input.messages import frame_of

TYPES = get_typestore(Stores.ROS2_JAZZY)


@pytest.mark.parametrize(
    ("encoding", "shape", "dtype"),
    [
        ("mono8", (4, 6), np.uint8),
        ("8UC1", (4, 6), np.uint8),
        ("rgb8", (4, 6, 3), np.uint8),
        ("bgr8", (4, 6, 3), np.uint8),
        ("mono16", (4, 6), np.uint16),
    ],
)
def test_there_and_back(encoding: str, shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    sent = image_of(TYPES, Frame(image, encoding, 5_000_000_007, "eye"))
    read = TYPES.deserialize_cdr(TYPES.serialize_cdr(sent, "sensor_msgs/msg/Image"), "sensor_msgs/msg/Image")
    frame = frame_of(read)
    np.testing.assert_array_equal(frame.image, image)
    assert (frame.encoding, frame.stamp_ns, frame.frame_id) == (encoding, 5_000_000_007, "eye")


def test_camera_info_of_the_right_eye_has_the_baseline() -> None:
    matrix = np.array([[460.0, 0, 359.5], [0, 460, 269.5], [0, 0, 1]])
    info = camera_info(TYPES, 9, "right", 720, 540, matrix, 0.11)
    assert info.p.reshape(3, 4)[0, 3] == pytest.approx(-460 * 0.11)
    np.testing.assert_array_equal(info.k.reshape(3, 3), matrix)
