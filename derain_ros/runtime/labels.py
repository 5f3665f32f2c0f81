"""Images for a segmenter, and pictures of its labels."""

from __future__ import annotations

import cv2
import numpy as np

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import check, to_network

VOID = 255
"""Label of pixels without a class: they are not evaluated."""
FIRST, GOLDEN = 0.58, 0.381966
"""Hue of the first class, a blue because that is often the sky, and the step to the next hue, as shares of the colour
circle. Steps of the golden angle put successive hues far from each other."""
SHADES = (240, 140, 190)
"""Brightness of the colours of classes, in turn."""


def rgb_of(frame: Frame) -> np.ndarray:
    """The frame as a segmenter takes it, (H, W, 3) uint8 RGB, grey as three equal channels; FrameError for a malformed
    frame."""
    check(frame)
    image = to_network(frame)
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def palette() -> np.ndarray:
    """The colour of each label, (256, 3) uint8 RGB; VOID is black."""
    label = np.arange(256)
    hue = ((FIRST + label * GOLDEN) % 1 * 180).astype(np.uint8)
    shade = np.resize(np.array(SHADES, np.uint8), 256)
    colours = cv2.cvtColor(np.stack([hue, np.full(256, 190, np.uint8), shade], 1)[None], cv2.COLOR_HSV2RGB)[0]
    colours[VOID] = 0
    return colours


def coloured(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) uint8 as a picture (H, W, 3) uint8 RGB."""
    return palette()[labels]


def overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The RGB image (H, W, 3) uint8 with the colours of its labels (H, W) uint8 laid over it; dark where VOID."""
    return cv2.addWeighted(image, 0.5, coloured(labels), 0.5, 0.0)
