"""Converts frames to messages of a bag."""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.typesys.store import Typestore

from derain_ros.frame import Frame
from derain_ros.runtime.input.messages import stated_size


def header_of(types: Typestore, stamp_ns: int, frame_id: str) -> Any:
    """Make a std_msgs/Header."""
    time = types.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
    return types.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image_of(types: Typestore, frame: Frame) -> Any:
    """Make the sensor_msgs/Image of a frame, rows without padding."""
    image = np.ascontiguousarray(frame.image)
    height, width = stated_size(frame)
    return types.types["sensor_msgs/msg/Image"](
        header=header_of(types, frame.stamp_ns, frame.frame_id),
        height=height,
        width=width,
        encoding=frame.encoding,
        is_bigendian=0,
        step=image.strides[0],
        data=image.view(np.uint8).reshape(-1),
    )


def camera_info(
    types: Typestore, stamp_ns: int, frame_id: str, width: int, height: int, matrix: np.ndarray, baseline: float = 0.0
) -> Any:
    """Make the sensor_msgs/CameraInfo of a pinhole camera with this 3x3 `matrix`.

    The camera is `baseline` metres to the right of the left one.
    """
    region = types.types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    projection = np.zeros((3, 4))
    projection[:, :3] = matrix
    projection[0, 3] = -matrix[0, 0] * baseline
    return types.types["sensor_msgs/msg/CameraInfo"](
        header=header_of(types, stamp_ns, frame_id),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=matrix.astype(np.float64).reshape(-1),
        r=np.eye(3).reshape(-1),
        p=projection.reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=region,
    )
