"""Finds the homography from thermal to visible images from pairs of both: first scale and position, then cell by cell.

The evidence of all pairs is summed before anything is decided: in a single pair the contours of both images may have
little in common, and some of them belong to near objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from derain_ros.runtime.input.alignment import likeness, peak, structure

COARSE = 160
"""Width in pixels to which visible images are reduced to find scale and position."""
SHARES = tuple(0.3 * 1.04**k for k in range(49))
"""Widths of the thermal view that are tried, as shares of the width of the visible view."""
BEYOND = 0.3
"""Share of the thermal view that may be outside of the visible view, on each side."""
LEVELS = ((160, 8, 3), (320, 8, 3), (640, 8, 2))
"""For each level: width of the visible images, largest shift of a cell in pixels, and number of rounds."""
GRID = (6, 8)
"""Rows and columns of cells. Each cell is two rows high and two columns wide, so that neighbours overlap."""
SURE = 3.0
"""A cell counts if its best shift is better than the average shift by this many standard errors over the pairs."""
APART = 2.0
"""Largest distance in pixels of a level between the shift of a cell and the motion common to the others."""
ENOUGH = 16
"""Smallest number of cells for a full homography; with fewer cells it has only scale, rotation and position."""

ThermalPair = tuple[np.ndarray, np.ndarray]
"""A visible image (H, W) and the thermal one (h, w) of the same instant, both uint8."""


class HomographyError(ValueError):
    """No homography was found; the message says why, and what to record."""


@dataclass(frozen=True)
class Found:
    """A homography: `matrix` (3, 3) maps thermal pixels to visible pixels.

    `cells` of `of` cells agree with it, with a root mean square error of `rms_px` pixels of the visible image. It is
    also found from either half of the pairs: the corners of the thermal image then differ by `apart_px` on average.
    """

    matrix: np.ndarray
    cells: int
    of: int
    rms_px: float
    apart_px: float


def find(pairs: Sequence[ThermalPair]) -> Found:
    """Find the homography of at least four pairs, all of one size; HomographyError if they do not agree."""
    matrix, cells, of, rms_px = _refined(_roughly(pairs), pairs, LEVELS)
    halves = [_refined(matrix, pairs[half::2], LEVELS[1:])[0] for half in range(2)]
    height, width = pairs[0][1].shape
    apart = corners(halves[0], width, height) - corners(halves[1], width, height)
    return Found(matrix / matrix[2, 2], cells, of, rms_px, float(np.hypot(*apart.T).mean()))


def corners(matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Map the corners of an image with a homography; returns (4, 2) float64."""
    places = np.array([[[0, 0]], [[width - 1, 0]], [[width - 1, height - 1]], [[0, height - 1]]], np.float64)
    return cv2.perspectiveTransform(places, matrix)[:, 0]


def _roughly(pairs: Sequence[ThermalPair]) -> np.ndarray:
    """Find scale and position of the thermal image on the visible one by trying all; returns the homography (3, 3)."""
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
    matrix: np.ndarray, pairs: Sequence[ThermalPair], levels: Sequence[tuple[int, int, int]]
) -> tuple[np.ndarray, int, int, float]:
    """Refine a homography from level to level.

    Returns it, the number of cells that agree, the number of cells, and the root mean square error of those that agree
    in pixels of the visible image.
    """
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
    """Find how far the thermal images, warped by `matrix` to `size` (columns, rows), must be shifted in each cell.

    Returns the centres (N, 2) and the shifts (N, 2) of the cells with a certain shift, and the number of cells that
    the thermal image covers.
    """
    high, wide = 2 * size[1] // GRID[0], 2 * size[0] // GRID[1]
    cells: dict[tuple[int, int], list[np.ndarray]] = {
        (r * (size[1] - high) // (GRID[0] - 1), c * (size[0] - wide) // (GRID[1] - 1)): []
        for r in range(GRID[0])
        for c in range(GRID[1])
    }
    whole = np.full(thermals[0].shape, 255, np.uint8)
    # The border is not a contour of the scene.
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
    """Find the homography (3, 3) common to most cells' shifts.

    Returns it, the number of these cells, and the root mean square of their difference from it. Raises HomographyError
    if there are too few cells, or they do not agree.
    """
    if len(places) < 4:
        raise HomographyError(
            f"thermal and visible images have common contours in only {len(places)} cells of the view: record some "
            "seconds of driving by day past buildings, trees and people, with both cameras in focus"
        )
    targets = places + moves
    # A fixed seed, so that the same bag gives the same numbers.
    cv2.setRNGSeed(0)
    if len(places) >= ENOUGH:
        change, agree = cv2.findHomography(places, targets, cv2.RANSAC, APART)
    else:
        part, agree = cv2.estimateAffinePartial2D(places, targets, method=cv2.RANSAC, ransacReprojThreshold=APART)
        change = None if part is None else np.vstack((part, (0, 0, 1)))
    if change is None:
        raise HomographyError(
            "the cells of the view disagree on where the thermal image lies: check that the cameras are fixed to each "
            "other and that their stamps come from the same clock"
        )
    left = (cv2.perspectiveTransform(places[:, None], change)[:, 0] - targets)[agree.ravel() > 0]
    return change, len(left), float(np.sqrt((left**2).sum(axis=1).mean()))


def _scaling(columns: float, rows: float) -> np.ndarray:
    """Return the homography that scales an image by `columns` and `rows`; the outer edges of both images coincide."""
    return np.array(((columns, 0, (columns - 1) / 2), (0, rows, (rows - 1) / 2), (0, 0, 1)), np.float64)
