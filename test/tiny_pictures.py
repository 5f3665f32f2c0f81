"""The tiny data folder with all that the detector's three splits ask for."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
from tiny_data import write_data

SOILED = ("0003_FV", "0005_FV", "0040_RV", "0059_RV", "0090_FV")
SOILED_HELD_OUT = ("0040_RV", "0059_RV")
"""Photographs of dirt of three drives, and those of the second, which is held out."""


def write_pictures(data: Path) -> Path:
    """Fill `data`, which is returned: `write_data`, more photographs, pairs for calibration, masks of drops, real dirt
    of three drives, and froth."""
    write_data(data)
    for folder in ("camvid/train/image", "bsds500/train"):
        for number in range(2, 10):
            shutil.copy(data / folder / f"{number % 2}.png", data / folder / f"{number}.png")
    for side in ("rain", "clean"):
        shutil.copy(data / f"raindrop_real/train/{side}/0_0_0.png", data / f"raindrop_real/train/{side}/5600_1_1.png")
    for part in ("train", "val"):
        for number in range(3):
            mask = np.zeros((90, 160, 3), np.uint8)
            for x in (30, 80, 130):
                cv2.ellipse(mask, (x, 45), (8, 10 + number), 0, 0, 360, (255, 0, 0), -1)
            path = data / f"droplet_masks/{part}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), mask), path
    for name in ("soiling/woodscape/image", "soiling/woodscape/mask", "soiling/froth_clean"):
        (data / name).mkdir(parents=True)
    for number, name in enumerate(SOILED):
        picture = cv2.imread(str(data / f"camvid/{'val' if name in SOILED_HELD_OUT else 'train'}/image/0.png"))
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.ellipse(mask, (130 + 20 * number, 140), (90, 60), 0, 0, 360, 255, -1)
        picture[cv2.GaussianBlur(mask, (0, 0), 8) > 90] = 20
        assert cv2.imwrite(str(data / f"soiling/woodscape/image/{name}.png"), picture)
        assert cv2.imwrite(str(data / f"soiling/woodscape/mask/{name}.png"), mask)
    for cell in range(1, 5):
        shutil.copy(data / f"camvid/train/image/{cell % 2}.png", data / f"soiling/froth_clean/F1_1_{cell}_1_f_500.png")
    return data


def write_triplets(data: Path) -> Path:
    """Fill `data`, which is returned, with `write_pictures` and, beside each road scene, its negative as infrared."""
    write_pictures(data)
    for path in sorted((data / "roadscene_rain/train/clean").glob("*.png")):
        infrared = data / "roadscene_rain/train/infrared" / path.name
        infrared.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(infrared), 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    return data


def write_own_pictures(data: Path, count: int = 18) -> Path:
    """Fill `data`, which is returned, with pictures of one's own: `count` clean ones and as many behind drops."""
    rng = np.random.default_rng(3)
    for kind in ("clean", "raindrop"):
        (data / kind).mkdir(parents=True)
        for number in range(count):
            image = cv2.resize(rng.integers(0, 256, (9, 16), np.uint8), (320, 180), interpolation=cv2.INTER_CUBIC)
            assert cv2.imwrite(str(data / kind / f"{number:02}.png"), image)
    return data
