"""A data folder in the layout of the real one, with a few textures instead of photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

REAL = ("0_0_0", "800_26_1", "2400_80_1", "7200_240_3")
"""Names of the real pairs; the last two are of frames that training holds out."""


def write_data(data: Path) -> Path:
    """Fill `data`, which is returned: a white blot hides the middle of each real wet image, lines are rain."""
    rng = np.random.default_rng(0)
    for folder in ("camvid/train/image", "camvid/val/image", "bsds500/train", "bsds500/val"):
        for number in range(2):
            _write(data / folder / f"{number}.png", _texture(rng, 300, 400))
    for number in range(10):
        _write(data / f"msrs/train/visible/{number}.png", _texture(rng, 300, 400))
        _write(data / f"llvip/train/visible/{number}.png", _texture(rng, 300, 400) // 4)
        clean = _texture(rng, 260, 400)
        rain = clean.copy()
        for x in range(5, 400, 9):
            cv2.line(rain, (x, 0), (x - 20, 259), (235, 235, 235), 1)
        _write(data / f"roadscene_rain/train/clean/{number}.png", clean)
        _write(data / f"roadscene_rain/train/rain/{number}.png", rain)
    for name in REAL:
        clean = _texture(rng, 256, 256)
        wet = clean.copy()
        cv2.circle(wet, (128, 128), 60, (250, 250, 250), -1)
        _write(data / f"raindrop_real/train/clean/{name}.png", clean)
        _write(data / f"raindrop_real/train/rain/{name}.png", wet)
    return data


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth colour patches with detail on them, (height, width, 3) uint8."""
    patches = rng.uniform(30, 220, (6, 8, 3)).astype(np.float32)
    coarse = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image), path
