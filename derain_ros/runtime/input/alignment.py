"""Finds where a thermal image lies on a visible one, by the contours that both show.

The two images differ in which side of a contour is brighter, and by how much. Place and direction of the contour are
the same in both. So images are compared by structure: the direction of the gradient, doubled so that opposite
directions are equal, with a weight that says how much the contour stands out from its surroundings.
"""

from __future__ import annotations

import cv2
import numpy as np

FINE = 1.0
"""Standard deviation in pixels of the blur before gradients are taken."""
AROUND = 25
"""Side in pixels of the square around a contour that its strength is compared with."""
FAINT = 4.0
"""Square of a gradient, in grey levels per pixel, below which it counts as noise."""


def structure(image: np.ndarray) -> np.ndarray:
    """The contours of an (H, W) uint8 image: (H, W, 2) float32, each pixel's doubled direction, within -1 to 1."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), FINE)
    x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.25), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.25)
    power = x * x + y * y
    strength = np.sqrt(power)
    # The more a contour stands out the more it weighs, but below 1: one bright lamp must not outvote a street.
    weight = 1 / ((strength + np.sqrt(cv2.blur(power, (AROUND, AROUND)) + FAINT)) * np.maximum(strength, 1e-3))
    return cv2.merge(((x * x - y * y) * weight, 2 * x * y * weight))


def likeness(visible: np.ndarray, thermal: np.ndarray, reach: int) -> np.ndarray:
    """How well two structures (H, W, 2) match where the thermal one is moved by -reach to reach rows and columns: (2
    reach + 1, 2 reach + 1) float32. Maps of several images may be added up."""
    middle = np.ascontiguousarray(thermal[reach:-reach, reach:-reach])
    return cv2.matchTemplate(visible, middle, cv2.TM_CCORR)


def peak(likeness: np.ndarray) -> tuple[float, float]:
    """The highest place of a likeness map (2 reach + 1, 2 reach + 1): columns and rows from its middle, to a fraction
    of a pixel."""
    row, column = (int(place) for place in np.unravel_index(int(likeness.argmax()), likeness.shape))
    return (
        column + _between(likeness[row], column) - likeness.shape[1] // 2,
        row + _between(likeness[:, column], row) - likeness.shape[0] // 2,
    )


def _between(line: np.ndarray, top: int) -> float:
    """Offset from the highest value of a line to the top of the parabola through it and its neighbours."""
    if not 0 < top < len(line) - 1:
        return 0.0
    before, at, after = (float(value) for value in line[top - 1 : top + 2])
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else 0.5 * (before - after) / bend
