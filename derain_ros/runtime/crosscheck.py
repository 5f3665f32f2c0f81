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
        near = np.ones((2 * (APART // cell // 2) + 1,) * 2, np.uint8)
        count, labels = cv2.connectedComponents(cv2.dilate(anomaly.mask, near), connectivity=8)
        labels[anomaly.mask == 0] = 0
        sizes = np.bincount(labels.ravel(), minlength=count)
        mask = anomaly.mask.copy()
        largest = sorted(range(1, count), key=lambda n: -sizes[n])[:REGIONS]
        regions = [np.flatnonzero(labels == label) for label in largest
                   if sizes[label] * cell * cell >= SMALLEST and sizes[label] < LARGEST * mask.size]
        if regions:
            points = np.stack([edges[eye].points(region, mask.shape[1], cell) for region in regions])
            for region, seen in zip(regions, _seen_by_both(edges[eye], edges[1 - eye], points, eye), strict=True):
                mask.flat[region] *= not seen
        checked.append(_with_mask(anomaly, mask, on_score))
    return checked


class _Edges:
    """The view (h, w), so many times smaller, without the brightness of its areas.

    `flat` are its rows of `stride` float32, with a margin of zeros as wide as things are looked for; `tilt` and `reach`
    are how far that is, up and down and along a row.
    """

    def __init__(self, view: np.ndarray, shrink: int) -> None:
        small = cv2.resize(view, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA).astype(np.float32)
        smooth = cv2.GaussianBlur(small, (0, 0), 0.8)
        self.height, self.width = small.shape
        self.tilt, self.reach = round(TILT * self.height), round(DISPARITY * self.width)
        down, along = self.tilt + 1, self.reach + 1
        wide = cv2.copyMakeBorder(smooth - cv2.blur(smooth, (15, 15)), down, down, along, along, cv2.BORDER_CONSTANT)
        self.flat, self.stride = wide.ravel(), wide.shape[1]

    def points(self, region: np.ndarray, columns: int, cell: int) -> np.ndarray:
        """Indices into `flat` of POINTS pixels, evenly chosen, of cells given by their indices in rows of `columns`."""
        chosen, within = np.divmod(np.linspace(0, len(region) * cell * cell - 1, POINTS).astype(np.intp), cell * cell)
        row, column = np.divmod(region[chosen], columns)
        ys = np.minimum(row * cell + within // cell, self.height - 1)
        xs = np.minimum(column * cell + within % cell, self.width - 1)
        return (ys + self.tilt + 1) * self.stride + xs + self.reach + 1


def _seen_by_both(here: _Edges, there: _Edges, points: np.ndarray, eye: int) -> np.ndarray:
    """(R,) bool: whether the other eye shows the same with the same contrast, at `points` (R, POINTS) of R regions."""
    own = here.flat[points]
    contrast = np.sqrt(np.einsum("rp,rp->r", own, own) / POINTS)

    def best(points: np.ndarray, down: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the places so many rows and columns away the most alike: where, how it correlates, and its contrast."""
        shifts = (down[:, None] * there.stride + along).ravel()
        seen = there.flat[points[:, None] + shifts[:, None]]
        contrasts = np.sqrt(np.einsum("rsp,rsp->rs", seen, seen) / POINTS)
        products = np.matmul(seen, own[..., None])[..., 0] / POINTS
        alike = products / np.maximum(contrasts * contrast[:, None], 1e-6)
        most = alike.argmax(1)
        every = np.arange(len(points))
        return shifts[most], alike[every, most], contrasts[every, most]

    # The left eye sees things further to the right than the right eye does.
    left, right = (there.reach, there.tilt) if eye == 0 else (there.tilt, there.reach)
    # Edges are wider than a pixel: every other place tells where to look closely.
    shifts, _, _ = best(points, np.arange(-there.tilt, there.tilt + 1, 2), np.arange(-left, right + 1, 2))
    _, alike, other = best(points + shifts[:, None], np.arange(-1, 2), np.arange(-1, 2))
    return (contrast >= CONTRAST) & (alike >= SAME) & (contrast <= other * ENERGY) & (other <= contrast * ENERGY)


def _with_mask(anomaly: Anomaly, mask: np.ndarray, on_score: float) -> Anomaly:
    remains, before = float((mask > 0).mean()), anomaly.coverage
    score = anomaly.score * min(1.0, remains / min(before, REMAINS)) if before else anomaly.score
    kind = anomaly.kind if score >= on_score else "clean"
    return replace(anomaly, kind=kind, score=score, coverage=remains, mask=mask)
