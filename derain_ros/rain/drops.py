"""Raindrops on the glass in front of a lens: refraction, bright caustics, and the blur of a lens focused far away."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from derain_ros.rain.shapes import Drops, from_outlines, melted_ellipses, raise_moving, raise_relief, with_trails
from derain_ros.rain.style import LARGEST, DropStyle

_LIGHT = ((np.arange(256) / 255) ** 2).astype(np.float32)
"""Light of each pixel value, relative to white: blur and blending are computed in linear light."""


OCCLUDED = 0.3
"""Alpha above which a pixel counts as occluded."""


def mask_of(alpha: np.ndarray) -> np.ndarray:
    """The mask (H, W) uint8 of the alpha (H, W) float32 of drops or dirt: 255 where pixels count as occluded."""
    return ((alpha > OCCLUDED) * 255).astype(np.uint8)


class LensDrops:
    """Drops at fixed places on the glass; applied to successive frames, they stay while the scene moves.

    The same `rng` state gives the same drops. `coverage` is the share in [0, 1) of the frame that they cover. A `style`
    is drawn if none is given; it gives the coverage if that is None. Shapes are melted ellipses, or those of
    `outlines`, masks as `outlines.read_outlines` gives them. `alpha` is (H, W) float32 in 0..1: the share of each
    pixel's light that came through water.
    """

    def __init__(
        self,
        height: int,
        width: int,
        rng: np.random.Generator,
        coverage: float | None = None,
        style: DropStyle | None = None,
        outlines: Sequence[np.ndarray] | None = None,
    ) -> None:
        if height < 16 or width < 16:
            raise ValueError(f"a frame of {width}x{height} is too small for drops; 16x16 is the least")
        if coverage is not None and not 0.0 <= coverage < 1.0:
            raise ValueError(f"coverage {coverage} is outside 0 to 1 (exclusive)")
        style = style if style is not None else DropStyle.draw(rng)
        protos = draw_protos(rng, outlines)
        drops = scatter(height, width, rng, style.coverage if coverage is None else coverage, style, protos)
        self._set_up(height, width, style, drops, protos, rng)

    @classmethod
    def of(
        cls,
        height: int,
        width: int,
        style: DropStyle,
        drops: Drops,
        protos: Sequence[np.ndarray],
        rng: np.random.Generator,
        moving: np.ndarray | None = None,
    ) -> LensDrops:
        """A glass with given drops, some of them `moving` (see `raise_moving`); `rng` draws the blur and the film."""
        glass = cls.__new__(cls)
        glass._set_up(height, width, style, drops, protos, rng, moving)
        return glass

    def _set_up(
        self,
        height: int,
        width: int,
        style: DropStyle,
        drops: Drops,
        protos: Sequence[np.ndarray],
        rng: np.random.Generator,
        moving: np.ndarray | None = None,
    ) -> None:
        self.style, self.height, self.width = style, height, width
        self._unit = min(height, width)
        blur = style.defocus * self._unit
        # Drops out of focus have no detail finer than their blur, so they are drawn at a lower resolution.
        self._step = max(1, int(np.ceil(blur / 3)))
        coarse = (-(-height // self._step), -(-width // self._step))
        relief, unit = np.zeros(coarse, np.float32), self._unit / self._step
        moving = np.zeros(len(drops), bool) if moving is None else moving
        raise_relief(relief, drops.chosen(~moving), protos, unit)
        self._shape = (relief > 0).astype(np.float32)
        raise_moving(relief, self._shape, drops.chosen(moving), protos, unit)
        self._optics(relief)
        self._kernel = _circle_of_confusion(blur / self._step, rng)
        self._film = _wet_film(height, width, style.film, rng)
        self._drop_alpha = np.clip(self._spread(self._shape), 0, 1)
        self.alpha = np.maximum(self._drop_alpha, self._film)

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`image` (H, W) or (H, W, 3) uint8 as seen through the glass, and `alpha`, of which `mask_of` makes a mask.

        The input is not changed. ValueError for another size.
        """
        if image.shape not in ((self.height, self.width), (self.height, self.width, 3)):
            raise ValueError(
                f"the image is {image.shape}, the glass is for ({self.height}, {self.width}) or that in three colours"
            )
        expand = (lambda a: a[..., None]) if image.ndim == 3 else (lambda a: a)
        # A drop shows a wide view in few pixels: the scene is smoothed first, to avoid aliasing.
        far = cv2.blur(cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), (3, 3))
        grey = far if far.ndim == 2 else cv2.transform(far, np.full((1, 3), 1 / 3))
        far = cv2.LUT(far, _LIGHT) * expand(cv2.LUT(grey, self._boost()))
        sky = far[grey >= np.quantile(grey, 0.95)].mean(axis=0)
        # Daylight from outside the view: nearly white, and present even if the view itself is dark.
        sky = np.maximum(0.4 * sky + 0.6 * sky.mean(), self.style.daylight).astype(np.float32)
        if image.ndim == 3:
            # A drop mixes light from all directions, so its colours are paler than the scene's.
            far = cv2.transform(far, 0.65 * np.eye(3) + 0.35 / 3)
        inside = cv2.remap(far, self._map_x, self._map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        layer = self._spread(inside * expand(self._gain) + sky * expand(self._added))
        light = cv2.LUT(image, _LIGHT)
        if self._film.any():
            smooth = cv2.resize(cv2.GaussianBlur(far, (0, 0), max(0.5, 0.004 * self._unit)), image.shape[1::-1])
            light += (smooth * 0.93 + 0.07 * sky - light) * expand(self._film)
        light *= expand(1.0 - self._drop_alpha)
        light += layer
        return (np.sqrt(np.minimum(light, 1.0)) * 255 + 0.5).astype(np.uint8), self.alpha

    def _boost(self) -> np.ndarray:
        """Gain of each grey value, (256,) float32, that undoes the clipping of bright light."""
        return (1 + self.style.glare * _smooth_step(np.arange(256) / 255 / 0.3 - 0.7 / 0.3)).astype(np.float32)

    def _spread(self, layer: np.ndarray) -> np.ndarray:
        """A coarse layer, blurred by the defocus, at the size of the frame."""
        layer = cv2.filter2D(layer, -1, self._kernel, borderType=cv2.BORDER_REPLICATE)
        if self._step == 1:
            return layer
        size = (layer.shape[1] * self._step, layer.shape[0] * self._step)
        return cv2.resize(layer, size, interpolation=cv2.INTER_LINEAR)[: self.height, : self.width]

    def _optics(self, relief: np.ndarray) -> None:
        """Set the refraction: where each pixel of a drop looks, and how bright it is, from the slope of the relief."""
        style, (height, width) = self.style, relief.shape
        # The slope of a round drop grows from its centre, so the view through it is upside down and wide.
        soft = cv2.GaussianBlur(relief, (0, 0), max(0.6, 0.002 * min(height, width)))
        slope_x, slope_y = (cv2.Sobel(soft, cv2.CV_32F, *axis, ksize=3, scale=1 / 16) for axis in ((1, 0), (0, 1)))
        steep = _length(slope_x, slope_y)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) * self._step
        reach = style.bend * self._unit * (1 + steep)
        look_y = y + reach * slope_y
        self._map_x, self._map_y = (x + reach * slope_x) / 4, look_y / 4
        above = np.clip(-look_y / (0.4 * self.height), 0, 1)
        below = np.clip((look_y - self.height) / (0.4 * self.height), 0, 1)
        shade = self._shape * (1 - style.rim * _smooth_step((steep - 0.45) / 0.5)) * style.brightness
        side = (slope_x * np.sin(style.light) - slope_y * np.cos(style.light)) / np.maximum(steep, 1e-3)
        crescent = np.maximum(side, 0) ** 3 * np.exp(-(((steep - 0.6) / 0.2) ** 2))
        sky = style.sky * _smooth_step(above)
        self._gain = shade * (1 - sky) * (1 - 0.4 * below)
        self._added = shade * sky + self._shape * style.caustic * crescent


