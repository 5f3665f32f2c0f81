"""Falling rain in front of the camera: bright streaks at several depths, and the veil of all drops together."""

from __future__ import annotations

import math

import cv2
import numpy as np

SUBPIXEL_BITS = 4


class RainStreaks:
    """Rain that falls through a camera's view.

    `height` and `width` are the image's size in pixels; `rng` draws everything. `intensity` is from 0 (none) over
    about 0.1 (drizzle) to 1 (downpour). Slant, length and visibility are fixed; every call of `apply` draws new
    streaks, as every frame of a camera sees other drops. Without `veil` the image is unchanged between streaks.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator, intensity: float, veil: bool = True) -> None:
        if height < 8 or width < 8:
            raise ValueError(f"rain streaks: an image of {width}x{height} is too small; at least 8x8 is needed")
        if not 0.0 <= intensity <= 1.0:
            raise ValueError(f"rain streaks: intensity {intensity} is outside 0 to 1")
        self.shape = (height, width)
        self.intensity = intensity
        self._rng, self._veil = rng, veil
        self._slant = rng.normal(0.0, 0.25)  # radians off the vertical: wind and the camera's own motion
        self._length = rng.uniform(0.04, 0.14)  # of the far streaks, in image heights: the exposure time
        self._opacity = rng.uniform(0.25, 0.6)
        self._brightness = rng.uniform(0.75, 1.0)

    def apply(self, image: np.ndarray, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The image in rain, and the share of each pixel that streaks cover; `rng` replaces the constructor's.

        `image` is (H, W) or (H, W, 3) uint8 of the size given to the constructor; the result has the same shape and
        type. The cover is (H, W) float32 in [0, 1], without the veil. Raises ValueError for another size.
        """
        if image.shape[:2] != self.shape:
            raise ValueError(
                f"rain streaks: the image is {image.shape[1]}x{image.shape[0]}, the rain was made for "
                f"{self.shape[1]}x{self.shape[0]}"
            )
        alpha = self._draw(self._rng if rng is None else rng)
        picture = image.astype(np.float32)
        # A drop in the air is a wide-angle lens: it shows the light of its surroundings, mostly sky.
        level = float(np.percentile(picture, 85)) * 0.6 + 60.0
        light = min(255.0, level * self._brightness)
        veil = (
            0.18 * self.intensity * self._opacity * self._veil
        )  # far drops are too many and too small to be seen individually
        cover = alpha + veil * (1.0 - alpha)
        if image.ndim == 3:
            cover = cover[..., None]
        rainy = picture + cover * np.maximum(light - picture, 0.35 * (light - picture))
        return np.clip(np.rint(rainy), 0, 255).astype(np.uint8), alpha

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """New streaks, (H, W) float32 in [0, 1]: many thin far ones, and a few wide, faint, blurred near ones."""
        height, width = self.shape
        clear = np.ones(self.shape, np.float32)
        for depth, share in ((1.0, 0.7), (0.5, 0.25), (0.2, 0.05)):
            layer = np.zeros(self.shape, np.uint8)
            count = rng.poisson(self.intensity * share * 900.0 * width / height)
            thickness = max(1, round(height / 400 / depth))
            strength = self._opacity * (0.5 + 0.5 * depth)
            x = rng.uniform(-0.1, 1.1, count) * width
            y = rng.uniform(-0.2, 1.1, count) * height
            slant = self._slant + rng.normal(0.0, 0.03, count)
            length = self._length * height * rng.uniform(0.6, 1.4, count) / math.sqrt(depth)
            shade = rng.uniform(0.3, 1.0, count)
            begin, end = _fixed(x, y), _fixed(x + length * np.sin(slant), y + length * np.cos(slant))
            for one, other, value in zip(begin, end, (255 * shade * strength).tolist(), strict=True):
                cv2.line(layer, one, other, int(value), thickness, cv2.LINE_AA, SUBPIXEL_BITS)
            sigma = max(0.4, height / 900 / depth)
            clear *= 1.0 - cv2.GaussianBlur(layer, (0, 0), sigma).astype(np.float32) / 255.0
        return 1.0 - clear


def _fixed(x: np.ndarray, y: np.ndarray) -> list[list[int]]:
    """N points in OpenCV's fixed-point coordinates, [x, y] each."""
    points: list[list[int]] = np.rint(np.stack([x, y], -1) * (1 << SUBPIXEL_BITS)).astype(int).tolist()
    return points
