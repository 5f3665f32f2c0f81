"""Frames to ROS messages."""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from derain_ros.frame import Frame


def image_of(image: np.ndarray, encoding: str, header: Header) -> Image:
    """The message of an image (H, W) or (H, W, 3), uint8 or uint16, without row padding."""
    message = Image(header=header, height=image.shape[0], width=image.shape[1], encoding=encoding)
    message.step = image.shape[1] * image.itemsize * (image.shape[2] if image.ndim == 3 else 1)
    # An array.array is taken as it is; anything else is checked byte by byte, which takes 20 ms an image.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(image).view(np.uint8))  # type: ignore[arg-type]
    message.data = data
    return message


def header_of(frame: Frame) -> Header:
    """The header with a frame's stamp and frame id."""
    return Header(stamp=Time(sec=frame.stamp_ns // 1_000_000_000, nanosec=frame.stamp_ns % 1_000_000_000),
                  frame_id=frame.frame_id)
