"""Estimates where each pixel of a camera's view was in the frame before, also behind what is on the glass."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

CELL = 8
"""Side in pixels of the cells on whose grid motion is completed."""
HALF = CELL // 2
"""The same in an image of every second pixel."""
REACHES = (1, 4, 16)
"""How far, in cells, known motion counts where none is known: the nearest reach that has enough of it."""
ENOUGH = 0.12
"""Share of the cells within a reach whose motion must be known for that."""
RIDGE = 0.1
"""Squared cells added to the spread of known motion, divided by its share: how far a fit leans to the mean."""
SMALLEST = 32
"""Least height and width in pixels of frames whose motion is estimated: on smaller ones DIS fails or ends the process.
"""
MARGIN = 2
"""Pixels around what covers the glass whose motion is not trusted either. More would leave too little around fine
spray."""
AWAY = 16.0
"""Distance in pixels from what covers the glass at which motion is fully trusted: nearer, the glass draws it to zero.
"""
MISFIT, TEXTURE = 10.0, 8.0
"""Grey levels of difference along the motion at which its trust is halved, and of detail at which it is one half."""
LASTS = 0.85
"""Share of the expected motion that is used; the rest comes from around, so that errors do not outlast a stop."""
LEAST = 0.1
"""Least trust in the motion of a free cell, for each of these."""


class Motion:
    """Estimates the motion between successive frames of one camera, starting from the last estimate.

    What is hidden keeps the motion that it had when it was seen, so that near and far things move each in their own way
    behind a drop. The change of motion that is seen around it is added. Frames smaller than SMALLEST count as standing
    still.
    """

    def __init__(self) -> None:
        self._dis = _estimator()
        self._last: np.ndarray | None = None
        self._cells: np.ndarray | None = None
        self._interval = 1.0
        self._grid = np.zeros((0, 0, 2), np.float32)

    def maps(self, now: np.ndarray, before: np.ndarray, hidden: np.ndarray, interval: float = 1.0) -> np.ndarray:
        """Columns and rows (H, W, 2) float32 in `before` of the pixels of `now`. Both are (H, W) uint8 grey, `interval`
        apart in any unit.

        `hidden` (H, W) uint8 is above 0 where something is on the glass. That stands still and says nothing about the
        scene, so the motion there is completed.
        """
        height, width = now.shape
        if self._grid.shape[:2] != now.shape:
            self._grid = np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))
            # An estimator that has seen another size ends the process, or keeps the scales of that size.
            self._dis, self._last, self._cells = _estimator(), None, None
        flow = None
        if min(now.shape) >= SMALLEST:
            flow = self._dis.calc(now, before, self._last)
        if flow is None or not np.isfinite(flow).all():
            self._last = self._cells = None
            return self._grid.copy()
        # Flow is smooth: one pixel of a cell is enough.
        cells = flow[CELL // 2 :: CELL, CELL // 2 :: CELL]
        if hidden.any():
            covered = cv2.dilate(hidden, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
            free = covered[CELL // 2 :: CELL, CELL // 2 :: CELL] == 0
            expected = LASTS * self._moved_on(cells, interval / self._interval)
            weight = free * trust(now, before, hidden, cv2.add(flow, self._grid))
            completed = expected + around(cells - expected, weight * (free.sum() / max(float(weight.sum()), 1e-6)))
            cells = np.where(free[..., None], cells, completed)
            cv2.copyTo(cv2.resize(completed, (width, height), interpolation=cv2.INTER_LINEAR), covered, flow)
        self._last, self._cells, self._interval = flow, cells.copy(), interval
        return cv2.add(flow, self._grid)

    def _moved_on(self, cells: np.ndarray, longer: float) -> np.ndarray:
        """The last motion (h, w, 2), `longer` times as long, of what is now in each of the `cells`; zeros where there
        is none."""
        if self._cells is None:
            return np.zeros_like(cells)
        last = np.float32(longer) * self._cells
        places = self._grid[: cells.shape[0], : cells.shape[1]]
        moved = last
        # The motion says where a cell came from, and is looked up there. The second time it hardly changes.
        for _ in range(2):
            moved = cv2.remap(
                last,
                places + moved / CELL,
                None,
                cv2.INTER_LINEAR,  # type: ignore[call-overload]
                borderMode=cv2.BORDER_REPLICATE,
            )
        return moved


def trust(now: np.ndarray, before: np.ndarray, hidden: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """How far to trust `maps`, see `Motion.maps`, in each cell: (h, w) float32 in 0..1. Trust is high where there is
    detail, where the maps make both frames agree, and away from what is on the glass."""
    # Every second pixel is enough.
    now, free = np.ascontiguousarray(now[::2, ::2]), np.equal(hidden[::2, ::2], 0).view(np.uint8)
    moved = cv2.remap(before, maps[::2, ::2], None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    misfit, detail = (_in_cells(cv2.absdiff(now, other)) for other in (moved, cv2.blur(now, (HALF + 1, HALF + 1))))
    away = cv2.distanceTransform(free, cv2.DIST_L2, 3)[HALF // 2 :: HALF, HALF // 2 :: HALF]
    trusted = np.ones(misfit.shape, np.float32)
    for share in (
        1 / (1 + np.square(misfit / MISFIT)),
        1 - 1 / (1 + np.square(detail / TEXTURE)),
        np.square(np.minimum(away / (AWAY / 2), 1)),
    ):
        trusted *= LEAST + (1 - LEAST) * share
    return trusted


def around(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Affine fits to the known values around each cell.

    `values` (h, w, 2) float32 have the `weight` (h, w) float32, about 1 where they are known and 0 where not. Returns
    the fits (h, w, 2) float32 for every cell.
    """
    # In cells from the middle: small numbers, whose squares are exact in 32 bits.
    y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in weight.shape)
    y = y[:, None]
    moments = np.empty((*weight.shape, 12), np.float32)
    for n, power in enumerate((1.0, x, y, x * x, x * y, y * y)):
        moments[..., n] = weight * power
    for n in range(3):
        moments[..., 6 + n], moments[..., 9 + n] = (moments[..., n] * values[..., k] for k in range(2))
    within = np.empty((12, len(REACHES), *weight.shape), np.float32)
    for n, reach in enumerate(REACHES):
        blurred = moments
        for _ in range(2):
            blurred = cv2.blur(blurred, (2 * reach + 1, 2 * reach + 1), borderType=cv2.BORDER_CONSTANT)
        within[:, n] = np.moveaxis(blurred, 2, 0)
    certain = np.clip(within[0] / ENOUGH, 0, 1) ** 2
    certain[-1] = 1
    # Each reach gets the share that the smaller ones leave.
    certain[1:] *= np.cumprod(1 - certain[:-1], 0)
    return np.stack([(fit * certain).sum(0) for fit in _affine(within, x, y)], -1)


