"""Dirt on a lens, out of focus as all that sits on the glass: dust, splashes of mud, greasy smears."""

from __future__ import annotations

import cv2
import numpy as np

KINDS = ("dust", "mud", "smear")


class LensDirt:
    """A fixed layer of dirt on the glass: the same object applied to successive frames is dirt that stays.

    `height` and `width` are the image's size in pixels; `rng` draws kind (one of `KINDS`), shapes and colour;
    `coverage` in [0, 1] is the share of pixels where the cover is at least half of its strongest.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator, coverage: float) -> None:
        if height < 8 or width < 8:
            raise ValueError(f"lens dirt: an image of {width}x{height} is too small; at least 8x8 is needed")
        if not 0.0 <= coverage <= 1.0:
            raise ValueError(f"lens dirt: coverage {coverage} is outside 0 to 1")
        self.kind = str(rng.choice(KINDS))
        self._scatter = 0.0
        if self.kind == "dust":
            field = _specks(height, width, rng, count=int(rng.uniform(150, 900)), size=(0.003, 0.016))
            opacity, shade, sigma = rng.uniform(0.45, 0.85), rng.uniform(0.3, 1.2), rng.uniform(0.002, 0.007)
        elif self.kind == "mud":
            field = _specks(height, width, rng, count=int(rng.uniform(8, 40)), size=(0.02, 0.13))
            opacity, shade, sigma = rng.uniform(0.85, 1.0), rng.uniform(0.08, 0.6), rng.uniform(0.004, 0.02)
        else:
            field = _strokes(height, width, rng)
            opacity, shade, sigma = rng.uniform(0.5, 0.9), rng.uniform(0.7, 1.3), rng.uniform(0.004, 0.015)
            self._scatter = rng.uniform(0.3, 0.8)
        self.alpha = (_cover(field, coverage, sigma * height) * opacity).astype(np.float32)
        tint = np.array([1.08, 1.0, 0.86])  # earth is warm; the image is RGB
        self._colour = (shade * tint).astype(np.float32)
        self._texture = 1.0 + 0.15 * _noise(height, width, rng, 12)

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image through the dirty glass, and how much of each pixel the dirt covers.

        `image` is (H, W) or RGB (H, W, 3), uint8, of the size given to the constructor, which is returned in the same
        shape and type; the cover is (H, W) float32 in [0, 1]. Raises ValueError for another size.
        """
        if image.shape[:2] != self.alpha.shape:
            raise ValueError(f"lens dirt: the image is {image.shape[1]}x{image.shape[0]}, the dirt was made for "
                             f"{self.alpha.shape[1]}x{self.alpha.shape[0]}")
        picture = image.astype(np.float32)
        # Dirt is lit by the scene as a whole; grease lets light through, but scattered.
        haze = cv2.GaussianBlur(picture, (0, 0), 0.06 * image.shape[0])
        colour, cover, texture = self._colour, self.alpha, self._texture
        if image.ndim == 3:
            cover, texture = cover[..., None], texture[..., None]
        else:
            colour = colour.mean()
        lit = colour * texture * (0.6 * picture.mean() + 0.4 * haze)
        layer = self._scatter * haze + (1.0 - self._scatter) * lit
        dirty = picture + cover * (layer - picture)
        return np.clip(np.rint(dirty), 0, 255).astype(np.uint8), self.alpha


def _noise(height: int, width: int, rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise of about unit variance with `cells` features along the height, (H, W) float32."""
    grid = rng.standard_normal((cells + 2, max(2, cells * width // height) + 2)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def _specks(height: int, width: int, rng: np.random.Generator, count: int, size: tuple[float, float]) -> np.ndarray:
    """A field that is high at the hearts of `count` ragged blots of radius `size` (image heights)."""
    field = np.zeros((height, width), np.float32)
    clump = rng.uniform(0.15, 0.6, 2)  # dirt is thrown from somewhere: it gathers at one place
    spread = rng.uniform(0.2, 0.6)
    radii = np.exp(rng.uniform(np.log(size[0]), np.log(size[1]), count)) * height
    for radius in np.sort(radii):
        x, y = (clump + rng.normal(0.0, spread, 2)) % 1.0 * (width, height)
        axes = (max(1, round(radius * rng.uniform(0.6, 1.0))), max(1, round(radius)))
        middle = 2 * axes[1] + 3  # room for the blur
        blot = np.zeros((2 * middle + 1, 2 * middle + 1), np.float32)
        cv2.ellipse(blot, (middle, middle), axes, rng.uniform(0, 180), 0, 360, float(rng.uniform(0.5, 1.0)), -1)
        _add_maximum(field, cv2.GaussianBlur(blot, (0, 0), 0.35 * radius + 0.3), round(x) - middle, round(y) - middle)
    ragged = 0.12 * _noise(height, width, rng, 40) + 0.08 * _noise(height, width, rng, 16)
    return field * (1.0 + ragged) + 0.01 * ragged


def _add_maximum(field: np.ndarray, blot: np.ndarray, x: int, y: int) -> None:
    """Lay `blot` into `field` in place with its corner at (x, y), keeping the larger value, clipped at the border."""
    top, left = max(0, y), max(0, x)
    bottom, right = min(field.shape[0], y + blot.shape[0]), min(field.shape[1], x + blot.shape[1])
    if top < bottom and left < right:
        part = field[top:bottom, left:right]
        np.maximum(part, blot[top - y : bottom - y, left - x : right - x], out=part)


def _strokes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A field of wiped grease: noise drawn out along one direction, where a second, coarse noise lets it be."""
    angle = rng.uniform(0.0, np.pi)
    span = max(5, int(0.25 * height) | 1)
    kernel = np.zeros((span, span), np.float32)
    reach = span // 2
    delta = (round(reach * np.cos(angle)), round(reach * np.sin(angle)))
    cv2.line(kernel, (reach - delta[0], reach - delta[1]), (reach + delta[0], reach + delta[1]), 1.0, 1)
    drawn = cv2.filter2D(rng.standard_normal((height, width)).astype(np.float32), -1, kernel / kernel.sum(),
                         borderType=cv2.BORDER_REFLECT)
    return drawn / (drawn.std() + 1e-6) * 0.6 + 1.5 * _noise(height, width, rng, 3)


def _cover(field: np.ndarray, coverage: float, sigma: float) -> np.ndarray:
    """Cover in [0, 1] that is at least a half in `coverage` of the pixels, out of focus by `sigma` pixels."""
    if coverage <= 0.0:
        return np.zeros_like(field)
    if coverage >= 1.0:
        return np.ones_like(field)
    shape = (field > np.quantile(field, 1.0 - coverage)).astype(np.float32)
    blurred = cv2.GaussianBlur(shape, (0, 0), max(0.5, sigma))
    # Blur wears small blots away: the level of a half is put back where the coverage is kept.
    level = max(0.05, float(np.quantile(blurred, 1.0 - coverage)))
    return np.clip(0.5 * blurred / level, 0.0, 1.0)
