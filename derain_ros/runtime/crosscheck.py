"""A drop on the lens is in one eye only: takes back what both eyes see at one place of the scene."""

from __future__ import annotations

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
CELLS = 3
"""Cells that a region must have at the least to be looked for: fewer may look alike by chance."""
LARGEST = 0.5
"""Share of the view from which on a region is no thing in the scene, whatever the other eye shows."""
REGIONS = 6
"""Regions of each eye that are looked for, the largest first."""
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
    # What differs between cameras and along a blurred drop is the brightness of areas; what is the same is edges.
    edges = [_edges(view[..., 0]) for view in views]
    checked = []
    for eye, anomaly in enumerate(anomalies):
        if anomaly.kind not in ON_THE_LENS or not anomaly.mask.any():
            checked.append(anomaly)
            continue
        count, labels, stats, _ = cv2.connectedComponentsWithStats(anomaly.mask, connectivity=8)
        mask = anomaly.mask.copy()
        for label in sorted(range(1, count), key=lambda n: -stats[n, cv2.CC_STAT_AREA])[:REGIONS]:
            x, y, width, height, cells = stats[label]
            region = labels[y:y + height, x:x + width] == label
            looked_for = CELLS <= cells < LARGEST * mask.size
            if looked_for and _seen_by_both(edges[eye], edges[1 - eye], region, (x, y), mask.shape, eye):
                mask[labels == label] = 0
        checked.append(_with_mask(anomaly, mask, on_score))
    return checked


def _edges(view: np.ndarray) -> np.ndarray:
    """(h, w) float32: the view without the brightness of its areas."""
    smooth = cv2.GaussianBlur(view.astype(np.float32), (0, 0), 0.8)
    return smooth - cv2.blur(smooth, (15, 15))


def _seen_by_both(here: np.ndarray, there: np.ndarray, region: np.ndarray, corner: tuple[int, int],
                  cells: tuple[int, ...], eye: int) -> bool:
    """Whether the other eye shows what is in `region`, cells from `corner` (x, y) on, with the same contrast."""
    height, width = here.shape
    cell_h, cell_w = height // cells[0], width // cells[1]
    x, y = corner[0] * cell_w, corner[1] * cell_h
    inside = np.kron(region, np.ones((cell_h, cell_w), np.uint8)).astype(np.float32)
    patch = here[y:y + inside.shape[0], x:x + inside.shape[1]]
    inside = inside[:patch.shape[0], :patch.shape[1]]
    own = float(np.sqrt((patch * patch * inside).sum() / inside.sum()))
    if own < CONTRAST:
        return False
    # The left eye sees things further to the right than the right eye does.
    reach, tilt = round(DISPARITY * width), round(TILT * height)
    left, right = (reach, tilt) if eye == 0 else (tilt, reach)
    x0, x1 = max(0, x - left), min(width, x + patch.shape[1] + right)
    y0, y1 = max(0, y - tilt), min(height, y + patch.shape[0] + tilt)
    alike = cv2.matchTemplate(there[y0:y1, x0:x1], patch, cv2.TM_CCORR_NORMED, mask=inside)
    _, best, _, (dx, dy) = cv2.minMaxLoc(np.nan_to_num(alike, nan=0.0, posinf=0.0, neginf=0.0))
    other = there[y0 + dy:y0 + dy + patch.shape[0], x0 + dx:x0 + dx + patch.shape[1]]
    contrast = float(np.sqrt((other * other * inside).sum() / inside.sum()))
    return best >= SAME and own / ENERGY <= contrast <= own * ENERGY


def _with_mask(anomaly: Anomaly, mask: np.ndarray, on_score: float) -> Anomaly:
    remains, before = float((mask > 0).mean()), anomaly.coverage
    score = anomaly.score * min(1.0, remains / min(before, REMAINS)) if before else anomaly.score
    kind = anomaly.kind if score >= on_score else "clean"
    return replace(anomaly, kind=kind, score=score, coverage=remains, mask=mask)
