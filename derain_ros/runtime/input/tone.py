"""Maps a 16-bit thermal image to eight bits. The sky is far colder than all else, and engines are far warmer: most of
the scene lies within few of the values between. These get more of the grey levels."""

from __future__ import annotations

import math

import numpy as np

from derain_ros.runtime.input.levels import Levels

BINS = 1024
"""Number of bins for the values between the levels."""
STEEPEST = 4.0
"""Most greys that a bin gets for its frequency, as a multiple of an even spread: noise grows with it. What is cut off
is spread over all bins, so that a bin gets at most 1 more."""
SETTLES_S = 2.0
"""Time in which the greys follow the scene by two thirds: brightness does not jump."""


class ToneOfCamera:
    """The greys of one camera."""

    def __init__(self) -> None:
        self._greys: np.ndarray | None = None
        self._last_ns = 0

    def follow(self, image: np.ndarray, levels: Levels, now_ns: int) -> np.ndarray:
        """An (H, W) uint16 image as uint8; `levels` are its black and white, and `now_ns` must only rise."""
        black, white = levels
        values = np.clip(image, black, white - 1).astype(np.int32) - black
        values *= BINS
        values //= white - black
        counts = np.bincount(values[::2, ::2].ravel(), minlength=BINS)
        shares = np.minimum(counts / counts.sum(), STEEPEST / BINS)
        greys = np.cumsum(shares + (1 - shares.sum()) / BINS) * 255
        passed_s, self._last_ns = (now_ns - self._last_ns) / 1e9, now_ns
        if self._greys is not None:
            greys = self._greys + (greys - self._greys) * (1 - math.exp(-passed_s / SETTLES_S))
        self._greys = greys
        return np.rint(greys).astype(np.uint8)[values]
