"""Image messages to frames without a copy; a message is any object with the fields of its ROS type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import BGR, LAYOUTS

DECODED = {(values, dtype): encoding for dtype, names in (("uint8", ("mono8", "bgr8", "bgra8")),
                                                          ("uint16", ("mono16", "bgr16", "bgra16")))
           for values, encoding in zip((1, 3, 4), names, strict=True)}
"""What OpenCV decodes, by values of a pixel and their type."""
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
MOST_PIXELS = 1 << 27
"""A message that tells of more is broken: its mask alone would fill the memory."""


class ImageError(ValueError):
    """An image message that cannot be processed.

    `reason` is one of empty, truncated, step, big_endian, odd_size, unknown_encoding and undecodable. `usable` says
    whether the message is whole all the same, to be passed on as it is: others may understand it.
    """

    def __init__(self, reason: str, message: str, usable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.usable = usable


@dataclass(frozen=True, eq=False)
class Received(Frame):
    """A frame with the message it came in: what to publish when the frame is passed on untouched.

    That is `message` where it was an Image, `compressed` where it was a CompressedImage. An image that is not
    `readable` is black here.
    """

    message: Any = None
    compressed: Any = None
    readable: bool = True


def stamp_ns(stamp: Any) -> int:
    """A message's stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def frame_of(message: Any, received_ns: int = 0) -> Received:
    """The frame of a sensor_msgs Image or CompressedImage; ImageError where it cannot be processed."""
    return (_decoded if hasattr(message, "format") else _viewed)(message, received_ns)


def frame_unread(message: Any, received_ns: int = 0) -> Received:
    """A frame of which only the size is looked at, black, to pass on a message that ImageError calls usable."""
    rows = LAYOUTS[message.encoding].rows if message.encoding in LAYOUTS else 2
    image = np.broadcast_to(np.uint8(0), (message.height * rows // 2, message.width))
    return Received(image, message.encoding, stamp_ns(message.header.stamp), message.header.frame_id,
                    received_ns=received_ns, message=message, readable=False)


def _viewed(message: Any, received_ns: int) -> Received:
    """The frame of a raw image: a view of its data, rows padded as `step` says.

    Raises ImageError, whose reason is the first that applies of empty, unknown_encoding, truncated, step,
    big_endian and odd_size.
    """
    name = f"image {message.width}x{message.height} {message.encoding!r} of {message.header.frame_id!r}"
    if not 0 < message.height * message.width <= MOST_PIXELS or not len(message.data):
        raise ImageError("empty", f"{name} with {len(message.data)} bytes is no image")
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        raise ImageError("unknown_encoding", f"{name}: the encoding is not one of {', '.join(LAYOUTS)}", usable=True)
    dtype = np.dtype(layout.dtype)
    rows = message.height * layout.rows // 2
    row = message.width * layout.values * dtype.itemsize
    if len(message.data) < row * rows:
        raise ImageError("truncated", f"{name} has {len(message.data)} bytes, not {row * rows} or more")
    if message.step < row or message.step * (rows - 1) + row > len(message.data):
        raise ImageError("step", f"{name}: its {len(message.data)} bytes are not {rows} rows of step "
                         f"{message.step}; a row has {row} bytes or more", usable=True)
    if message.is_bigendian and dtype.itemsize > 1:
        raise ImageError("big_endian", f"{name}: pixels of more than a byte must be little-endian", usable=True)
    if message.width % layout.even[0] or message.height % layout.even[1]:
        raise ImageError("odd_size", f"{name}: such images have an even number of columns"
                         + (" and rows" if layout.even[1] > 1 else ""), usable=True)
    shape = (rows, message.width, layout.values)[:3 if layout.values > 1 else 2]
    strides = (message.step, layout.values * dtype.itemsize, dtype.itemsize)[:len(shape)]
    image: np.ndarray = np.ndarray(shape, dtype, message.data, 0, strides)
    return Received(image, message.encoding, stamp_ns(message.header.stamp), message.header.frame_id,
                    received_ns=received_ns, message=message)


def _decoded(message: Any, received_ns: int) -> Received:
    """The frame of a JPEG or PNG, in the encoding that `format` names as the original one where it can be that.

    Raises ImageError (empty or undecodable). The orientation that a camera wrote beside the image is not applied: it
    would no longer be of the size that camera_info says.
    """
    name = f"compressed image {message.format!r} of {message.header.frame_id!r}"
    if not len(message.data):
        raise ImageError("empty", f"{name} has no data")
    if is_cut(message.data):
        raise ImageError("undecodable", f"{name} of {len(message.data)} bytes is cut off")
    try:
        image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # a header that tells of more pixels than OpenCV takes
        image = None
    values = 0 if image is None else 1 if image.ndim == 2 else image.shape[2]
    if image is None or (values, str(image.dtype)) not in DECODED:
        raise ImageError("undecodable", f"{name} is no readable JPEG or PNG")
    image, encoding = _as_original(image, DECODED[values, str(image.dtype)], message.format.split(";")[0].strip())
    return Received(image, encoding, stamp_ns(message.header.stamp), message.header.frame_id, received_ns=received_ns,
                    compressed=message)


def _as_original(image: np.ndarray, decoded: str, original: str) -> tuple[np.ndarray, str]:
    """An image that was `decoded` as such an encoding as the `original` one where its values can be that; and which."""
    layout, found = LAYOUTS.get(original), LAYOUTS[decoded]
    if layout is None or (layout.dtype, layout.rows) != (found.dtype, 2):
        return image, decoded
    if layout.values == found.values == 1:
        return image, original
    if layout.order and found.order:
        before, after = (("BGR" if it.order == BGR else "RGB") + "A" * (it.values == 4) for it in (found, layout))
        return image if before == after else cv2.cvtColor(image, getattr(cv2, f"COLOR_{before}2{after}")), original
    return image, decoded


def is_cut(data: Any) -> bool:
    """Whether a JPEG or PNG ends before its image does: not every OpenCV tells.

    A JPEG is searched from its first scan on, as thumbnails before that have ends of their own.
    """
    view = bytes(data)
    if view.startswith(PNG):
        return PNG_END not in view
    if not view.startswith(b"\xff\xd8"):
        return False
    at = 2
    while view[at:at + 1] == b"\xff" and view[at + 1:at + 2] != b"\xda":
        at += 1 if view[at + 1:at + 2] == b"\xff" else 2 + int.from_bytes(view[at + 2:at + 4], "big")
    return b"\xff\xd9" not in view[at:]
