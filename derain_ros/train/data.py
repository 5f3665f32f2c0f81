"""Training images: real pairs, synthetic pairs on clean photographs, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from derain_ros.rain.drops import LensDrops

CLEAN_FOLDERS = ("camvid/train/image", "bsds500/train", "roadscene_rain/train/clean", "msrs/train/visible")
"""Folders of clean photographs below the data folder, on which drops are drawn."""
HELD_OUT_FRAMES = ("2400_", "7200_", "12000_")
"""Whole frames of the real pairs kept out of training: crops of one frame share their scene and their drops."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance, as OpenCV takes them."""
OCCLUDED = 0.3
"""Alpha from which a pixel counts as occluded."""


class DataError(ValueError):
    """Training data is missing or unfit; the message says which, where, and what is expected there."""


@dataclass(frozen=True)
class Pair:
    """A wet image, the clean one and the mask of occluded pixels: (H, W, 3) uint8 RGB twice, (H, W) uint8 0 or 255."""

    wet: np.ndarray
    clean: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Tensors float32 in 0..1: `wet` and `clean` (N, 3, size, size), `mask` (N, 1, size, size)."""

    wet: Tensor
    clean: Tensor
    mask: Tensor


def read_rgb(path: Path) -> np.ndarray:
    """The image at `path`, (H, W, 3) uint8 RGB; DataError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: cannot be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_files(folder: Path) -> list[Path]:
    """The images of `folder` in order of name; DataError where there are none."""
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        raise DataError(f"{folder}: holds no .jpg or .png images; the folder layout is described in the README")
    return files


def occlusion_of(wet: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Mask (H, W) uint8, 255 where a real pair differs: smoothed first, as the two are aligned to a pixel only."""
    smooth = [cv2.GaussianBlur(image, (0, 0), 2.0).astype(np.int16) for image in (wet, clean)]
    difference = np.abs(smooth[0] - smooth[1])
    if difference.ndim == 3:
        difference = difference.max(axis=2)
    return ((difference > 20) * 255).astype(np.uint8)


def real_pairs(data: Path, held_out: bool) -> list[Pair]:
    """The real pairs below `data`: those kept out of training, or all the others."""
    pairs = []
    for path in image_files(data / "raindrop_real/train/rain"):
        if path.name.startswith(HELD_OUT_FRAMES) == held_out:
            wet, clean = read_rgb(path), read_rgb(data / "raindrop_real/train/clean" / path.name)
            pairs.append(Pair(wet, clean, occlusion_of(wet, clean)))
    return pairs


def synthetic_pairs(folders: Sequence[Path], count: int, size: int, seed: int) -> list[Pair]:
    """`count` crops of `size` x `size` pixels of the clean photographs in `folders`, each behind its own wet glass."""
    rng = np.random.default_rng(seed)
    files = [path for folder in folders for path in image_files(folder)]
    pairs = []
    for _ in track(range(count), "rendering wet glass"):
        clean = random_crop(read_rgb(files[rng.integers(len(files))]), size, rng)
        glass = LensDrops(size, size, rng, coverage=float(rng.uniform(0.03, 0.65)))
        wet, alpha = glass.apply(clean)
        pairs.append(Pair(wet, clean, ((alpha > OCCLUDED) * 255).astype(np.uint8)))
    return pairs


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of `size` pixels from a random place of `image` at a random scale."""
    scale = max(float(np.exp(rng.uniform(np.log(0.5), np.log(1.3)))), (size + 1) / min(image.shape[:2]))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = rng.integers(image.shape[0] - size + 1), rng.integers(image.shape[1] - size + 1)
    return np.ascontiguousarray(image[top:top + size, left:left + size])


class BatchSource:
    """Draws batches: a share of real pairs, a share of clean images, the rest synthetic; all augmented.

    Augmentation: scale, crop, mirror, gain, gamma and white balance, joined crops of two pairs, and grey for half of
    the samples, so that one network serves grey and colour. The state of `rng` decides everything.
    """

    def __init__(self, real: list[Pair], synthetic: list[Pair], size: int, batch: int, real_share: float,
                 clean_share: float, rng: np.random.Generator) -> None:
        if not synthetic and not real:
            raise DataError("no pairs to train on: neither real nor synthetic ones were given")
        self.real, self.synthetic, self.size, self.batch = real, synthetic, size, batch
        self.real_share = real_share if synthetic else 1.0
        self.clean_share, self.rng = clean_share, rng

    def draw(self) -> Batch:
        """One batch of float tensors."""
        stacked = [self._sample() for _ in range(self.batch)]
        wet, clean, mask = (torch.from_numpy(np.stack(part)) for part in zip(*stacked, strict=True))
        wet, clean = (t.permute(0, 3, 1, 2).float().div_(255) for t in (wet, clean))
        return Batch(*self._photometric(wet, clean), mask[:, None].float().div_(255))

    def _sample(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = self.rng
        pool = self.real if self.real and rng.random() < self.real_share else self.synthetic
        wet, clean, mask = self._crop(pool[rng.integers(len(pool))])
        if rng.random() < self.clean_share:
            return clean, clean, np.zeros_like(mask)
        if rng.random() < 0.3:
            other = self._crop(pool[rng.integers(len(pool))])
            edge = int(rng.integers(self.size // 4, self.size * 3 // 4))
            side = (slice(edge, None), slice(None)) if rng.random() < 0.5 else (slice(None), slice(edge, None))
            for mine, theirs in zip((wet, clean, mask), other, strict=True):
                mine[side] = theirs[side]
        return wet, clean, mask

    def _crop(self, pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng, size = self.rng, self.size
        height, width = pair.wet.shape[:2]
        scale = max(float(rng.uniform(0.8, 1.4)), size / min(height, width)) if rng.random() < 0.6 else 1.0
        side = min(round(size / scale), height, width)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        mirror = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
        crops = []
        for image in (pair.wet, pair.clean, pair.mask):
            crop = image[top:top + side, left:left + side][:, mirror]
            if side != size:
                how = cv2.INTER_LINEAR if image is not pair.mask else cv2.INTER_NEAREST
                crop = cv2.resize(np.ascontiguousarray(crop), (size, size), interpolation=how)
            crops.append(crop.copy())
        return crops[0], crops[1], crops[2]

    def _photometric(self, wet: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        rng, count = self.rng, len(wet)
        gain = torch.from_numpy(np.exp(rng.uniform(-0.35, 0.2, (count, 1, 1, 1)))).float()
        tint = torch.from_numpy(np.exp(rng.normal(0, 0.06, (count, 3, 1, 1)))).float()
        gamma = torch.from_numpy(np.exp(rng.uniform(-0.25, 0.25, (count, 1, 1, 1)))).float()
        grey = torch.from_numpy(rng.random((count, 1, 1, 1)) < 0.5)
        luma = torch.tensor(LUMA).view(1, 3, 1, 1)

        def change(x: Tensor) -> Tensor:
            x = (x * gain * tint).clamp(1e-4, 1).pow(gamma)
            return torch.where(grey, (x * luma).sum(1, keepdim=True), x)

        return change(wet), change(clean)
