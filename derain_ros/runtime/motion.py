"""Where each pixel of a camera's view was in the frame before, also behind what sticks to the glass."""

from __future__ import annotations

import cv2
import numpy as np

CELL = 8
"""Pixels, along each side, of the cells on whose grid motion is completed."""
REACHES = (1, 2, 4, 8, 16)
"""How far known motion counts where none is known, in cells: the nearest that says enough."""
ENOUGH = 0.12
"""Share of what lies within reach that must be known for that."""
RIDGE = 0.1
"""Square of cells by which known motion seems to lie apart, divided by its share: how much a fit leans to the mean."""
SMALLEST = 32
"""Height and width in pixels of frames whose motion is estimated: on smaller ones DIS fails, or ends the process."""
MARGIN = 2
"""Pixels around what covers the glass whose motion is not to be trusted either; more would leave too little around fine
spray."""


class Motion:
    """Estimates the motion between neighbouring frames of one camera, beginning with the last one found.

    Frames under SMALLEST count as standing still.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]
        self._last: np.ndarray | None = None
        self._grid = np.zeros((0, 0, 2), np.float32)

    def maps(self, now: np.ndarray, before: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """Columns and rows (H, W, 2) float32 in `before` of what is in `now`, both (H, W) uint8 grey.

        `hidden` (H, W) uint8 is above 0 where something is on the glass: it stands still and says nothing about the
        scene, so that the motion there is completed from around it.
        """
        height, width = now.shape
        if self._grid.shape[:2] != now.shape:
            self._grid = np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))
            self._last = None
        flow = None
        if min(now.shape) >= SMALLEST:
            flow = self._dis.calc(now, before, self._last)
        if flow is None or not np.isfinite(flow).all():
            self._last = None
            return self._grid.copy()
        if hidden.any():
            complete(flow, cv2.dilate(hidden, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)))
        self._last = flow
        return cv2.add(flow, self._grid)


def complete(flow: np.ndarray, covered: np.ndarray) -> None:
    """Put into `flow` (H, W, 2) float32, where `covered` (H, W) uint8 is above 0, affine motion fitted around that."""
    height, width = covered.shape
    # Flow is smooth: one of the pixels of a cell says enough.
    middle = (slice(min(CELL // 2, height - 1), None, CELL), slice(min(CELL // 2, width - 1), None, CELL))
    coarse, weight = flow[middle], (covered[middle] == 0).astype(np.float32)
    # From the middle on, in cells: small numbers, whose squares lose nothing in 32 bits.
    y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in weight.shape)
    y = y[:, None]
    moments = np.empty((*weight.shape, 12), np.float32)
    for n, power in enumerate((1.0, x, y, x * x, x * y, y * y)):
        moments[..., n] = weight * power
    for n in range(3):
        moments[..., 6 + n], moments[..., 9 + n] = (moments[..., n] * coarse[..., k] for k in range(2))
    around = np.empty((12, len(REACHES), *weight.shape), np.float32)
    for n, reach in enumerate(REACHES):
        blurred = moments
        for _ in range(2):
            blurred = cv2.blur(blurred, (2 * reach + 1, 2 * reach + 1), borderType=cv2.BORDER_CONSTANT)
        around[:, n] = np.moveaxis(blurred, 2, 0)
    certain = np.clip(around[0] / ENOUGH, 0, 1) ** 2
    certain[-1] = 1
    # Each reach has the share that those before it leave.
    certain[1:] *= np.cumprod(1 - certain[:-1], 0)
    filled = np.stack([(fit * certain).sum(0) for fit in _affine(around, x, y)], -1)
    cv2.copyTo(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), covered, flow)


def _affine(moments: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Values along columns and rows, (R, h, w) each, of the weighted affine fits that have the moments (12, R, h, w)
    around cells at `x` (w,) and `y` (h, 1)."""
    share = 1 / (moments[0] + 1e-6)
    mean_x, mean_y, xx, xy, yy = (moment * share for moment in moments[1:6])
    # Where little is known the fit leans to the mean.
    ridge = RIDGE * share
    xx, xy, yy = xx - mean_x ** 2 + ridge, xy - mean_x * mean_y, yy - mean_y ** 2 + ridge
    scale = 1 / (xx * yy - xy * xy)
    right, down = (x - mean_x) * scale, (y - mean_y) * scale
    values = []
    for first in (6, 9):
        mean, with_x, with_y = (moment * share for moment in moments[first:first + 3])
        with_x, with_y = with_x - mean * mean_x, with_y - mean * mean_y
        values.append(mean + (yy * with_x - xy * with_y) * right + (xx * with_y - xy * with_x) * down)
    return values
