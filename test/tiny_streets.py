"""A data folder in CamVid's layout with streets that a network learns in a few steps: sky, building, road."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SKY, BUILDING, ROAD, VOID = 0, 1, 3, 11
COLOURS = {SKY: (200, 220, 255), BUILDING: (120, 70, 60), ROAD: (60, 60, 60)}


def write_streets(data: Path, height: int = 96, width: int = 128, train: int = 4, held_out: int = 6) -> Path:
    """Fill `data`/camvid, and return `data`: sky above road, a building in it, a void border below."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("val", held_out)):
        for number in range(count):
            labels = np.full((height, width), SKY, np.uint8)
            labels[height // 2 :] = ROAD
            left = int(rng.integers(width // 2))
            labels[height // 4 : height // 2, left : left + width // 3] = BUILDING
            labels[-2:] = VOID
            image = np.zeros((height, width, 3))
            for label, colour in COLOURS.items():
                image[labels == label] = colour
            image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
            for kind, picture in (("image", image[..., ::-1]), ("label", labels)):
                path = data / "camvid" / part / kind / f"0001_{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), picture)
    return data
