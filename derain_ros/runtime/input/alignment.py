"""Where a thermal image lies on a visible one, by what contours have in common in both: their place and direction.

Which side of a contour is brighter differs between the two, and by how much; where it runs does not. So images are
compared by structure: the direction of the gradient, doubled so that opposite ones are alike, as strong as the contour
stands out of what is around it.
"""

from __future__ import annotations

import cv2
import numpy as np

FINE = 1.0
"""Standard deviation in pixels of what is smoothed before gradients are taken."""
AROUND = 25
"""Side in pixels of the square that a contour is compared with."""
FAINT = 4.0
"""Power of a gradient, in grey levels a pixel, below which it is taken for noise."""


def structure(image: np.ndarray) -> np.ndarray:
    """The contours of an (H, W) uint8 image: (H, W, 2) float32, each pixel's doubled direction, within -1 to 1."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), FINE)
    x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.25), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.25)
    power = x * x + y * y
    strength = np.sqrt(power)
    # As strong as it stands out, but no stronger than 1: one bright lamp must not outvote a street.
    weight = 1 / ((strength + np.sqrt(cv2.blur(power, (AROUND, AROUND)) + FAINT)) * np.maximum(strength, 1e-3))
    return cv2.merge(((x * x - y * y) * weight, 2 * x * y * weight))


def likeness(visible: np.ndarray, thermal: np.ndarray, reach: int) -> np.ndarray:
    """How much two structures (H, W, 2) have in common where the thermal one is moved by -reach to reach rows and
    columns: (2 reach + 1, 2 reach + 1) float32, to be added up over images."""
    middle = np.ascontiguousarray(thermal[reach:-reach, reach:-reach])
    return cv2.matchTemplate(visible, middle, cv2.TM_CCORR)


def peak(likeness: np.ndarray) -> tuple[float, float]:
    """Where a map of likeness (2 reach + 1, 2 reach + 1) is highest: columns and rows from its middle, to a fraction of
    a pixel."""
    row, column = (int(place) for place in np.unravel_index(int(likeness.argmax()), likeness.shape))
    return (
        column + _between(likeness[row], column) - likeness.shape[1] // 2,
        row + _between(likeness[:, column], row) - likeness.shape[0] // 2,
    )


def _between(line: np.ndarray, top: int) -> float:
    """How far from the highest of a line of values the parabola through it and its neighbours has its top."""
    if not 0 < top < len(line) - 1:
        return 0.0
    before, at, after = (float(value) for value in line[top - 1 : top + 2])
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else 0.5 * (before - after) / bend
