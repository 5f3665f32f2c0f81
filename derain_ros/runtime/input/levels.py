"""Which values of a 16-bit camera networks see as black and as white, steadily: that must not jump between frames."""

from __future__ import annotations

import cv2
import numpy as np

RISES_AFTER_NS = 300_000_000
FALLS_AFTER_NS = 60_000_000_000
"""How long frames must reach beyond the levels, or use less than WASTED of them, until they follow. A dark road uses
few bits for long."""
WASTED = 0.4
HOT_PIXELS = 0.001
"""Largest share of the pixels that do not count when it is asked how bright, or dark, an image is."""
NARROW = 0.5
"""Share of the values from 0 up to its brightest that an image of little contrast uses: it is stretched."""
MARGIN = 0.125
"""Share of the values used that is left free above and below them where an image is stretched."""

Levels = tuple[int, int]
"""The value that is seen as black, and the first one beyond white; at least 256 apart."""


class LevelsOfCamera:
    """The levels of one camera."""

    def __init__(self) -> None:
        self.levels: Levels | None = None
        self._away: tuple[str, int] | None = None  # How frames have differed from them, and since when.

    def follow(self, image: np.ndarray, now_ns: int) -> Levels:
        """The levels to see an (H, W) or (H, W, C) uint16 image with, at a time that only rises."""
        low, high = extent(image)
        if self.levels is None:
            self.levels = fitting(low, high)
        black, white = self.levels
        better = fitting(low, high)
        away = ("beyond" if low < black or high >= white
                else "wasted" if better[1] - better[0] < WASTED * (white - black) else "")
        if not away:
            self._away = None
        elif self._away is None or self._away[0] != away:
            self._away = away, now_ns
        elif now_ns - self._away[1] >= (RISES_AFTER_NS if away == "beyond" else FALLS_AFTER_NS):
            self.levels, self._away = better, None
        return self.levels


def levels_of(image: np.ndarray) -> Levels:
    """The levels that fit one 16-bit image."""
    return fitting(*extent(image))


def extent(image: np.ndarray) -> tuple[int, int]:
    """The darkest and the brightest value of a 16-bit image but for HOT_PIXELS."""
    sampled = image[::4, ::4].ravel()
    spare = int(HOT_PIXELS * sampled.size)
    ordered = np.partition(sampled, (spare, sampled.size - 1 - spare))
    return int(ordered[spare]), int(ordered[-1 - spare])


def fitting(low: int, high: int) -> Levels:
    """The levels for values from `low` to `high`: all of the bits that they take, as many cameras give 10 or 12 in 16;
    of less than NARROW of them, what is used and a margin."""
    white = 1 << max(8, high.bit_length())
    used = high - low + 1
    if used > NARROW * white or white == 256:
        return 0, white
    margin = max(round(MARGIN * used), (256 - used + 1) // 2)
    black = max(0, low - margin)
    return black, max(high + 1 + margin, black + 256)


def step_of(levels: Levels) -> float:
    """How many values of the camera make one of the 256 that are seen."""
    return (levels[1] - levels[0]) / 256


def seen_at(image: np.ndarray, levels: Levels) -> np.ndarray:
    """A uint16 image in uint8, as `levels` say."""
    above = image - np.minimum(image, np.uint16(levels[0])) if levels[0] else image
    # Rounded down, as a shift of bits would do it.
    return cv2.convertScaleAbs(above, alpha=1 / step_of(levels), beta=-0.499).reshape(image.shape)
