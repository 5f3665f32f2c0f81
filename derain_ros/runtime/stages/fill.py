"""Smooths what is under the mask, for trackers that take no mask: nothing there may stand still as the scene moves."""

from __future__ import annotations

import cv2
import numpy as np

WIDENED = 0.012
"""Share of the height by which the mask is widened: rims of drops lie on its edge."""
BLUR = 0.02
"""Standard deviation of the blur, as a share of the height."""
SHRUNK = 4
"""The blur is made on an image reduced by this factor."""


def smooth(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`image` (H, W, C) uint8 without detail under the widened `mask` (H, W) uint8, 0 or 255; the same object where the
    mask is empty."""
    if not mask.any():
        return image
    height, width = mask.shape
    reach = max(1, round(WIDENED * height))
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    small = cv2.resize(image, (-(-width // SHRUNK), -(-height // SHRUNK)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(0.5, BLUR * height / SHRUNK))
    blurred = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    # A soft edge: a hard one would be a contour to track.
    share = cv2.blur(wide, (reach | 1, reach | 1)).astype(np.float32) * np.float32(1 / 255)
    return cv2.blendLinear(blurred, image, share, 1 - share).reshape(image.shape)
