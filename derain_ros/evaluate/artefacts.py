"""Artefacts of a network in the areas that it filled in: a pattern on its own grid, and false corners."""

from __future__ import annotations

import cv2
import numpy as np

PERIOD = 16
"""Pixels after which the grid of each of our networks repeats; grids of 4 and 8 pixels are harmonics of it."""
BETWEEN = (11, 21)
"""Control periods that share no frequency with the grid: they show how much repeats by chance."""
WINDOW = 128
"""Side in pixels of the window whose frequency resolution separates the grid's frequencies from their neighbours."""
LIMIT = 4.0
"""Grey levels to which fine detail is clipped: edges would otherwise hide dots, which show on smooth surfaces."""
THRESHOLD = 20
"""Threshold of FAST in grey levels."""


def grid(restored: np.ndarray, clean: np.ndarray, filled: np.ndarray) -> tuple[float, float]:
    """Energies at the frequencies of the network's grid, within `filled` (H, W) bool.

    The first is the energy that `restored` has more than `clean`, (H, W) uint8 both. The second is the energy of
    `clean` there, taken as the share (PERIOD / WINDOW)^2 of its fine detail. Both are in squared grey levels, summed
    over the pixels. 1 + first / second is the ratio of energies: 1 for the clean image, more if there are dots or a
    checkerboard. The pattern counts even if the restored image is smoother than the clean one: its energy is that of
    the means of all pixels at the same place of the grid, minus what is due to chance.
    """
    fine = [_fine(image) for image in (restored, clean)]
    own = [_pattern(detail, filled) for detail in fine]
    return own[0] - own[1], float(np.square(fine[1][filled]).sum()) * (PERIOD / WINDOW) ** 2


def corners(restored: np.ndarray, clean: np.ndarray, filled: np.ndarray) -> tuple[int, int]:
    """The numbers of FAST corners within `filled` (H, W) bool, in `restored` and in `clean`, (H, W) uint8 both."""
    fast, where = cv2.FastFeatureDetector.create(THRESHOLD), filled.astype(np.uint8)
    return len(fast.detect(restored, where)), len(fast.detect(clean, where))


def _fine(image: np.ndarray) -> np.ndarray:
    """The fine detail of an image, (H, W) float32, clipped to +-LIMIT grey levels."""
    grey = image.astype(np.float32)
    return np.clip(grey - cv2.GaussianBlur(grey, (0, 0), 2.0), -LIMIT, LIMIT)


def _pattern(fine: np.ndarray, filled: np.ndarray) -> float:
    """Energy of what repeats with PERIOD, minus the mean of what repeats with BETWEEN; summed over pixels."""
    row, column = np.nonzero(filled)
    if not len(row):
        return 0.0
    values = fine[filled] - fine[filled].mean()

    def spread(period: int) -> tuple[float, int]:
        """Variance of a pixel estimated from the means of the period's places, and the number of these places."""
        place = row % period * period + column % period
        count, total = np.bincount(place), np.bincount(place, values)
        places = int((count > 0).sum())
        return float((total**2 / np.maximum(count, 1)).sum()) / max(places - 1, 1), places

    chance = np.mean([spread(period)[0] for period in BETWEEN])
    variance, places = spread(PERIOD)
    return float((variance - chance) * places)
