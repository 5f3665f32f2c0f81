"""Raindrops stuck to the glass before a lens: height map, refraction, and the blur of a lens focused far away."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class DropStyle:
    """How the drops of one glass look; lengths are shares of the frame's shorter side."""

    smallest: float
    """Radius of the smallest drop."""
    largest: float
    """Radius of the largest drop."""
    defocus: float
    """Radius of the circle of confusion; 0 gives the sharp borders of earlier models."""
    brightness: float
    """Gain of the light inside the drops."""
    sky: float
    """Share in [0, 1] of bright sky in the lower part of the drops, which show the world upside down."""
    rim: float
    """Darkness in [0, 1] of the rims, where light is reflected away."""
    film: float
    """Strength in [0, 1] of the thin film of water that blurs patches of the view."""
    running: float
    """Share in [0, 1] of drops that run down and leave a trail."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> DropStyle:
        """A style at random, from a fine spray in fair focus to few large drops far out of focus."""
        largest = float(np.exp(rng.uniform(np.log(0.03), np.log(0.33))))
        return cls(
            smallest=float(rng.uniform(0.004, 0.015)),
            largest=largest,
            defocus=float(rng.uniform(0.004, 0.05) * rng.uniform(0.5, 1.0)),
            brightness=float(rng.uniform(0.75, 1.45)),
            sky=float(rng.beta(1.0, 1.3)),
            rim=float(rng.uniform(0.0, 0.9)),
            film=float(rng.choice([0.0, 0.0, rng.uniform(0.3, 1.0)])),
            running=float(rng.choice([0.0, 0.05, 0.25])),
        )


class LensDrops:
    """Drops at fixed places on the glass; applied to frame after frame they stay while the scene moves.

    The same `rng` state gives the same drops. `coverage` is the share in [0, 1) of the frame that they cover; `style`
    is drawn where none is given. `alpha` is (H, W) float32 in 0..1: how much of each pixel's light came through water.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator, coverage: float,
                 style: DropStyle | None = None) -> None:
        if height < 16 or width < 16:
            raise ValueError(f"a frame of {width}x{height} is too small for drops; 16x16 is the least")
        if not 0.0 <= coverage < 1.0:
            raise ValueError(f"coverage {coverage} is outside 0 to 1 (exclusive)")
        self.style = style if style is not None else DropStyle.draw(rng)
        self.height, self.width = height, width
        self._unit = min(height, width)
        relief, below = self._grow(rng, coverage)
        self._shape = (relief > 0).astype(np.float32)
        self._optics(relief, below, rng)
        self._kernel = _circle_of_confusion(self.style.defocus * self._unit, rng)
        self._film = self._wet_film(rng)
        self._drop_alpha = cv2.filter2D(self._shape, -1, self._kernel, borderType=cv2.BORDER_REPLICATE)
        self.alpha = np.maximum(self._drop_alpha, self._film).astype(np.float32)

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`image` (H, W) or (H, W, 3) uint8 as seen through the glass, and `alpha`; the input is not changed."""
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(f"the image is {image.shape[1]}x{image.shape[0]}, the glass {self.width}x{self.height}")
        scene = image.astype(np.float32)
        expand = (lambda a: a[..., None]) if image.ndim == 3 else (lambda a: a)
        # A drop squeezes a wide view into few pixels: sampled from a smoothed scene, or it would alias.
        far = cv2.blur(cv2.resize(scene, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), (3, 3))
        inside = cv2.remap(far, self._map_x, self._map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        sky = np.percentile(far[::2, ::2], 97, axis=(0, 1))
        sky = sky + (255.0 - sky) * 0.4
        inside = inside * expand(self._gain * (1 - self._sky)) + sky * expand(self._sky * self._shade)
        layer = cv2.filter2D(inside * expand(self._shape), -1, self._kernel, borderType=cv2.BORDER_REPLICATE)
        if self._film.any():
            sigma = max(1.0, 0.02 * self._unit)
            smooth = cv2.GaussianBlur(scene, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
            scene += (smooth * 0.95 + 8.0 - scene) * expand(self._film)
        scene *= expand(1.0 - self._drop_alpha)
        scene += layer
        return np.clip(scene + 0.5, 0, 255).astype(np.uint8), self.alpha

    def _grow(self, rng: np.random.Generator, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """Relief (H, W) float32, 0 on dry glass, up to 1 in a drop; and how far down its drop each pixel is, 0..1."""
        relief = np.zeros((self.height, self.width), np.float32)
        below = np.zeros_like(relief)
        low, high = np.log(self.style.smallest), np.log(max(self.style.largest, self.style.smallest * 1.01))
        wanted, covered = coverage * relief.size, 0
        for _ in range(4000):
            if covered >= wanted:
                break
            # Small drops are the many, large ones the few.
            radius = float(np.exp(low + (high - low) * rng.beta(1.0, 1.6)) * self._unit)
            room = max(wanted - covered, 0.15 * wanted) + 4.0
            radius = max(1.0, min(radius, 0.5 * float(np.sqrt(room))))
            patch = _proto_drop(radius, rng, running=bool(rng.random() < self.style.running))
            covered += _place(relief, below, patch, rng)
        return relief, below

    def _optics(self, relief: np.ndarray, below: np.ndarray, rng: np.random.Generator) -> None:
        """Where each pixel of a drop looks, and how bright: refraction by the slope of the relief."""
        # The slope of a round cap grows linearly from its middle, so the view through it is upside down and wide.
        soft = cv2.GaussianBlur(relief, (0, 0), max(0.8, 0.004 * self._unit))
        slope_x = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3) / 8
        slope_y = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3) / 8
        # `_place` scales the relief of a drop with its radius: slopes, hence angles, do not depend on size.
        reach = float(rng.uniform(0.2, 0.8)) * self._unit
        y, x = np.mgrid[0:self.height, 0:self.width].astype(np.float32)
        self._map_x = (x + reach * slope_x) / 4
        self._map_y = (y + reach * slope_y) / 4
        steep = np.clip(np.hypot(slope_x, slope_y) / 2.0, 0, 1)
        self._shade = 1.0 - self.style.rim * steep ** 2
        self._gain = self.style.brightness * self._shade
        self._sky = self.style.sky * below ** 1.5

    def _wet_film(self, rng: np.random.Generator) -> np.ndarray:
        """Alpha (H, W) float32 of the film of water between the drops: soft patches, zero where there is none."""
        if self.style.film == 0:
            return np.zeros((self.height, self.width), np.float32)
        coarse = rng.standard_normal((self.height // 8 + 1, self.width // 8 + 1)).astype(np.float32)
        noise: np.ndarray = cv2.GaussianBlur(coarse, (0, 0), max(1.0, self._unit / 60))
        noise = cv2.resize(noise / (noise.std() + 1e-6), (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        return (self.style.film * np.clip(noise - 0.3, 0, 1)).astype(np.float32)


def _circle_of_confusion(radius: float, rng: np.random.Generator) -> np.ndarray:
    """Kernel float32 of sum 1 that averages many random shifts within a disc of `radius` pixels (paper 1, III-B)."""
    reach = int(np.ceil(radius))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    count = max(1, min(4000, int(12 * radius * radius)))
    angle, distance = rng.uniform(0, 2 * np.pi, count), radius * np.sqrt(rng.uniform(0, 1, count))
    column = np.rint(reach + distance * np.cos(angle)).astype(int)
    row = np.rint(reach + distance * np.sin(angle)).astype(int)
    np.add.at(kernel, (row, column), 1.0)
    kernel += kernel.mean() * (np.hypot(*np.mgrid[-reach:reach + 1, -reach:reach + 1]) <= max(radius, 0.5))
    return kernel / kernel.sum()


def _proto_drop(radius: float, rng: np.random.Generator, running: bool) -> np.ndarray:
    """Outline of one drop, uint8 0 or 1: overlapping ellipses melted together; a running drop has a trail above."""
    size = int(np.ceil(radius * 3.2)) + 4
    tall = int(size * (rng.uniform(1.5, 3.0) if running else 1.0))
    canvas: np.ndarray = np.zeros((tall, size), np.uint8)
    middle = np.array([size / 2, tall - size / 2])
    for _ in range(int(rng.integers(1, 5))):
        centre = middle + rng.uniform(-0.35, 0.35, 2) * radius
        axes = radius * rng.uniform(0.55, 1.0, 2) * np.array([1.0, 1.15])
        cv2.ellipse(canvas, (centre * 16).astype(int).tolist(), (np.maximum(axes, 0.7) * 16).astype(int).tolist(),
                    float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_8, 4)
    if running:
        drift = rng.uniform(-0.3, 0.3) * radius
        thick = max(1, int(radius * rng.uniform(0.3, 0.9)))
        cv2.line(canvas, middle.astype(int).tolist(), (int(middle[0] + drift), thick + 1), 255, thick)
    if radius >= 2:
        canvas = cv2.GaussianBlur(canvas, (0, 0), radius * 0.22)
    return (canvas > 110).astype(np.uint8)


def _place(relief: np.ndarray, below: np.ndarray, outline: np.ndarray, rng: np.random.Generator) -> int:
    """Put one drop at a random place of the glass, partly beyond its edge at times; returns the pixels newly wet."""
    height, width = relief.shape
    tall, wide = outline.shape
    top = int(rng.integers(-tall // 2, height - tall // 2 + 1))
    left = int(rng.integers(-wide // 2, width - wide // 2 + 1))
    rows = slice(max(top, 0), min(top + tall, height))
    columns = slice(max(left, 0), min(left + wide, width))
    framed = cv2.copyMakeBorder(outline, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    peak = float(depth.max())
    if peak == 0 or rows.start >= rows.stop or columns.start >= columns.stop:
        return 0
    # A round cap over the outline: flat in the middle, steep at the rim, as high as half its radius.
    cap = np.sqrt(np.maximum(depth * (2 * peak - depth), 0))
    ys = np.flatnonzero(outline.any(axis=1))
    down = np.clip((np.arange(tall) - ys[0]) / max(1, ys[-1] - ys[0]), 0, 1).astype(np.float32)
    part = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    cap, down2 = cap[part].astype(np.float32), np.broadcast_to(down[:, None], outline.shape)[part]
    there = relief[rows, columns]
    wins = cap > there
    fresh = int(np.count_nonzero(wins & (there == 0)))
    below[rows, columns] = np.where(wins, down2, below[rows, columns])
    relief[rows, columns] = np.maximum(there, cap)
    return fresh
