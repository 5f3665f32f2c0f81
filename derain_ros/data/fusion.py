"""Pairs of visible and infrared images for training the fuser, and the samples drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from derain_ros.data.pictures import read_grey
from derain_ros.data.samples import DataError, image_files
from derain_ros.data.splits import ONE_PLACE, run_split
from derain_ros.rain.drops import LensDrops, mask_of
from derain_ros.rain.style import DropStyle

FOLDERS = {
    "roadscene": ("roadscene_rain/train/clean", "roadscene_rain/train/infrared"),
    "msrs": ("msrs/train/visible", "msrs/train/infrared"),
    "llvip": ("llvip/train/visible", "llvip/train/infrared"),
}
"""Folders of visible and of infrared images, relative to the data folder, by the name of their source."""
SHARES = {"roadscene": 0.45, "msrs": 0.4, "llvip": 0.15}
"""Share of the samples that each source gives."""
MASKED, NOISY, SATURATED, MISALIGNED = 0.35, 0.3, 0.15, 0.15
"""Shares of the samples with drops in the visible image, with noise in the infrared image, with a saturated infrared
image, and with an infrared image that is shifted by a few pixels."""
FARTHEST = 3.0
"""Largest shift of a misaligned infrared image along each axis, in pixels."""


@dataclass(frozen=True)
class FusionPair:
    """Files of a visible and of an infrared image of the same view; `source` is a key of FOLDERS."""

    source: str
    visible: Path
    infrared: Path

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The visible and the infrared image in grey, (H, W) uint8; DataError if unreadable or of different sizes."""
        visible, infrared = read_grey(self.visible), read_grey(self.infrared)
        if visible.shape != infrared.shape:
            raise DataError(f"{self.visible} and {self.infrared} differ in size: {visible.shape} and {infrared.shape}")
        return visible, infrared


def fusion_pairs(data: Path, split: str) -> list[FusionPair]:
    """The pairs of one of `splits.PICTURE_SPLITS` below the data folder, ordered by source and name.

    In the road scenes and MSRS the same runs of neighbours are held out as for the other networks, see `splits`.
    DataError if a folder is missing or an image has no counterpart.
    """
    missing = [folder for pair in FOLDERS.values() for folder in pair if not (data / folder).is_dir()]
    if missing:
        raise DataError(
            f"{data}: of the pairs of visible and infrared images these folders are not there: {', '.join(missing)}"
        )
    found = []
    for source, (visible, infrared) in FOLDERS.items():
        files = image_files(data / visible)
        files = files if source in ONE_PLACE else run_split(files, split)
        if source in ONE_PLACE and split != "train":
            continue
        there = {path.stem: path for path in image_files(data / infrared)}
        lacking = [path.name for path in files if path.stem not in there]
        if lacking:
            raise DataError(f"{data / infrared}: lacks the counterpart of {lacking[0]} in {data / visible}")
        found += [FusionPair(source, path, there[path.stem]) for path in files]
    return found


class FusionSample(NamedTuple):
    """Crops (size, size) uint8.

    `visible`, `infrared` and `mask` are the fuser's inputs. `clean_visible` and `clean_infrared` are the ground truth:
    without drops and noise, and aligned.
    """

    visible: np.ndarray
    infrared: np.ndarray
    mask: np.ndarray
    clean_visible: np.ndarray
    clean_infrared: np.ndarray


