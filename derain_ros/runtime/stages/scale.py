"""Reduces images for networks, and brings their results to the full image: changes are added, and what they filled in
replaces the image there."""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

MOST_PIXELS = 2_500_000
"""The most pixels that a network gets: larger images are reduced further. The drops on them are then no smaller than
those in training."""
_pool = ThreadPoolExecutor(2, "derain compose")


@functools.lru_cache(64)
def fitting_scale(scale: int, height: int, width: int) -> int:
    """The factor by which images of this size are reduced for a network that wants them reduced by `scale`."""
    return max(scale, math.ceil(math.sqrt(height * width / MOST_PIXELS)))


def small_size(height: int, width: int, scale: int) -> tuple[int, int]:
    """Height and width of images reduced by `scale`."""
    return -(-height // scale), -(-width // scale)


def reduce(batch: np.ndarray, scale: int) -> np.ndarray:
    """Images (N, H, W, C) uint8 reduced by `scale`: each pixel is a mean of `scale` x `scale`; `batch` itself for 1."""
    if scale == 1:
        return batch
    height, width = small_size(batch.shape[1], batch.shape[2], scale)
    small = np.empty((len(batch), height, width, batch.shape[3]), np.uint8)
    for image, target in zip(batch, small, strict=True):
        cv2.resize(image, (width, height), dst=target, interpolation=cv2.INTER_AREA)
    return small


def compose(
    batch: np.ndarray, small: np.ndarray, restored: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bring `restored` (N, h, w, C), made from `small`, and its `masks` (N, h, w) to the size of `batch` (N, H, W, C);
    uint8.

    Outside the mask the change is added, so that the image keeps its detail. Under it the restored image replaces the
    detail, which is the drop's. `nets.fast.compose` does the same in training. Returns images and masks.
    """
    done = np.empty_like(batch)
    full_masks = np.empty(batch.shape[:3], np.uint8)
    # Both eyes in parallel: OpenCV releases the GIL.
    list(_pool.map(_compose, batch, small, restored, masks, done, full_masks))
    return done, full_masks


def _compose(
    image: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    mask: np.ndarray,
    target: np.ndarray,
    full_mask: np.ndarray,
) -> None:
    """Write one image and its mask into `target` and `full_mask`."""
    size = image.shape[1], image.shape[0]
    cv2.resize(mask, size, dst=full_mask, interpolation=cv2.INTER_LINEAR)
    changed = _added(image, cv2.subtract(after, before, dtype=cv2.CV_16S), size)
    if not mask.any():
        target[...] = changed.reshape(target.shape)
        return
    filled = cv2.resize(after, size, interpolation=cv2.INTER_LINEAR)
    share = full_mask.astype(np.float32) * np.float32(1 / 255)
    target[...] = cv2.blendLinear(filled, changed, share, 1 - share).reshape(target.shape)


def _added(image: np.ndarray, change: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` (H, W, C) uint8 plus the enlarged `change` (h, w, C) int16."""
    enlarged = cv2.resize(change, size, interpolation=cv2.INTER_LINEAR)
    return cv2.add(image, enlarged.reshape(image.shape), dtype=cv2.CV_8U)
