"""Image messages of a bag to frames, and frames to messages."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from rosbags.typesys.store import Typestore

from derain_ros.frame import Frame
from derain_ros.replay.records import ReplayError

ENCODINGS = {"mono8": ("u1", 1), "8UC1": ("u1", 1), "rgb8": ("u1", 3), "bgr8": ("u1", 3), "mono16": ("<u2", 1)}


def frame_of(message: Any) -> Frame:
    """The frame of an Image or CompressedImage message; ReplayError for one that is broken or of another encoding."""
    stamp = message.header.stamp
    stamp_ns, frame_id = stamp.sec * 1_000_000_000 + stamp.nanosec, message.header.frame_id
    data = np.asarray(message.data, np.uint8)
    if hasattr(message, "format"):
        image = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR) if data.size else None
        if image is None or image.dtype not in (np.uint8, np.uint16) or (image.ndim == 3 and image.dtype != np.uint8):
            raise ReplayError(f"compressed image {message.format!r} is no readable JPEG or PNG")
        encoding = "bgr8" if image.ndim == 3 else "mono8" if image.dtype == np.uint8 else "mono16"
        return Frame(image, encoding, stamp_ns, frame_id)
    name = f"image {message.width}x{message.height} {message.encoding!r}"
    if message.encoding not in ENCODINGS:
        raise ReplayError(f"{name}: the encoding is not one of {', '.join(ENCODINGS)}")
    kind, channels = ENCODINGS[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    row = message.width * channels * dtype.itemsize
    if not (message.height and row) or message.step < row or data.size < message.step * (message.height - 1) + row:
        raise ReplayError(f"{name}: {data.size} bytes in rows of {message.step} are not the whole image")
    shape = (message.height, message.width, channels)[:3 if channels > 1 else 2]
    strides = (message.step, channels * dtype.itemsize, dtype.itemsize)[:len(shape)]
    view: np.ndarray = np.ndarray(shape, dtype, data, 0, strides)
    return Frame(view if dtype.isnative else view.astype(dtype.newbyteorder("=")), message.encoding, stamp_ns, frame_id)


def header_of(types: Typestore, stamp_ns: int, frame_id: str) -> Any:
    """A std_msgs/Header."""
    time = types.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
    return types.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image_of(types: Typestore, frame: Frame) -> Any:
    """The sensor_msgs/Image of a frame, rows without padding."""
    image = np.ascontiguousarray(frame.image)
    return types.types["sensor_msgs/msg/Image"](
        header=header_of(types, frame.stamp_ns, frame.frame_id), height=image.shape[0], width=image.shape[1],
        encoding=frame.encoding, is_bigendian=0, step=image.strides[0], data=image.view(np.uint8).reshape(-1))


def camera_info(types: Typestore, stamp_ns: int, frame_id: str, width: int, height: int, matrix: np.ndarray,
                baseline: float = 0.0) -> Any:
    """The sensor_msgs/CameraInfo of a pinhole camera with this 3x3 matrix, `baseline` metres right of the left one."""
    region = types.types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    projection = np.zeros((3, 4))
    projection[:, :3] = matrix
    projection[0, 3] = -matrix[0, 0] * baseline
    return types.types["sensor_msgs/msg/CameraInfo"](
        header=header_of(types, stamp_ns, frame_id), height=height, width=width, distortion_model="plumb_bob",
        d=np.zeros(5), k=matrix.astype(np.float64).reshape(-1), r=np.eye(3).reshape(-1), p=projection.reshape(-1),
        binning_x=0, binning_y=0, roi=region)
