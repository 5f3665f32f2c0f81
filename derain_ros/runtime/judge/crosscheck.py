"""A drop on the lens is in one eye only: takes back what both eyes see at one place of the scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from derain_ros.frame import Anomaly

ON_THE_LENS = ("raindrop", "dirt")
"""What is on the glass of one eye; rain and darkness are in the scene, where both eyes see them."""
SAME = 0.85
"""Correlation of two views of one thing."""
ENERGY = 2.0
"""How many times the contrast of one view may be that of the other: what glass and water blur has little."""
CONTRAST = 2.0
"""Contrast in grey levels under which views cannot be told apart."""
HEIGHT = 136
"""Rows, about, of the views that are compared; larger ones are made smaller: SAME and CONTRAST are of this size."""
APART = 8
"""Pixels of such a view within which affected cells belong to one region."""
SMALLEST = 150
"""Pixels of such a view that a region must have at the least to be looked for: fewer may look alike by chance."""
LARGEST = 0.5
"""Share of the view from which on a region is no thing in the scene, whatever the other eye shows."""
REGIONS = 6
"""Regions of each eye that are looked for, the largest first."""
POINTS = 128
"""Pixels of a region that are compared: more of them say no more."""
DISPARITY, TILT = 0.16, 0.03
"""How far apart both eyes may see a thing, as shares of the width, and of the height for cameras not quite level."""
REMAINS = 0.01
"""Share of the view from which on what remains of a mask upholds the score in full."""
AGAIN_NS = 500_000_000
"""How long what is on the lens is taken to stay there, while the alarm is up."""


class CrossCheck:
    """`seen_by_one_eye` for one frame set after the other, left out where it would hardly change anything.

    While the alarm is up, and what the last check found on the lens stayed there, views are checked every AGAIN_NS:
    soon enough for an alarm to fall. A clean camera's are all checked: no frame is restored for what is
    in the scene.
    """

    def __init__(self) -> None:
        self._stayed_ns: int | None = None  # When what a check found on the lens was left there, and has been since.

    def check(
        self, views: np.ndarray, anomalies: Sequence[Anomaly], on_score: float, now_ns: int, alarm: bool
    ) -> list[Anomaly]:
        """The anomalies found in both eyes' `views`, without what both see, at a time that only rises;
        see `seen_by_one_eye`."""
        if alarm and self._stayed_ns is not None and now_ns - self._stayed_ns < AGAIN_NS:
            return list(anomalies)
        checked = seen_by_one_eye(views, anomalies, on_score)
        stays = all(new.coverage == old.coverage for new, old in zip(checked, anomalies, strict=True))
        found = any(anomaly.kind in ON_THE_LENS and anomaly.mask.any() for anomaly in checked)
        self._stayed_ns = now_ns if stays and found else None
        return checked


def seen_by_one_eye(views: np.ndarray, anomalies: Sequence[Anomaly], on_score: float) -> list[Anomaly]:
    """The anomalies of the left and the right eye without what both eyes see alike.

    `views` are both eyes' (2, h, w, 1) uint8, `anomalies` what was found in them, masks at a fraction of that size. A
    region of a mask is taken back where the other eye shows the same with the same contrast, somewhere within the
    disparities of a stereo pair: a poster with drops, a lamp, a texture. Lenses that are both wet show each its own
    drops, blurred, so they stay. The score falls only where next to nothing remains of the mask.
    """
    if not any(anomaly.kind in ON_THE_LENS and anomaly.mask.any() for anomaly in anomalies):
        return list(anomalies)
    # The last row of cells may lie half outside of the view.
    cell = -(-views.shape[1] // anomalies[0].mask.shape[0])
    shrink = math.gcd(cell, max(1, round(views.shape[1] / HEIGHT)))
    cell //= shrink
    # What differs between cameras and along a blurred drop is the brightness of areas; what is the same is edges.
    edges = [_Edges(view[..., 0], shrink) for view in views]
    checked = []
    for eye, anomaly in enumerate(anomalies):
        if anomaly.kind not in ON_THE_LENS or not anomaly.mask.any():
            checked.append(anomaly)
            continue
        mask = anomaly.mask.copy()
        regions = _regions(mask, cell)
        if regions:
            points = edges[eye].points(regions, mask.shape[1], cell)
            for region, seen in zip(regions, _seen_by_both(edges[eye], edges[1 - eye], points, eye), strict=True):
                mask.flat[region] *= not seen
        checked.append(_with_mask(anomaly, mask, on_score) if (mask != anomaly.mask).any() else anomaly)
    return checked


def _regions(mask: np.ndarray, cell: int) -> list[np.ndarray]:
    """The regions of a mask that are looked for: indices of their cells, which are `cell` pixels wide."""
    near = np.ones((2 * (APART // cell // 2) + 1,) * 2, np.uint8)
    count, labels = cv2.connectedComponents(cv2.dilate(mask, near), connectivity=8, ltype=cv2.CV_16U)
    cells = np.flatnonzero(mask)
    of = labels.ravel()[cells]
    sizes = np.bincount(of, minlength=count)
    cells, ends = cells[of.argsort(kind="stable")], sizes.cumsum()
    return [
        cells[ends[label] - sizes[label] : ends[label]]
        for label in (-sizes).argsort(kind="stable")[:REGIONS]
        if sizes[label] * cell * cell >= SMALLEST and sizes[label] < LARGEST * mask.size
    ]


class _Edges:
    """The view (h, w), so many times smaller, without the brightness of its areas.

    `flat` are its rows of `stride` float32, with a margin of zeros as wide as things are looked for; `tilt` and `reach`
    are how far that is, up and down and along a row.
    """

    def __init__(self, view: np.ndarray, shrink: int) -> None:
        small = cv2.resize(view, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.8)
        self.height, self.width = small.shape
        self.tilt, self.reach = round(TILT * self.height), round(DISPARITY * self.width)
        down, along = self.tilt + 1, self.reach + 1
        wide = np.zeros((self.height + 2 * down, self.width + 2 * along), np.float32)
        np.subtract(smooth, cv2.boxFilter(small, cv2.CV_32F, (15, 15)), wide[down:-down, along:-along])
        self.flat, self.stride = wide.ravel(), wide.shape[1]

    def points(self, regions: Sequence[np.ndarray], columns: int, cell: int) -> np.ndarray:
        """(R, POINTS) indices into `flat`: pixels, evenly chosen, of each of R regions: cells in rows of `columns`."""
        last = np.array([[len(region) * cell * cell - 1] for region in regions])
        nth, within = np.divmod(last * np.arange(POINTS) // (POINTS - 1), cell * cell)
        cells = np.stack([region[chosen] for region, chosen in zip(regions, nth, strict=True)])
        row, column = np.divmod(cells, columns)
        down, along = np.divmod(within, cell)
        ys = np.minimum(row * cell + down, self.height - 1)
        xs = np.minimum(column * cell + along, self.width - 1)
        return (ys + self.tilt + 1) * self.stride + xs + self.reach + 1


def _seen_by_both(here: _Edges, there: _Edges, points: np.ndarray, eye: int) -> np.ndarray:
    """(R,) bool: whether the other eye shows the same with the same contrast, at `points` (R, POINTS) of R regions."""
    own = here.flat[points]
    contrast = np.sqrt(np.einsum("rp,rp->r", own, own) / POINTS)

    def best(step: int, around: np.ndarray, down: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of the places so many rows and columns from `around` (R, 1) the most alike, judged by each `step`th point:
        where, how it correlates, and its contrast."""
        shifts = around + (down[:, None] * there.stride + along).ravel()
        seen = there.flat.take(points[:, None, ::step] + shifts[..., None])
        contrasts = np.sqrt(np.einsum("rsp,rsp->rs", seen, seen) * (step / POINTS))
        products = np.matmul(seen, own[:, ::step, None])[..., 0] * (step / POINTS)
        alike = products / np.maximum(contrasts * contrast[:, None], 1e-6)
        most = alike.argmax(1, keepdims=True)
        return tuple(np.take_along_axis(found, most, 1) for found in (shifts, alike, contrasts))

    # The left eye sees things further to the right than the right eye does.
    left, right = (there.reach, there.tilt) if eye == 0 else (there.tilt, there.reach)
    # Edges are wider than a pixel: every other place tells where to look closely, and half of the points suffice.
    middle = np.zeros((len(points), 1), np.intp)
    shifts, _, _ = best(2, middle, np.arange(-there.tilt, there.tilt + 1, 2), np.arange(-left, right + 1, 2))
    _, alike, other = (found[:, 0] for found in best(1, shifts, np.arange(-1, 2), np.arange(-1, 2)))
    return (contrast >= CONTRAST) & (alike >= SAME) & (contrast <= other * ENERGY) & (other <= contrast * ENERGY)


def _with_mask(anomaly: Anomaly, mask: np.ndarray, on_score: float) -> Anomaly:
    remains, before = float((mask > 0).mean()), anomaly.coverage
    score = anomaly.score * min(1.0, remains / min(before, REMAINS)) if before else anomaly.score
    kind = anomaly.kind if score >= on_score else "clean"
    return replace(anomaly, kind=kind, score=score, coverage=remains, mask=mask)
