"""Chooses which values of a 16-bit camera networks see as black and white. These must not jump between frames."""

from __future__ import annotations

import cv2
import numpy as np

RISES_AFTER_NS = 300_000_000
FALLS_AFTER_NS = 60_000_000_000
"""How long frames must reach beyond the levels, or use less than WASTED of them, before the levels follow. A dark road
uses few bits for a long time."""
WITHIN = 1 / 8
"""Weight of time within the levels against time beyond them: alternating exposures reach beyond now and then."""
WASTED = 0.4
STRAY = 0.005
"""Share of the pixels that is ignored at each end when the darkest and the brightest value are sought: hot and dead
pixels, lamps."""
BORDER = 0.03
"""Share of each side of the image that is ignored: rows of data, dead columns."""
NARROW = 0.5
"""An image that uses no more than this share of its range has little contrast and is stretched. The range is 0 to the
power of two above its brightest value."""
MARGIN = 0.125
"""Free margin above and below the used values where an image is stretched, as a share of those."""

Levels = tuple[int, int]
"""The value that is seen as black, and the first one beyond white; at least 256 apart."""


class LevelsOfCamera:
    """The levels of one camera."""

    def __init__(self) -> None:
        self.levels: Levels | None = None
        self._last_ns = 0
        self._beyond_ns: float | None = None  # Time beyond the levels, less WITHIN of that within.
        self._beyond = (0, 0)  # The common extent of the frames beyond.
        self._wasted_since_ns = -1
        self._used = (0, 0)  # The extent of all frames since then.

    def follow(self, image: np.ndarray, now_ns: int) -> Levels:
        """The levels for an (H, W) or (H, W, C) uint16 image; `now_ns` must only rise."""
        low, high = extent(image)
        passed_ns, self._last_ns = now_ns - self._last_ns, now_ns
        if self.levels is None:
            self.levels = fitting(low, high)
        black, white = self.levels
        counted_ns = min(passed_ns, RISES_AFTER_NS)  # one frame after a pause does not decide alone
        if low < black or high >= white:
            self._look_beyond(low, high, 0.0 if self._beyond_ns is None else counted_ns)
        elif self._beyond_ns is not None:
            self._look_beyond(low, high, -WITHIN * counted_ns)
        if self._wasted_since_ns < 0:
            self._wasted_since_ns, self._used = now_ns, (low, high)
        self._used = min(low, self._used[0]), max(high, self._used[1])
        better = fitting(*self._used)
        if better[1] - better[0] >= WASTED * (white - black):
            self._wasted_since_ns = -1
        elif now_ns - self._wasted_since_ns >= FALLS_AFTER_NS:
            self._settle(better)
        return self.levels

    def _look_beyond(self, low: int, high: int, passed_ns: float) -> None:
        """Count a frame for or against levels that would hold all frames beyond; adopt these, or drop them."""
        known = self._beyond if self._beyond_ns is not None else (low, high)
        self._beyond = min(low, known[0]), max(high, known[1])
        self._beyond_ns = (self._beyond_ns or 0.0) + passed_ns
        if self._beyond_ns >= RISES_AFTER_NS:
            self._settle(fitting(*self._beyond))
        elif self._beyond_ns <= -RISES_AFTER_NS:
            self._beyond_ns = None

    def _settle(self, levels: Levels) -> None:
        self.levels, self._beyond_ns, self._wasted_since_ns = levels, None, -1


def levels_of(image: np.ndarray) -> Levels:
    """The levels that fit one 16-bit image."""
    return fitting(*extent(image))


def extent(image: np.ndarray) -> tuple[int, int]:
    """The darkest and the brightest value of a 16-bit image, without its border and STRAY pixels."""
    top, left = (round(BORDER * side) for side in image.shape[:2])
    sampled = image[top : image.shape[0] - top : 4, left : image.shape[1] - left : 4].ravel()
    spare = int(STRAY * sampled.size)
    ordered = np.partition(sampled, (spare, sampled.size - 1 - spare))
    return int(ordered[spare]), int(ordered[-1 - spare])


def fitting(low: int, high: int) -> Levels:
    """The levels for values from `low` to `high`: all bits that they take, as many cameras give 10 or 12 bits in 16.
    Where less than NARROW of these is used: what is used, and a margin."""
    white = 1 << max(8, high.bit_length())
    used = high - low + 1
    if used > NARROW * white or white == 256:
        return 0, white
    margin = max(round(MARGIN * used), (256 - used + 1) // 2)
    black = max(0, low - margin)
    return black, max(high + 1 + margin, black + 256)


def step_of(levels: Levels) -> float:
    """How many of the camera's values make one of the 256 grey levels that are seen."""
    return (levels[1] - levels[0]) / 256


def seen_at(image: np.ndarray, levels: Levels) -> np.ndarray:
    """A uint16 image in uint8, seen at `levels`."""
    above = image - np.minimum(image, np.uint16(levels[0])) if levels[0] else image
    # Rounded down, as a shift of bits would do it.
    return cv2.convertScaleAbs(above, alpha=1 / step_of(levels), beta=-0.499).reshape(image.shape)
