"""Simple methods to fuse a visible and an infrared image, as baselines.

Each takes two images (H, W) uint8 of one size, and gives one of the same size and type.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Fuser = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes the visible and the infrared image, (H, W) uint8 each, and gives the fused one, (H, W) uint8."""

LEVELS = 4
"""Levels of detail in the Laplacian pyramid."""
BASE_WINDOW = 31
"""Side in pixels of the mean filter that separates base and detail in guided filtering."""
SALIENCY_WINDOW, SALIENCY_SIGMA = 11, 5.0
BASE_FILTER = (45, 0.3)
DETAIL_FILTER = (7, 1e-6)
"""Radius in pixels, and regularisation of images in 0 to 1, of the filters that smooth the weights."""


def average(visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """The mean of both images; halves are rounded up."""
    return ((visible.astype(np.uint16) + infrared + 1) // 2).astype(np.uint8)


def maximum(visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """The brighter of both images at each pixel."""
    return np.maximum(visible, infrared)


def laplacian_pyramid(visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """The stronger detail of both images at each of LEVELS scales, and the mean of the rest (Burt and Adelson 1983)."""
    a: np.ndarray = visible.astype(np.float32)
    b: np.ndarray = infrared.astype(np.float32)
    details = []
    for _ in range(LEVELS):
        size = (a.shape[1], a.shape[0])
        smaller = cv2.pyrDown(a), cv2.pyrDown(b)
        of_a, of_b = (image - cv2.pyrUp(small, dstsize=size) for image, small in zip((a, b), smaller, strict=True))
        details.append(np.where(np.abs(of_a) >= np.abs(of_b), of_a, of_b))
        a, b = smaller
    fused: np.ndarray = (a + b) / 2
    for detail in reversed(details):
        fused = cv2.pyrUp(fused, dstsize=(detail.shape[1], detail.shape[0])) + detail
    return _to_bytes(fused)


def guided_filtering(visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """Base and detail, each weighted by the more salient source, along that source's edges (Li et al. 2013)."""
    sources = [image.astype(np.float32) / 255 for image in (visible, infrared)]
    salient = [
        cv2.GaussianBlur(np.abs(cv2.Laplacian(source, cv2.CV_32F)), (SALIENCY_WINDOW, SALIENCY_WINDOW), SALIENCY_SIGMA)
        for source in sources
    ]
    chosen = [(salient[0] >= salient[1]).astype(np.float32), (salient[0] < salient[1]).astype(np.float32)]
    bases = [cv2.blur(source, (BASE_WINDOW, BASE_WINDOW)) for source in sources]
    details = [source - base for source, base in zip(sources, bases, strict=True)]
    base, detail = (
        _weighted(parts, [_guided(source, weight, *settings) for source, weight in zip(sources, chosen, strict=True)])
        for parts, settings in ((bases, BASE_FILTER), (details, DETAIL_FILTER))
    )
    return _to_bytes((base + detail) * 255)


def _weighted(parts: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """The weighted mean of two parts; the weights are clipped to 0..1 and normalized to the sum 1."""
    first = np.clip(weights[0], 0, 1) + 1e-6
    second = np.clip(weights[1], 0, 1) + 1e-6
    return (first * parts[0] + second * parts[1]) / (first + second)


def _guided(guide: np.ndarray, image: np.ndarray, radius: int, regularisation: float) -> np.ndarray:
    """The guided filter of He et al. 2013: in each window the image is a linear function of the guide."""
    window = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_image = cv2.blur(guide, window), cv2.blur(image, window)
    variance = cv2.blur(guide * guide, window) - mean_guide**2
    slope = (cv2.blur(guide * image, window) - mean_guide * mean_image) / (variance + regularisation)
    offset = mean_image - slope * mean_guide
    return cv2.blur(slope, window) * guide + cv2.blur(offset, window)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


BASELINES: dict[str, Fuser] = {
    "average": average,
    "maximum": maximum,
    "laplacian": laplacian_pyramid,
    "guided": guided_filtering,
}
"""The methods by their names in tables."""
