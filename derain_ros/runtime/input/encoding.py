"""Converts between a frame's encoding and the 8-bit grey or RGB that the networks take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from derain_ros.frame import Frame
from derain_ros.runtime.input.levels import Levels, LevelsOfCamera, levels_of, seen_at, step_of

RGB, BGR = (0, 1, 2), (2, 1, 0)
"""Positions of red, green and blue among a pixel's values."""
TO_YUV = np.array(((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214)), np.float32) / 255
"""RGB to YUV of studio range, the one that cameras send (ITU-R BT.601)."""


class FrameError(ValueError):
    """A frame cannot be processed; the message says what is wrong with it."""


@dataclass(frozen=True)
class Layout:
    """How an image is stored in the array of its frame.

    `dtype` and `values` are the type and the number of the values of one pixel. `rows` is the number of array rows for
    two image rows. `channels` is the number of channels that the network gets. `order` has the positions of red, green
    and blue in a colour image. `mosaic` has the colours of the two-by-two cells of a Bayer image, row by row. `to_rgb`
    is OpenCV's code that converts a Bayer or YUV image to RGB. Columns and rows must be multiples of `even`.
    """

    dtype: str = "u1"
    values: int = 1
    channels: int = 3
    rows: int = 2
    order: tuple[int, ...] = ()
    mosaic: tuple[int, ...] = ()
    to_rgb: int = -1
    even: tuple[int, int] = (1, 1)


def _layouts() -> dict[str, Layout]:
    found = {
        "mono8": Layout(channels=1),
        "8UC1": Layout(channels=1),
        "mono16": Layout("<u2", channels=1),
        "16UC1": Layout("<u2", channels=1),
        "8UC3": Layout(values=3, order=BGR),
        "8UC4": Layout(values=4, order=BGR),
        "16UC3": Layout("<u2", 3, order=BGR),
    }
    for bits, dtype in ((8, "u1"), (16, "<u2")):
        for name, order in (("rgb", RGB), ("bgr", BGR)):
            found[f"{name}{bits}"] = Layout(dtype, 3, order=order)
            found[f"{name}a{bits}"] = Layout(dtype, 4, order=order)
        # OpenCV names a mosaic by its second row.
        for name, to_rgb in (
            ("rggb", cv2.COLOR_BayerBG2RGB),
            ("bggr", cv2.COLOR_BayerRG2RGB),
            ("gbrg", cv2.COLOR_BayerGR2RGB),
            ("grbg", cv2.COLOR_BayerGB2RGB),
        ):
            found[f"bayer_{name}{bits}"] = Layout(dtype, mosaic=tuple("rgb".index(c) for c in name), to_rgb=to_rgb)
    for name in ("yuv422", "uyvy"):
        found[name] = Layout(values=2, to_rgb=cv2.COLOR_YUV2RGB_UYVY, even=(2, 1))
    for name in ("yuv422_yuy2", "yuyv"):
        found[name] = Layout(values=2, to_rgb=cv2.COLOR_YUV2RGB_YUY2, even=(2, 1))
    found["nv12"] = Layout(rows=3, to_rgb=cv2.COLOR_YUV2RGB_NV12, even=(2, 2))
    found["nv21"] = Layout(rows=3, to_rgb=cv2.COLOR_YUV2RGB_NV21, even=(2, 2))
    return found


LAYOUTS = _layouts()
"""Layouts by ROS's name of the encoding (sensor_msgs/image_encodings.hpp; nv12 as drivers write it)."""


def size_of(frame: Frame) -> tuple[int, int]:
    """Height and width of what a frame shows; (0, 0) for a frame without an image."""
    shape: tuple[int, ...] = getattr(frame.image, "shape", ())
    height, width, *_ = (*shape, 0, 0)
    layout = LAYOUTS.get(frame.encoding)
    return (height if layout is None else height * 2 // layout.rows), width


def check(frame: Frame) -> None:
    """Raise FrameError unless the frame's encoding is known and its image has the type and shape of that encoding."""
    layout = LAYOUTS.get(frame.encoding)
    if layout is None:
        raise FrameError(f"encoding {frame.encoding!r} is not one of {', '.join(LAYOUTS)}")
    dtype = np.dtype(layout.dtype)
    tail = (layout.values,) if layout.values > 1 else ()
    image = frame.image
    if not isinstance(image, np.ndarray):
        raise FrameError(f"a frame's image is an array, not {image!r}; was the file read?")
    if image.dtype != dtype or image.ndim != 2 + len(tail) or image.shape[2:] != tail or image.size == 0:
        what = "(height, width" + (f", {layout.values})" if tail else ")")
        hint = (
            "; a colour image is bgr8, as OpenCV reads it, or rgb8"
            if not tail and image.ndim == 3 and image.shape[2] == 3
            else ""
        )
        raise FrameError(f"a {frame.encoding} image is {dtype} {what}, not {image.dtype} {image.shape}{hint}")
    height, width = size_of(frame)
    if height * layout.rows != 2 * image.shape[0] or width % layout.even[0] or height % layout.even[1]:
        raise FrameError(
            f"a {frame.encoding} image has an even number of columns"
            + (" and rows, and half as many rows of colours below them" if layout.even[1] > 1 else "")
            + f", not the shape {image.shape}"
        )


def leveled(frame: Frame, levels: LevelsOfCamera, now_ns: int) -> Frame:
    """A 16-bit frame with the current levels of its camera; any other frame unchanged. `now_ns` must only rise.
    FrameError for a malformed frame."""
    check(frame)
    eight_bits = LAYOUTS[frame.encoding].dtype == "u1"
    return frame if eight_bits else replace(frame, levels=levels.follow(frame.image, now_ns))


def to_grey(frame: Frame) -> np.ndarray:
    """The frame as (H, W) uint8 grey; a view of the frame's own image where that is 8-bit grey."""
    if LAYOUTS[frame.encoding].channels == 1:
        return _eight_bits(frame)
    return cv2.cvtColor(to_network(frame), cv2.COLOR_RGB2GRAY)


def to_network(frame: Frame) -> np.ndarray:
    """The frame as (H, W, 1) grey or (H, W, 3) RGB, uint8; a view of the frame's own image where that is possible."""
    layout = LAYOUTS[frame.encoding]
    image = _eight_bits(frame)
    if layout.channels == 1:
        return image[..., np.newaxis]
    if layout.to_rgb >= 0:
        return cv2.cvtColor(np.ascontiguousarray(image), layout.to_rgb)
    if layout.order == BGR:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if layout.values == 3 else cv2.COLOR_BGRA2RGB)
    return image if layout.values == 3 else cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)


