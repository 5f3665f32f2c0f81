"""Outlines of real drops, read from hand-drawn masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FEWEST_PIXELS = 60
"""Parts of a mask with fewer pixels are drawing errors, not drops."""


class OutlineError(ValueError):
    """A folder has no outlines of drops, or a mask cannot be read."""


def read_outlines(folder: Path, most: int = 500) -> list[np.ndarray]:
    """The drops in the masks (PNG, non-zero within drops) of `folder`, tightly cropped, (h, w) uint8 0 or 1.

    Drops that touch the mask's border are left out. At most `most` are read, in order of the file names. OutlineError
    if there are none, or a mask cannot be read.
    """
    outlines: list[np.ndarray] = []
    for path in sorted(folder.glob("*.png")):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise OutlineError(f"{path}: cannot be read as a mask; an 8-bit PNG is expected")
        count, labels, boxes, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
        for k in range(1, count):
            x, y, wide, high, pixels = boxes[k]
            cut = x == 0 or y == 0 or x + wide == mask.shape[1] or y + high == mask.shape[0]
            if pixels >= FEWEST_PIXELS and not cut:
                outlines.append((labels[y : y + high, x : x + wide] == k).astype(np.uint8))
        if len(outlines) >= most:
            return outlines[:most]
    if not outlines:
        raise OutlineError(f"{folder}: holds no masks of drops; PNG files, non-zero within the drops, are expected")
    return outlines
