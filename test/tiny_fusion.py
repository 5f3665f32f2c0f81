"""Pairs of visible and infrared images in the layout of the real data folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FOLDERS = (
    "roadscene_rain/train/clean",
    "roadscene_rain/train/infrared",
    "msrs/train/visible",
    "msrs/train/infrared",
    "llvip/train/visible",
    "llvip/train/infrared",
)
COUNT = 18
"""Pairs of each source: one a run, so that each split has some."""


def write_pairs(data: Path, height: int = 144, width: int = 176) -> Path:
    """Fill `data`, which is returned: the visible images show fine texture, the infrared ones a few warm blots; and
    masks of drops, from which outlines are read."""
    rng = np.random.default_rng(5)
    for visible, infrared in zip(FOLDERS[::2], FOLDERS[1::2], strict=True):
        for number in range(COUNT):
            coarse = cv2.resize(rng.uniform(40, 200, (8, 10)).astype(np.float32), (width, height))
            _write(data / visible / f"{number:03}.png", coarse + rng.normal(0, 12, coarse.shape))
            warm = np.full((height, width), 60.0, np.float32)
            for _ in range(6):
                place = rng.integers(16, width - 16), rng.integers(16, height - 16)
                cv2.circle(warm, tuple(map(int, place)), int(rng.integers(6, 16)), float(rng.uniform(120, 230)), -1)
            _write(data / infrared / f"{number:03}.png", cv2.GaussianBlur(warm, (0, 0), 0.8))
    mask = np.zeros((90, 160), np.float32)
    for x in (30, 80, 130):
        cv2.ellipse(mask, (x, 45), (8, 12), 0, 0, 360, 255, -1)
    _write(data / "droplet_masks/train/0.png", mask)
    return data


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8)), path