def from_network(restored: np.ndarray, frame: Frame) -> Frame:
    """`frame` with its image replaced by `restored`, which has the form that `to_network` gives. Size, encoding and
    alpha are kept.

    Networks do not see all that 16-bit, Bayer and YUV images hold. For these, only the change that the networks made is
    added to the image: what they left alone keeps its exact bytes.
    """
    layout = LAYOUTS[frame.encoding]
    if layout.dtype == "u1" and layout.channels == 1:
        return replace(frame, image=np.ascontiguousarray(restored[..., 0]))
    if layout.dtype == "u1" and layout.order:
        return replace(frame, image=_in_order(restored, frame.image, layout))
    change = cv2.subtract(restored, to_network(frame), dtype=cv2.CV_16S).reshape(restored.shape)
    if layout.mosaic:
        change = _as_mosaic(change, layout.mosaic)
    elif layout.order:
        change = np.dstack(
            [change[..., colour] for colour in layout.order] + [np.zeros_like(change[..., 0])] * (layout.values - 3)
        )
    elif layout.channels == 1:
        change = change[..., 0]
    else:
        change = _as_yuv(change, layout)
    scale, kind = (1.0, cv2.CV_8U) if layout.dtype == "u1" else (step_of(_levels(frame)), cv2.CV_16U)
    image = cv2.addWeighted(np.ascontiguousarray(frame.image), 1.0, change, scale, 0.0, dtype=kind)
    return replace(frame, image=image.reshape(frame.image.shape))


def _in_order(rgb: np.ndarray, before: np.ndarray, layout: Layout) -> np.ndarray:
    """An RGB image (H, W, 3) in the channel order of `layout`, with the alpha of `before`; uint8."""
    if layout.values == 3:
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if layout.order == BGR else np.ascontiguousarray(rgb)
    image = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA if layout.order == BGR else cv2.COLOR_RGB2RGBA)
    image[..., 3] = before[..., 3]
    return image


def _levels(frame: Frame) -> Levels:
    return frame.levels or levels_of(frame.image)


def _eight_bits(frame: Frame) -> np.ndarray:
    """The frame's image with 8-bit values."""
    return frame.image if LAYOUTS[frame.encoding].dtype == "u1" else seen_at(frame.image, _levels(frame))


def _as_mosaic(rgb: np.ndarray, mosaic: tuple[int, ...]) -> np.ndarray:
    """The value of each pixel's own colour in the mosaic, (H, W), from a change (H, W, 3)."""
    picked = np.empty(rgb.shape[:2], rgb.dtype)
    for cell, colour in enumerate(mosaic):
        picked[cell // 2 :: 2, cell % 2 :: 2] = rgb[cell // 2 :: 2, cell % 2 :: 2, colour]
    return picked


def _as_yuv(rgb: np.ndarray, layout: Layout) -> np.ndarray:
    """A change (H, W, 3) int16 in the form of a YUV image: (H, W, 2) where two pixels share one U and one V, or planes
    (H * 3 / 2, W) where four pixels do."""
    height, width = rgb.shape[0] // layout.even[1], rgb.shape[1]
    y, u, v = TO_YUV
    shared = cv2.resize(rgb, (width // 2, height), interpolation=cv2.INTER_AREA)
    colours = cv2.transform(shared, np.stack((v, u) if layout.to_rgb == cv2.COLOR_YUV2RGB_NV21 else (u, v)))
    planes = cv2.transform(rgb, y[np.newaxis]), colours.reshape(height, width)
    if layout.rows == 3:
        return np.concatenate(planes)
    return cv2.merge(planes if layout.to_rgb == cv2.COLOR_YUV2RGB_YUY2 else planes[::-1])
