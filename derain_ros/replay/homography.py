"""Finds the homography from thermal to visible images in pairs of both: roughly by size and place, then cell by cell.

What all pairs say is added up before anything is decided: in a single one the contours of the two may have little in
common, and some of them are of things that are near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from derain_ros.runtime.input.alignment import likeness, peak, structure

COARSE = 160
"""Width to which visible images are reduced to find size and place."""
SHARES = tuple(0.3 * 1.04**k for k in range(49))
"""Widths of the thermal view that are tried, as shares of that of the visible one."""
BEYOND = 0.3
"""Share of the thermal view that may lie outside of the visible one."""
LEVELS = ((160, 8, 3), (320, 8, 3), (640, 8, 2))
"""Widths of the visible images, pixels by which cells are moved at the most, and rounds."""
GRID = (6, 8)
"""Rows and columns of cells, each as high and wide as two of them, so that neighbours overlap."""
SURE = 3.0
"""Standard errors by which a cell's best move must be better than others on average over the pairs to count."""
APART = 2.0
"""Pixels at a level by which a cell may differ from the move that the others have in common."""
ENOUGH = 16
"""Cells from which on a whole homography is told; of less, one of size, turn and place."""

Pair = tuple[np.ndarray, np.ndarray]
"""A visible image (H, W) and the thermal one (h, w) of the same instant, both uint8."""


class HomographyError(ValueError):
    """No homography is found; the message says why, and what to record."""


@dataclass(frozen=True)
class Found:
    """`matrix` (3, 3) takes thermal pixels to visible ones. `cells` of `of` cells of the view agree on it to `rms_px`
    pixels of the visible image. Found in every second pair alone and in the others, the corners of the thermal image
    come out `apart_px` from each other, on average."""

    matrix: np.ndarray
    cells: int
    of: int
    rms_px: float
    apart_px: float


def find(pairs: Sequence[Pair]) -> Found:
    """The homography of pairs that are all of one size, four at the least; HomographyError where they do not agree."""
    matrix, cells, of, rms_px = _refined(_roughly(pairs), pairs, LEVELS)
    halves = [_refined(matrix, pairs[half::2], LEVELS[1:])[0] for half in range(2)]
    height, width = pairs[0][1].shape
    apart = corners(halves[0], width, height) - corners(halves[1], width, height)
    return Found(matrix / matrix[2, 2], cells, of, rms_px, float(np.hypot(*apart.T).mean()))


