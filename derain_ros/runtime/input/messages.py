"""Image messages to frames without a copy; a message is any object with the fields of its ROS type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import PIXELS


class ImageError(ValueError):
    """An image message that cannot be processed.

    `reason` is one of empty, truncated, big_endian, unknown_encoding and undecodable. `usable` says whether the message
    is a whole image all the same, to be passed on as it is.
    """

    def __init__(self, reason: str, message: str, usable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.usable = usable


@dataclass(frozen=True, eq=False)
class Received(Frame):
    """A frame with the message it came in; `received_ns` is on the monotonic clock.

    `message` is what to publish when the frame is passed on untouched; None where it came compressed.
    """

    message: Any = None
    received_ns: int = 0


def stamp_ns(stamp: Any) -> int:
    """A message's stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def frame_of(message: Any, received_ns: int = 0) -> Received:
    """The frame of a sensor_msgs Image or CompressedImage; ImageError where it cannot be processed."""
    return (_decoded if hasattr(message, "format") else _viewed)(message, received_ns)


def frame_unread(message: Any, received_ns: int = 0) -> Received:
    """A frame of which only the size is looked at, black, to pass on a message that ImageError calls usable."""
    image = np.broadcast_to(np.uint8(0), (message.height, message.width))
    return Received(image, message.encoding, stamp_ns(message.header.stamp), message.header.frame_id, message=message,
                    received_ns=received_ns)


def _viewed(message: Any, received_ns: int) -> Received:
    """The frame of a raw image: a view of its data, rows padded as `step` says.

    Takes mono8, 8UC1, rgb8, bgr8 and little-endian mono16 or 16UC1; anything else raises ImageError, whose reason is
    the first that applies of empty, truncated, unknown_encoding and big_endian.
    """
    name = f"image {message.width}x{message.height} {message.encoding!r} of {message.header.frame_id!r}"
    if not (message.height and message.width and len(message.data)):
        raise ImageError("empty", f"{name} has no pixels")
    kind, channels = PIXELS.get(message.encoding, ("u1", 1))
    dtype = np.dtype(kind)
    known = message.encoding in PIXELS
    # A pixel of an unknown encoding has at least one bit.
    row = message.width * channels * dtype.itemsize if known else -(-message.width // 8)
    needed = message.step * (message.height - 1) + row
    if message.step < row or len(message.data) < needed:
        raise ImageError("truncated", f"{name} has {len(message.data)} bytes in rows of {message.step}, not "
                         f"{max(needed, row * message.height)} in rows of {row} or more")
    if not known:
        raise ImageError("unknown_encoding", f"{name}: the encoding is not one of {', '.join(PIXELS)}", usable=True)
    if message.is_bigendian and dtype.itemsize > 1:
        raise ImageError("big_endian", f"{name}: pixels of more than a byte must be little-endian", usable=True)
    shape = (message.height, message.width, channels)[:3 if channels > 1 else 2]
    strides = (message.step, channels * dtype.itemsize, dtype.itemsize)[:len(shape)]
    image: np.ndarray = np.ndarray(shape, dtype, message.data, 0, strides)
    return Received(image, message.encoding, stamp_ns(message.header.stamp), message.header.frame_id, message=message,
                    received_ns=received_ns)


def _decoded(message: Any, received_ns: int) -> Received:
    """The frame of a JPEG or PNG: mono8, mono16 or bgr8, or rgb8 where `format` names that as the original encoding.

    Raises ImageError (empty or undecodable).
    """
    name = f"compressed image {message.format!r} of {message.header.frame_id!r}"
    if not len(message.data):
        raise ImageError("empty", f"{name} has no data")
    try:
        image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error:  # a header that tells of more pixels than OpenCV takes
        image = None
    if image is None or (image.ndim == 3 and image.dtype != np.uint8) or image.dtype not in (np.uint8, np.uint16):
        raise ImageError("undecodable", f"{name} is no readable JPEG or PNG of 8 bits a channel, or of 16 in grey")
    encoding = "bgr8" if image.ndim == 3 else "mono8" if image.dtype == np.uint8 else "mono16"
    if encoding == "bgr8" and message.format.startswith("rgb8"):
        image, encoding = cv2.cvtColor(image, cv2.COLOR_BGR2RGB), "rgb8"
    return Received(image, encoding, stamp_ns(message.header.stamp), message.header.frame_id,
                    received_ns=received_ns)
