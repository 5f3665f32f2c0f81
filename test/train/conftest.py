"""A small folder of training images: textures instead of photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth colour patches with detail on them, (H, W, 3) uint8."""
    patches = rng.uniform(30, 220, (6, 8, 3)).astype(np.float32)
    coarse = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that training reads, few images in each; a white blot hides the middle of each real wet image."""
    data = tmp_path_factory.mktemp("training images")
    rng = np.random.default_rng(0)

    def write(folder: str, name: str, image: np.ndarray) -> None:
        (data / folder).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(data / folder / f"{name}.png"), image)

    for folder in ("camvid/train/image", "camvid/val/image", "bsds500/train", "bsds500/val"):
        for number in range(2):
            write(folder, str(number), texture(rng, 300, 400))
    for number in range(10):
        write("msrs/train/visible", str(number), texture(rng, 300, 400))
        write("llvip/train/visible", str(number), texture(rng, 300, 400) // 4)
        clean = texture(rng, 260, 400)
        rain = clean.copy()
        for x in range(5, 400, 9):
            cv2.line(rain, (x, 0), (x - 20, 259), (235, 235, 235), 1)
        write("roadscene_rain/train/clean", str(number), clean)
        write("roadscene_rain/train/rain", str(number), rain)
    for name in ("0_0_0", "800_26_1", "2400_80_1", "7200_240_3"):
        clean = texture(rng, 256, 256)
        wet = clean.copy()
        cv2.circle(wet, (128, 128), 60, (250, 250, 250), -1)
        write("raindrop_real/train/rain", name, wet)
        write("raindrop_real/train/clean", name, clean)
    return data