class FusionSource:
    """Draws samples of `size` x `size` pixels; a sample depends on seed, step and place alone.

    Drops have the shapes of `outlines`, as `outlines.read_outlines` gives them; without outlines they are melted
    ellipses.
    """

    def __init__(
        self, pairs: Sequence[FusionPair], size: int, seed: int, outlines: Sequence[np.ndarray] | None = None
    ) -> None:
        self.size, self.seed, self.outlines = size, seed, outlines
        self._pairs = {source: [p for p in pairs if p.source == source] for source in FOLDERS}
        self._pairs = {source: found for source, found in self._pairs.items() if found}
        if not self._pairs:
            raise DataError("no pairs of visible and infrared images to train on were given")
        shares = np.array([SHARES[source] for source in self._pairs])
        self._shares = shares / shares.sum()

    def sample(self, step: int, place: int) -> FusionSample:
        """The sample at index `place` in the batch of `step`."""
        rng = np.random.default_rng((self.seed, step, place))
        pairs = self._pairs[list(self._pairs)[int(rng.choice(len(self._shares), p=self._shares))]]
        images = pairs[int(rng.integers(len(pairs)))].read()
        visible, infrared, seen_infrared = _crops(*images, self.size, rng)
        visible = _lit(visible, np.exp(rng.uniform(-0.5, 0.3)), np.exp(rng.uniform(-0.3, 0.3)))
        gain = np.exp(rng.uniform(0.5, 2.5) if rng.random() < SATURATED else rng.uniform(-0.4, 0.2))
        gamma = np.exp(rng.uniform(-0.3, 0.3))
        infrared, seen_infrared = (_lit(image, gain, gamma) for image in (infrared, seen_infrared))
        seen, mask = visible, np.zeros_like(visible)
        if rng.random() < MASKED:
            seen, mask = self._behind_drops(visible, rng)
        if rng.random() < NOISY:
            seen_infrared = _noisy(seen_infrared, rng)
        return FusionSample(seen, seen_infrared, mask, visible, infrared)

    def _behind_drops(self, visible: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The visible image with drops on the lens, or blurred there as a restorer leaves it; and the mask."""
        glass = LensDrops(self.size, self.size, rng, float(rng.uniform(0.05, 0.6)), DropStyle.draw(rng), self.outlines)
        wet, alpha = glass.apply(visible)
        mask = mask_of(alpha)
        if rng.random() < 0.5:
            return wet, mask
        smooth = cv2.GaussianBlur(visible, (0, 0), float(rng.uniform(1.5, 6.0)))
        return np.where(mask > 0, smooth, visible), mask


def _crops(
    visible: np.ndarray, infrared: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One random square, scaled and at times mirrored: visible, aligned infrared, and infrared as the camera sees it.

    The last one is shifted in a share of MISALIGNED of the samples.
    """
    scale = max(float(np.exp(rng.uniform(np.log(0.6), np.log(1.6)))), (size + 1) / min(visible.shape))
    off = rng.uniform(-FARTHEST, FARTHEST, 2) if rng.random() < MISALIGNED else np.zeros(2)
    mirror = rng.random() < 0.5
    height, width = (int(side * scale) for side in visible.shape)
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    # Maps pixels of the crop to pixels of the image; crop positions are measured from the corner of the first pixel.
    step = -1 / scale if mirror else 1 / scale
    first = (left + size - 0.5 if mirror else left + 0.5) / scale - 0.5
    crop = np.array([[step, 0, first], [0, 1 / scale, (top + 0.5) / scale - 0.5]])

    def cut(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
        if scale < 1:
            image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
        place = crop + np.array([[0, 0, shift[0] / scale], [0, 0, shift[1] / scale]])
        return cv2.warpAffine(
            image, place, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )

    none = np.zeros(2)
    clean = cut(infrared, none)
    return cut(visible, none), clean, cut(infrared, off) if off.any() else clean


def _lit(image: np.ndarray, gain: float, gamma: float) -> np.ndarray:
    """The image (H, W) uint8 with another gain and gamma."""
    values = np.clip(np.arange(256) / 255 * gain, 0, 1) ** gamma
    return cv2.LUT(image, (values * 255 + 0.5).astype(np.uint8))


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The infrared image (H, W) uint8 with sensor noise: per pixel, and in half of the cases also per column."""
    noise = rng.normal(0, rng.uniform(1, 8), image.shape)
    if rng.random() < 0.5:
        noise += rng.normal(0, rng.uniform(0.5, 3), (1, image.shape[1]))
    return np.clip(image + noise + 0.5, 0, 255).astype(np.uint8)