def draw_protos(rng: np.random.Generator, outlines: Sequence[np.ndarray] | None) -> list[np.ndarray]:
    """The proto-drops of one glass: melted ellipses, or shapes drawn from `outlines`."""
    if not outlines:
        return melted_ellipses(24, rng)
    return from_outlines([outlines[k] for k in rng.integers(len(outlines), size=24)], rng)


def scatter(
    height: int, width: int, rng: np.random.Generator, coverage: float, style: DropStyle, protos: Sequence[np.ndarray]
) -> Drops:
    """Drops at random places that cover about the share `coverage` of the frame."""
    unit = min(height, width)
    glass = (width / unit, height / unit)
    # The coverage is counted on a small image: accurate to one per cent, and fast.
    count_unit = min(unit, max(160.0, 2.5 / style.radius))
    relief = np.zeros((round(glass[1] * count_unit), round(glass[0] * count_unit)), np.float32)
    drops = Drops.draw(np.zeros(0), *glass, len(protos), rng)
    for _ in range(30):
        dry = float(np.mean(relief <= 0))
        missing = coverage - (1 - dry)
        if missing <= 0.03 * coverage or len(drops) > 6000:
            break
        # Water that falls on wet glass does not add to the coverage.
        room = missing / dry * glass[0] * glass[1]
        typical = np.pi * style.radius**2 * np.exp(2 * style.spread**2)
        radius = style.radius * np.exp(rng.normal(0, style.spread, 1 + min(6000, int(room / typical))))
        radius = np.clip(radius, 0.0025, min(LARGEST, max(0.5 * np.sqrt(room), 0.0025)))
        more = Drops.draw(radius, *glass, len(protos), rng)
        running = (rng.random(len(more)) < style.running) & (radius > 1.2 * style.radius) & (radius < 0.1)
        more = with_trails(more, running, rng)
        raise_relief(relief, more, protos, count_unit)
        drops = drops + more
    return drops


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lengths of vectors. OpenCV's depend in the last digit on memory alignment; here a seed always gives one image."""
    return np.sqrt(x * x + y * y)


def _smooth_step(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _circle_of_confusion(radius: float, rng: np.random.Generator) -> np.ndarray:
    """Float32 kernel with sum 1 that averages many random shifts within a disc of `radius` pixels (paper 1, III-B)."""
    reach = int(np.ceil(radius))
    count = 4000
    angle, distance = rng.uniform(0, 2 * np.pi, count), radius * np.sqrt(rng.uniform(0, 1, count))
    edges = np.arange(-reach - 0.5, reach + 1)
    kernel = np.histogram2d(distance * np.sin(angle), distance * np.cos(angle), bins=(edges, edges))[0]
    return (kernel / kernel.sum()).astype(np.float32)


def _wet_film(height: int, width: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Alpha (H, W) float32 of the water film between the drops: soft patches, zero elsewhere."""
    if strength == 0:
        return np.zeros((height, width), np.float32)
    coarse = rng.standard_normal((height // 8 + 1, width // 8 + 1)).astype(np.float32)
    noise: np.ndarray = cv2.GaussianBlur(coarse, (0, 0), max(1.0, min(height, width) / 60))
    noise = cv2.resize(noise / (noise.std() + 1e-6), (width, height), interpolation=cv2.INTER_CUBIC)
    return (strength * np.clip(noise - 0.3, 0, 1)).astype(np.float32)