def corners(matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Where a homography takes the corners of an image: (4, 2)."""
    places = np.array([[[0, 0]], [[width - 1, 0]], [[width - 1, height - 1]], [[0, height - 1]]], np.float64)
    return cv2.perspectiveTransform(places, matrix)[:, 0]


def _roughly(pairs: Sequence[Pair]) -> np.ndarray:
    """Size and place of the thermal image on the visible one, by trying all."""
    (height, width), (rows, columns) = pairs[0][0].shape, pairs[0][1].shape
    small = COARSE, round(COARSE * height / width)
    seen = [structure(cv2.resize(visible, small, interpolation=cv2.INTER_AREA)) for visible, _ in pairs]
    best, matrix = -1.0, np.eye(3)
    for share in SHARES:
        size = max(8, round(share * COARSE)), max(8, round(share * COARSE * rows / columns))
        beyond = [round(BEYOND * side) for side in size]
        if any(part > whole + 2 * more for part, whole, more in zip(size, small, beyond, strict=True)):
            break
        found: np.ndarray = np.zeros((1, 1), np.float32)
        for visible, (_, thermal) in zip(seen, pairs, strict=True):
            part = structure(cv2.resize(thermal, size, interpolation=cv2.INTER_AREA))
            around = cv2.copyMakeBorder(visible, beyond[1], beyond[1], beyond[0], beyond[0], cv2.BORDER_CONSTANT)
            energy = max(float(np.linalg.norm(visible) * np.linalg.norm(part)), 1e-6)
            found = found + cv2.matchTemplate(around, part, cv2.TM_CCORR) / energy
        if found.max() > best:
            row, column = np.unravel_index(int(found.argmax()), found.shape)
            best, matrix = float(found.max()), _scaling(size[0] / columns, size[1] / rows)
            matrix[:2, 2] += column - beyond[0], row - beyond[1]
    return np.linalg.inv(_scaling(small[0] / width, small[1] / height)) @ matrix


def _refined(
    matrix: np.ndarray, pairs: Sequence[Pair], levels: Sequence[tuple[int, int, int]]
) -> tuple[np.ndarray, int, int, float]:
    """A homography made better from level to level; how many cells agree, of how many, and the root mean square of what
    they lack in pixels of the visible image."""
    height, width = pairs[0][0].shape
    cells, of, rms = 0, 0, 0.0
    for level, reach, rounds in levels:
        size = min(level, width), round(min(level, width) * height / width)
        scaling = _scaling(size[0] / width, size[1] / height)
        seen = [structure(cv2.resize(visible, size, interpolation=cv2.INTER_AREA)) for visible, _ in pairs]
        for _ in range(rounds):
            places, moves, of = _moves(scaling @ matrix, seen, [thermal for _, thermal in pairs], size, reach)
            change, cells, rms = _common(places, moves)
            matrix = np.linalg.inv(scaling) @ change @ scaling @ matrix
            rms *= width / size[0]
    return matrix, cells, of, rms


def _moves(
    matrix: np.ndarray, seen: Sequence[np.ndarray], thermals: Sequence[np.ndarray], size: tuple[int, int], reach: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Of each cell that shows contours, its middle and how far a thermal image that `matrix` takes to `size` (columns,
    rows) must be moved there: (N, 2) both; and how many cells the thermal image covers."""
    high, wide = 2 * size[1] // GRID[0], 2 * size[0] // GRID[1]
    cells: dict[tuple[int, int], list[np.ndarray]] = {
        (r * (size[1] - high) // (GRID[0] - 1), c * (size[0] - wide) // (GRID[1] - 1)): []
        for r in range(GRID[0])
        for c in range(GRID[1])
    }
    whole = np.full(thermals[0].shape, 255, np.uint8)
    # The border is no contour of the scene.
    inside = cv2.erode(cv2.warpPerspective(whole, matrix, size), np.ones((9, 9), np.uint8))
    covered = [cell for cell in cells if inside[cell[0] : cell[0] + high, cell[1] : cell[1] + wide].mean() > 127]
    smaller = min(1.0, float(np.sqrt(abs(np.linalg.det(matrix[:2, :2])))))
    for visible, thermal in zip(seen, thermals, strict=True):
        reduced = cv2.resize(thermal, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
        back = _scaling(thermal.shape[1] / reduced.shape[1], thermal.shape[0] / reduced.shape[0])
        moved = structure(cv2.warpPerspective(reduced, matrix @ back, size, borderMode=cv2.BORDER_REPLICATE))
        moved[inside == 0] = 0
        for top, left in covered:
            part = np.s_[top : top + high, left : left + wide]
            cells[top, left].append(likeness(visible[part], moved[part], reach))
    places, moves = [], []
    for top, left in covered:
        maps = np.stack(cells[top, left])
        column, row = peak(maps.sum(axis=0))
        best = maps[:, round(row) + reach, round(column) + reach] - maps.mean(axis=(1, 2))
        sure = best.mean() / max(best.std() / np.sqrt(len(best)), 1e-9)
        if sure > SURE and max(abs(column), abs(row)) < reach - 1:
            places.append((left + wide / 2, top + high / 2))
            moves.append((column, row))
    return np.array(places, np.float64).reshape(-1, 2), np.array(moves, np.float64).reshape(-1, 2), len(covered)


def _common(places: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, int, float]:
    """The homography (3, 3) that most cells' moves have in common, how many these are, and the root mean square of what
    they differ from it; HomographyError where there are none."""
    if len(places) < 4:
        raise HomographyError(
            f"thermal and visible images have contours in common in {len(places)} of the cells of "
            "the view: record some seconds of driving by day past buildings, trees and people, with "
            "both cameras in focus"
        )
    targets = places + moves
    # By chance alike each time: the same bag gives the same numbers.
    cv2.setRNGSeed(0)
    if len(places) >= ENOUGH:
        change, agree = cv2.findHomography(places, targets, cv2.RANSAC, APART)
    else:
        part, agree = cv2.estimateAffinePartial2D(places, targets, method=cv2.RANSAC, ransacReprojThreshold=APART)
        change = None if part is None else np.vstack((part, (0, 0, 1)))
    if change is None:
        raise HomographyError(
            "the cells of the view disagree on where the thermal image lies: are both cameras fixed to each other, "
            "and do their stamps come from one clock?"
        )
    left = (cv2.perspectiveTransform(places[:, None], change)[:, 0] - targets)[agree.ravel() > 0]
    return change, len(left), float(np.sqrt((left**2).sum(axis=1).mean()))


def _scaling(columns: float, rows: float) -> np.ndarray:
    """The homography from an image to one so many times as wide and high: centres of pixels fall on each other."""
    return np.array(((columns, 0, (columns - 1) / 2), (0, rows, (rows - 1) / 2), (0, 0, 1)), np.float64)
