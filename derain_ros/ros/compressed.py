"""Images as image_transport compresses them, for what subscribes to `…/compressed`."""

from __future__ import annotations

import cv2
import numpy as np

from derain_ros.frame import Frame
from derain_ros.ros.messages import write_compressed
from derain_ros.runtime.input.encoding import BGR, LAYOUTS, FrameError, to_network

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
"""As image_transport has it by default."""
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
"""More takes several times as long for little."""
MOST_SIDE = {"jpeg": 65500, "png": 1_000_000}
"""Pixels along a side, as libjpeg and libpng have them."""


def compress(frame: Frame) -> bytes:
    """The serialized sensor_msgs/CompressedImage of a frame.

    Eight bits become JPEG; 16 bits and Bayer patterns, which JPEG would spoil, PNG. FrameError for an image that is
    too long for these.
    """
    layout = LAYOUTS[frame.encoding]
    if layout.dtype == "u1" and not layout.mosaic:
        seen = to_network(frame)
        encoding = frame.encoding if layout.order or layout.channels == 1 else "bgr8"
        form = f"{encoding}; jpeg compressed {'bgr8' if layout.channels == 3 else ''}"
        return _encoded(frame, form, "jpeg", seen[..., ::-1], JPEG)
    image = frame.image
    if layout.order and layout.order != BGR:
        image = np.dstack((image[..., 2::-1], image[..., 3:]))
    packed = f"bgr{'a' * (layout.values == 4)}16" if layout.order else ""
    return _encoded(frame, f"{frame.encoding}; png compressed {packed}", "png", image, PNG)


def _encoded(frame: Frame, form: str, kind: str, image: np.ndarray, options: list[int]) -> bytes:
    height, width = image.shape[:2]
    if max(height, width) > MOST_SIDE[kind]:
        raise FrameError(
            f"an image of {width}x{height} cannot be compressed, a {kind.upper()} has sides of "
            f"{MOST_SIDE[kind]} at the most; subscribe to the image itself"
        )
    data = cv2.imencode(f".{kind}", np.ascontiguousarray(image), options)[1]
    return write_compressed(frame, form, data)