def _estimator() -> Any:
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]
    # Down to half the size instead of a quarter: this removes a third of the error.
    dis.setFinestScale(1)
    dis.setPatchStride(6)
    return dis


def _in_cells(image: np.ndarray) -> np.ndarray:
    """Mean around the middle of each cell of a (H / 2, W / 2) uint8 image, (h, w) float32."""
    return cv2.blur(image, (HALF + 1, HALF + 1))[HALF // 2 :: HALF, HALF // 2 :: HALF].astype(np.float32)


def _affine(moments: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Values along columns and rows, (R, h, w) each, of weighted affine fits at the cells `x` (w,) and `y` (h, 1).
    `moments` (12, R, h, w) are those around each cell."""
    share = 1 / (moments[0] + 1e-6)
    mean_x, mean_y, xx, xy, yy = (moment * share for moment in moments[1:6])
    # Where little is known, the fit leans to the mean.
    ridge = RIDGE * share
    xx, xy, yy = xx - mean_x**2 + ridge, xy - mean_x * mean_y, yy - mean_y**2 + ridge
    scale = 1 / (xx * yy - xy * xy)
    right, down = (x - mean_x) * scale, (y - mean_y) * scale
    values = []
    for first in (6, 9):
        mean, with_x, with_y = (moment * share for moment in moments[first : first + 3])
        with_x, with_y = with_x - mean * mean_x, with_y - mean * mean_y
        values.append(mean + (yy * with_x - xy * with_y) * right + (xx * with_y - xy * with_x) * down)
    return values
