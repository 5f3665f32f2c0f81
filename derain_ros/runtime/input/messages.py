"""Makes frames of image messages, without a copy. A message is any object with the fields of its ROS type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import BGR, LAYOUTS, size_of
from derain_ros.runtime.input.stored import MOST_PIXELS, StoredError, decode

DECODED = {
    (values, dtype): encoding
    for dtype, names in (("uint8", ("mono8", "bgr8", "bgra8")), ("uint16", ("mono16", "bgr16", "bgra16")))
    for values, encoding in zip((1, 3, 4), names, strict=True)
}
"""Encodings of what OpenCV decodes, by the number of a pixel's values and their type."""
LAST_STAMP_NS = (1 << 31) * 1_000_000_000 - 1
"""The last valid stamp, in 2038. Only a message with a billion nanoseconds or more could state a later one."""


class ImageError(ValueError):
    """An image message that cannot be processed.

    `reason` is one of empty, truncated, step, big_endian, odd_size, unknown_encoding and undecodable. `usable` says
    whether the message should still be passed on unchanged: other nodes may understand it.
    """

    def __init__(self, reason: str, message: str, usable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.usable = usable


@dataclass(frozen=True, eq=False)
class Received(Frame):
    """A frame with the message that it came in, which is published where the frame is passed on.

    That is `message` for an Image and `compressed` for a CompressedImage. An image that is not `readable` is black
    here, or has no pixels.
    """

    message: Any = None
    compressed: Any = None
    readable: bool = True


def stamp_ns(stamp: Any) -> int:
    """A message's stamp in nanoseconds, at most LAST_STAMP_NS."""
    return min(int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec), LAST_STAMP_NS)


def frame_of(message: Any, received_ns: int = 0) -> Received:
    """The frame of a sensor_msgs Image or CompressedImage; ImageError where it cannot be processed."""
    return (_decoded if hasattr(message, "format") else _viewed)(message, received_ns)


def stated_size(frame: Frame) -> tuple[int, int]:
    """Height and width as a message of the frame states them. Those of the message that it came in may count rows of
    colours."""
    message = frame.message if isinstance(frame, Received) else None
    if message is None or message.encoding != frame.encoding:
        return size_of(frame)
    return message.height, message.width


def frame_unread(message: Any, received_ns: int = 0) -> Received:
    """A black frame of the message's size, whose pixels are not read. It serves to pass on a message that ImageError
    calls usable. For a CompressedImage it has no pixels."""
    if hasattr(message, "format"):
        return Received(
            np.zeros((0, 0), np.uint8),
            "",
            stamp_ns(message.header.stamp),
            message.header.frame_id,
            received_ns=received_ns,
            compressed=message,
            readable=False,
        )
    rows = LAYOUTS[message.encoding].rows if message.encoding in LAYOUTS else 2
    image = np.broadcast_to(np.uint8(0), (message.height * rows // 2, message.width))
    return Received(
        image,
        message.encoding,
        stamp_ns(message.header.stamp),
        message.header.frame_id,
        received_ns=received_ns,
        message=message,
        readable=False,
    )


def _viewed(message: Any, received_ns: int) -> Received:
    """The frame of a raw image: a view of its data, whose rows are padded as `step` says.

    Raises ImageError with the first reason that applies of empty, unknown_encoding, truncated, step, big_endian and
    odd_size.
    """
    name = f"image {message.width}x{message.height} {message.encoding!r} of {message.header.frame_id!r}"
    if not 0 < message.height * message.width <= MOST_PIXELS or not len(message.data):
        raise ImageError("empty", f"{name} with {len(message.data)} bytes is no image")
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        raise ImageError("unknown_encoding", f"{name}: the encoding is not one of {', '.join(LAYOUTS)}", usable=True)
    dtype = np.dtype(layout.dtype)
    height = message.height
    if layout.rows == 3 and height % 3 == 0 and len(message.data) == message.step * height:
        height = height * 2 // 3  # Some drivers also count the rows of colours.
    rows = height * layout.rows // 2
    row = message.width * layout.values * dtype.itemsize
    if len(message.data) < row * rows:
        raise ImageError("truncated", f"{name} has {len(message.data)} bytes, not {row * rows} or more")
    if message.step < row or message.step * (rows - 1) + row > len(message.data):
        raise ImageError(
            "step",
            f"{name}: its {len(message.data)} bytes are not {rows} rows of step "
            f"{message.step}; a row has {row} bytes or more",
            usable=True,
        )
    if message.is_bigendian and dtype.itemsize > 1:
        raise ImageError("big_endian", f"{name}: pixels of more than a byte must be little-endian", usable=True)
    if message.width % layout.even[0] or height % layout.even[1]:
        raise ImageError(
            "odd_size",
            f"{name}: such images have an even number of columns" + (" and rows" if layout.even[1] > 1 else ""),
            usable=True,
        )
    shape = (rows, message.width, layout.values)[: 3 if layout.values > 1 else 2]
    strides = (message.step, layout.values * dtype.itemsize, dtype.itemsize)[: len(shape)]
    image: np.ndarray = np.ndarray(shape, dtype, message.data, 0, strides)
    return Received(
        image,
        message.encoding,
        stamp_ns(message.header.stamp),
        message.header.frame_id,
        received_ns=received_ns,
        message=message,
    )


def _decoded(message: Any, received_ns: int) -> Received:
    """The frame of a compressed image, in the original encoding that `format` names where its values allow that.

    Raises ImageError (empty or undecodable). The orientation in EXIF data is not applied: the image would no longer
    have the size that camera_info states.
    """
    name = f"compressed image {message.format!r} of {message.header.frame_id!r} with {len(message.data)} bytes"
    if not len(message.data):
        raise ImageError("empty", f"{name} is empty")
    try:
        image = decode(bytes(message.data))
    except StoredError as error:
        raise ImageError("undecodable", f"{name} {error}", usable=not error.too_large) from error
    values = 1 if image.ndim == 2 else image.shape[2]
    if (values, str(image.dtype)) not in DECODED:
        raise ImageError("undecodable", f"{name} holds {image.dtype} of shape {image.shape}", usable=True)
    image, encoding = _as_original(image, DECODED[values, str(image.dtype)], message.format.split(";")[0].strip())
    return Received(
        image,
        encoding,
        stamp_ns(message.header.stamp),
        message.header.frame_id,
        received_ns=received_ns,
        compressed=message,
    )


def _as_original(image: np.ndarray, decoded: str, original: str) -> tuple[np.ndarray, str]:
    """An image in the encoding `decoded`, converted to `original` where its values allow that; and its encoding."""
    layout, found = LAYOUTS.get(original), LAYOUTS[decoded]
    if layout is None or (layout.dtype, layout.rows) != (found.dtype, 2):
        return image, decoded
    if layout.values == found.values == 1:
        return image, original
    if layout.order and found.order:
        before, after = (("BGR" if it.order == BGR else "RGB") + "A" * (it.values == 4) for it in (found, layout))
        return image if before == after else cv2.cvtColor(image, getattr(cv2, f"COLOR_{before}2{after}")), original
    return image, decoded
