"""Compares both eyes. A drop on the lens is in one eye only: what both see is removed from the masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from derain_ros.frame import Anomaly

ON_THE_LENS = ("raindrop", "dirt")
"""Kinds that are on the glass of one eye. Rain and darkness are in the scene, where both eyes see them."""
SAME = 0.85
"""Correlation from which two views show the same thing."""
ENERGY = 2.0
"""Largest ratio of the contrasts of two such views: what glass and water blur has little contrast."""
CONTRAST = 2.0
"""Contrast in grey levels below which views cannot be compared."""
HEIGHT = 136
"""Approximate rows of the views that are compared. Larger ones are reduced, so that SAME and CONTRAST hold."""
APART = 8
"""Distance in pixels of such a view within which affected cells belong to one region."""
SMALLEST = 150
"""Least size of a region to compare, in pixels of such a view: smaller ones may look alike by chance."""
LARGEST = 0.5
"""Share of the view from which a region is too large to be a thing in the scene: it is not compared."""
REGIONS = 6
"""Most regions of each eye that are compared, the largest first."""
POINTS = 128
"""Pixels of a region that are compared: more add nothing."""
DISPARITY, TILT = 0.16, 0.03
"""Largest offset of a thing between both eyes: along the rows as a share of the width, and up or down as a share of the
height, for cameras that are not quite level."""
REMAINS = 0.01
"""Share of the view from which what remains of a mask keeps the score as it is."""
AGAIN_NS = 500_000_000
"""Time between checks while the alarm is up and what is on the lens stays."""


class CrossCheck:
    """`seen_by_one_eye` for successive frame sets, skipped where it would hardly change anything.

    While the alarm is up, it is skipped for AGAIN_NS after a check that found something on the lens and removed
    nothing: that is often enough for an alarm to fall. Without an alarm every frame set is checked, so that none is
    restored for what is in the scene.
    """

    def __init__(self) -> None:
        self._stayed_ns: int | None = None  # The last check, if it found something on the lens and removed nothing.

    def check(
        self, views: np.ndarray, anomalies: Sequence[Anomaly], on_score: float, now_ns: int, alarm: bool
    ) -> list[Anomaly]:
        """The anomalies found in both eyes' `views`, without what both eyes see; see `seen_by_one_eye`. `alarm` says
        that a camera is known to be affected. `now_ns` must only rise."""
        if alarm and self._stayed_ns is not None and now_ns - self._stayed_ns < AGAIN_NS:
            return list(anomalies)
        checked = seen_by_one_eye(views, anomalies, on_score)
        stays = all(new.coverage == old.coverage for new, old in zip(checked, anomalies, strict=True))
        found = any(anomaly.kind in ON_THE_LENS and anomaly.mask.any() for anomaly in checked)
        self._stayed_ns = now_ns if stays and found else None
        return checked


def seen_by_one_eye(views: np.ndarray, anomalies: Sequence[Anomaly], on_score: float) -> list[Anomaly]:
    """The anomalies of the left and the right eye, without what both eyes see alike.

    `views` are both eyes' (2, h, w, 1) uint8. `anomalies` are what was found in them, with masks at a fraction of that
    size. A region of a mask is removed where the other eye shows the same with similar contrast, within the disparities
    of a stereo pair: a poster with drops, a lamp, a texture. Two wet lenses each show their own blurred drops, so these
    stay. The score falls only where almost nothing of the mask remains.
    """
    if not any(anomaly.kind in ON_THE_LENS and anomaly.mask.any() for anomaly in anomalies):
        return list(anomalies)
    # The last row of cells may lie half outside of the view.
    cell = -(-views.shape[1] // anomalies[0].mask.shape[0])
    shrink = math.gcd(cell, max(1, round(views.shape[1] / HEIGHT)))
    cell //= shrink
    # The brightness of areas differs between cameras and along a blurred drop; edges are the same.
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
    """The regions of a mask that are compared: indices of their cells, which are `cell` pixels wide."""
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
    """The view (h, w) reduced by `shrink`, without the brightness of its areas.

    `flat` holds its rows of `stride` float32, with a margin of zeros as wide as the search. `tilt` and `reach` say how
    wide that is: up and down, and along a row.
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
        """(R, POINTS) indices into `flat`: evenly chosen pixels of each of R regions. A region is a list of cells, in
        rows of `columns` cells."""
        last = np.array([[len(region) * cell * cell - 1] for region in regions])
        nth, within = np.divmod(last * np.arange(POINTS) // (POINTS - 1), cell * cell)
        cells = np.stack([region[chosen] for region, chosen in zip(regions, nth, strict=True)])
        row, column = np.divmod(cells, columns)
        down, along = np.divmod(within, cell)
        ys = np.minimum(row * cell + down, self.height - 1)
        xs = np.minimum(column * cell + along, self.width - 1)
        return (ys + self.tilt + 1) * self.stride + xs + self.reach + 1


def _seen_by_both(here: _Edges, there: _Edges, points: np.ndarray, eye: int) -> np.ndarray:
    """(R,) bool: whether the other eye shows the same with similar contrast, at `points` (R, POINTS) of R regions."""
    own = here.flat[points]
    contrast = np.sqrt(np.einsum("rp,rp->r", own, own) / POINTS)

    def best(step: int, around: np.ndarray, down: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, ...]:
        """The best match among the places `down` rows and `along` columns from `around` (R, 1), judged by each `step`th
        point: its place, correlation and contrast."""
        shifts = around + (down[:, None] * there.stride + along).ravel()
        seen = there.flat.take(points[:, None, ::step] + shifts[..., None])
        contrasts = np.sqrt(np.einsum("rsp,rsp->rs", seen, seen) * (step / POINTS))
        products = np.matmul(seen, own[:, ::step, None])[..., 0] * (step / POINTS)
        alike = products / np.maximum(contrasts * contrast[:, None], 1e-6)
        most = alike.argmax(1, keepdims=True)
        return tuple(np.take_along_axis(found, most, 1) for found in (shifts, alike, contrasts))

    # The left eye sees things further to the right than the right eye does.
    left, right = (there.reach, there.tilt) if eye == 0 else (there.tilt, there.reach)
    # Edges are wider than a pixel: every second place and half of the points show where to look closely.
    middle = np.zeros((len(points), 1), np.intp)
    shifts, _, _ = best(2, middle, np.arange(-there.tilt, there.tilt + 1, 2), np.arange(-left, right + 1, 2))
    _, alike, other = (found[:, 0] for found in best(1, shifts, np.arange(-1, 2), np.arange(-1, 2)))
    return (contrast >= CONTRAST) & (alike >= SAME) & (contrast <= other * ENERGY) & (other <= contrast * ENERGY)


def _with_mask(anomaly: Anomaly, mask: np.ndarray, on_score: float) -> Anomaly:
    remains, before = float((mask > 0).mean()), anomaly.coverage
    score = anomaly.score * min(1.0, remains / min(before, REMAINS)) if before else anomaly.score
    kind = anomaly.kind if score >= on_score else "clean"
    return replace(anomaly, kind=kind, score=score, coverage=remains, mask=mask)
