"""How a 16-bit thermal image is seen in eight bits: the sky is far colder than all else and engines are far warmer, so
that most of the scene lies within few of the values between. These get more of the greys."""

from __future__ import annotations

import math

import numpy as np

from derain_ros.runtime.input.levels import Levels

BINS = 1024
"""Into which the values between the levels are sorted."""
STEEPEST = 4.0
"""Times as many greys as without, that values get at the most which are more frequent than others: noise grows with it.
"""
SETTLES_S = 2.0
"""In which greys follow the scene by two thirds: brightness does not jump."""


class ToneOfCamera:
    """The greys of one camera."""

    def __init__(self) -> None:
        self._greys: np.ndarray | None = None
        self._last_ns = 0

    def follow(self, image: np.ndarray, levels: Levels, now_ns: int) -> np.ndarray:
        """An (H, W) uint16 image as uint8, where `levels` are what is black and white, at a time that only rises."""
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
