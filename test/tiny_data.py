"""A data folder in the layout of the real one, with a few pictures drawn by a seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

NAMES = ("0_0_0", "2400_80_1", "800_26_1", "7200_240_3")
"""Names of the pictures of every folder: as real drops, the second and the fourth are held out."""

FOLDERS = ("camvid/train/image", "camvid/val/image", "bsds500/train", "bsds500/val", "msrs/train/visible",
           "llvip/train/visible", "roadscene_rain/train/clean", "roadscene_rain/train/rain",
           "raindrop_real/train/clean", "raindrop_real/train/rain")


def write_data(data: Path) -> Path:
    """Draw NAMES in each of FOLDERS below `data`, which is returned; those of rain are the clean ones, blurred."""
    for number, folder in enumerate(FOLDERS):
        (data / folder).mkdir(parents=True)
        rng = np.random.default_rng(3 if "rain" in folder.split("/")[0] else 10 + number)
        for name in NAMES:
            picture = _picture(rng)
            if folder.endswith("/rain"):
                picture = cv2.GaussianBlur(picture, (0, 0), 9)
            cv2.imwrite(str(data / folder / f"{name}.jpg"), picture)
    return data


def _picture(rng: np.random.Generator) -> np.ndarray:
    """Boxes on a plain ground, (150, 200, 3) uint8."""
    image = np.full((150, 200, 3), rng.integers(60, 200), np.uint8)
    for _ in range(12):
        x, y = int(rng.integers(180)), int(rng.integers(130))
        corner = (x + int(rng.integers(10, 60)), y + int(rng.integers(10, 60)))
        cv2.rectangle(image, (x, y), corner, rng.integers(0, 256, 3).tolist(), -1)
    return image
