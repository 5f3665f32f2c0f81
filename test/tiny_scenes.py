"""Tiny labelled street scenes in the layouts of CamVid and Cityscapes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (24, 32)


def write_camvid(root: Path, train: int = 3, val: int = 12) -> Path:
    """Scenes of one drive in each part: ids 0 to 11 and 255 stand in the labels' first columns."""
    for part, drive, count in (("train", "0001TP", train), ("val", "0016E5", val)):
        for n in range(count):
            label = np.zeros(SIZE, np.uint8)
            label[:, :12], label[:, 12:14] = np.arange(12), 255
            _write(root / part / f"image/{drive}_{n:03}.png", _image(n))
            _write(root / part / f"label/{drive}_{n:03}.png", label)
    return root


def write_cityscapes(root: Path) -> Path:
    """Two scenes to train on, one with full and one with train ids, and cities of validation, the first the largest."""
    for part, city, count in (
        ("train", "aachen", 2),
        ("val", "frankfurt", 5),
        ("val", "lindau", 1),
        ("val", "munster", 3),
    ):
        for n in range(count):
            name = f"{city}_{n:03}_000019"
            ids = "labelIds" if n == 0 else "labelTrainIds"
            label = np.zeros(SIZE, np.uint8) if n == 0 else np.full(SIZE, 255, np.uint8)
            label[:, :6] = [7, 26, 33, 0, 9, 255] if n == 0 else [0, 13, 18, 255, 255, 255]
            _write(root / f"leftImg8bit/{part}/{city}/{name}_leftImg8bit.png", _image(n))
            _write(root / f"gtFine/{part}/{city}/{name}_gtFine_{ids}.png", label)
    return root


def _image(n: int) -> np.ndarray:
    """A picture as OpenCV writes it; its blue is its number."""
    image = np.random.default_rng(n).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    image[0, 0] = (n, 100, 200)
    return image


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
