"""Between a frame's encoding and the 8-bit grey or RGB that the networks take."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from derain_ros.frame import Frame

PIXELS = {"mono8": ("u1", 1), "8UC1": ("u1", 1), "mono16": ("<u2", 1), "16UC1": ("<u2", 1), "rgb8": ("u1", 3),
          "bgr8": ("u1", 3)}
"""Data type and channels of a pixel, by encoding."""
WIDE = ("mono16", "16UC1")
"""Encodings of 16 bits."""
CHANNELS = {encoding: channels for encoding, (_, channels) in PIXELS.items()}
"""Channels of what the network takes, by encoding."""
HOT_PIXELS = 0.001
"""Largest share of the pixels of a 16-bit image that do not count when it is asked how bright it is."""


class FrameError(ValueError):
    """A frame cannot be worked on; the message says what is wrong with it."""


def check(frame: Frame) -> None:
    """Raise FrameError unless the frame's encoding is known and its image is of that type and shape."""
    if frame.encoding not in PIXELS:
        raise FrameError(f"encoding {frame.encoding!r} is not one of {', '.join(PIXELS)}")
    kind, channels = PIXELS[frame.encoding]
    dtype = np.dtype(kind)
    tail = (3,) if channels == 3 else ()
    image = frame.image
    if not isinstance(image, np.ndarray):
        raise FrameError(f"a frame's image is an array, not {image!r}; was the file read?")
    if image.dtype != dtype or image.ndim != 2 + len(tail) or image.shape[2:] != tail or image.size == 0:
        what = "(height, width" + (", 3)" if tail else ")")
        hint = ("; a colour image is bgr8, as OpenCV reads it, or rgb8"
                if not tail and image.ndim == 3 and image.shape[2] == 3 else "")
        raise FrameError(f"a {frame.encoding} image is {dtype} {what}, not {image.dtype} {image.shape}{hint}")


def to_grey(frame: Frame) -> np.ndarray:
    """The frame as (H, W) uint8 grey; a view of the frame's own image where that is what it holds."""
    if frame.encoding == "rgb8":
        return cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    if frame.encoding == "bgr8":
        return cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
    if frame.encoding in WIDE:
        return np.minimum(frame.image >> _spare_bits(frame), 255).astype(np.uint8)
    return frame.image


def to_network(frame: Frame) -> np.ndarray:
    """The frame as (H, W, 1) grey or (H, W, 3) RGB, uint8; a view of the frame's own image where that is possible."""
    if frame.encoding == "bgr8":
        return cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB)
    if frame.encoding == "rgb8":
        return frame.image
    return to_grey(frame)[..., np.newaxis]


def from_network(restored: np.ndarray, frame: Frame) -> Frame:
    """`frame` with its image replaced by `restored`, which is as `to_network` gives it; size and encoding are kept."""
    if frame.encoding == "bgr8":
        image = cv2.cvtColor(restored, cv2.COLOR_RGB2BGR)
    elif frame.encoding == "rgb8":
        image = np.ascontiguousarray(restored)
    elif frame.encoding in WIDE:
        # The network's change goes to the eight upper bits; those under them are the frame's own, so that a pixel
        # that the network left alone keeps its exact value, be it brighter than the network can see.
        change = (restored[..., 0].astype(np.int32) - to_grey(frame)) << _spare_bits(frame)
        image = np.clip(frame.image + change, 0, 65535).astype(np.uint16)
    else:
        image = np.ascontiguousarray(restored[..., 0])
    return replace(frame, image=image)


def _spare_bits(frame: Frame) -> int:
    """By how many bits a 16-bit frame is wider than eight."""
    return (frame.bits or bits_used(frame.image)) - 8


def bits_used(image: np.ndarray) -> int:
    """How many bits a 16-bit image uses: 8, 10, 12, 14 or 16, however bright a share of HOT_PIXELS of it is."""
    sampled = image[::4, ::4]
    return next((bits for bits in (8, 10, 12, 14)
                 if np.count_nonzero(sampled >> np.uint16(bits)) <= HOT_PIXELS * sampled.size), 16)
