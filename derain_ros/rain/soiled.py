"""Real dirt: cut out of photographs through dirty lenses by their masks, varied, and put over other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from derain_ros.rain.dirt import haze

HIGH = 360
"""Rows of a photograph in memory; dirt is out of focus and has no finer detail."""
FINE = 135
"""Smallest number of rows at which dirt is drawn before it is scaled to the size of the image."""
BORDER = 0.15
"""Share of a photograph's height over which a patch fades towards the photograph's edge."""
MANNERS = {"opaque": 0.5, "filter": 0.3, "veil": 0.2}
"""How dirt changes light, with the probability of each manner. `opaque` hides the view and shows itself; `filter`
transmits dimmed, scattered light; `veil` transmits scattered light and adds its own."""


@dataclass(frozen=True)
class Soil:
    """The dirt of one photograph.

    `picture` (H, W) float32: grey, in units of the photograph's mean. `cover` (H, W) float32 in [0, 1]: the share of
    each pixel that is covered.
    """

    picture: np.ndarray
    cover: np.ndarray


class _Layer(NamedTuple):
    """One piece of dirt on the lens: cover and look (H, W) float32, the manner, and its own light."""

    cover: np.ndarray
    look: np.ndarray
    manner: str
    light: float


@lru_cache(maxsize=64)
def read_soil(photograph: Path, mask: Path) -> Soil:
    """The dirt in the file `photograph`; the file `mask` is above half of its range where the photograph is soiled.

    Masks are hand-drawn polygons, so the cover is fitted to borders in the photograph near them. ValueError if a file
    cannot be read.
    """
    grey = _read(photograph)
    drawn = cv2.resize(_read(mask), grey.shape[::-1], interpolation=cv2.INTER_AREA)
    cover = _guided((drawn > 127).astype(np.float32), grey / 255, HIGH // 24)
    cover = cv2.GaussianBlur(np.clip(1.4 * cover - 0.2, 0, 1), (0, 0), HIGH / 120)
    return Soil(grey / max(1.0, float(grey.mean())), cover)


class SoiledLens:
    """A fixed layer of real dirt on the lens: the dirt of one photograph over the whole view, or one or more pieces.

    `height` and `width` are the image's size in pixels. `rng` draws what is taken from `soils`, its size, place,
    rotation, warp, blur, brightness, opacity and manner, one of MANNERS. ValueError if `soils` is empty.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator, soils: Sequence[Soil]) -> None:
        if not soils:
            raise ValueError("soiled lens: there is no soil to be laid on it")
        self._layers: list[_Layer] = []
        whole, step = rng.random() < 0.45, max(1, height // FINE)
        for _ in range(1 if whole else int(rng.choice([1, 2, 3, 6, 12], p=[0.35, 0.25, 0.15, 0.15, 0.1]))):
            soil = soils[int(rng.integers(len(soils)))]
            layer = _varied(*_moved(soil, -(-height // step), -(-width // step), rng, whole), rng)
            cover, look = (
                cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in (layer.cover, layer.look)
            )
            self._layers.append(layer._replace(cover=cover, look=look))
        self.alpha = 1 - np.prod([1 - layer.cover for layer in self._layers], axis=0, dtype=np.float32)

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image through the dirty lens, and the share of each pixel that the dirt covers.

        `image` is (H, W) uint8, grey, of the size given to the constructor; the cover is (H, W) float32 in [0, 1].
        Raises ValueError for another size.
        """
        if image.shape != self.alpha.shape:
            raise ValueError(f"soiled lens: the image is {image.shape}, the dirt was made for {self.alpha.shape}")
        seen, around, mean = image.astype(np.float32), haze(image), float(image.mean())
        for layer in self._layers:
            if layer.manner == "opaque":
                lit = layer.light * layer.look * (0.7 * mean + 0.3 * around)
            elif layer.manner == "filter":
                lit = around * np.minimum(layer.look, 1.1)
            else:
                lit = 0.5 * around + 0.5 * layer.light * mean * (0.7 + 0.3 * layer.look)
            seen += layer.cover * (lit - seen)
        return cv2.convertScaleAbs(seen), self.alpha


def _read(path: Path) -> np.ndarray:
    """The picture in a file, grey float32 in 0..255, resized to HIGH rows; ValueError if it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError(f"{path}: cannot be read as an image")
    size = (round(HIGH * image.shape[1] / image.shape[0]), HIGH)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _guided(mask: np.ndarray, guide: np.ndarray, radius: int) -> np.ndarray:
    """`mask` with its borders moved to those of `guide` nearby (guided filter, He et al. 2010); both (H, W) float32."""

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (2 * radius + 1, 2 * radius + 1))

    of_guide, of_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - of_guide * of_mask) / (mean(guide * guide) - of_guide**2 + 1e-3)
    return mean(slope) * guide + mean(of_mask - slope * of_guide)


def _moved(soil: Soil, height: int, width: int, rng: np.random.Generator, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Cover and look (height, width) of the dirt, mirrored, rotated and warped.

    The dirt is that of the whole photograph, or one soiled piece of it at a random place and size.
    """
    tall, wide = soil.cover.shape
    cover = soil.cover
    if whole:
        centre, scale, turn = np.array([wide, tall]) / 2, float(rng.uniform(1.0, 1.5)), rng.normal(0, 0.15)
        target, stretch = np.array([width, height]) * rng.uniform(0.4, 0.6, 2), np.array([width / wide, height / tall])
    else:
        left, top, right, bottom = _piece(cover, rng)
        centre, turn = np.array([left + right, top + bottom]) / 2, rng.uniform(0, 2 * np.pi)
        size = height * float(np.exp(rng.uniform(np.log(0.08), np.log(1.2))))
        scale, stretch = size / max(right - left, bottom - top), np.exp(rng.normal(0, 0.15, 2))
        target = rng.uniform(-0.05, 1.05, 2) * (width, height)
        cover = cover * _faded(tall, wide)
        inside = np.zeros_like(cover)
        inside[top:bottom, left:right] = 1
        cover = cover * cv2.blur(inside, (15, 15))
    flip = rng.choice([-1.0, 1.0], 2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wave = 0.05 * height * rng.uniform(0, 1)
    u, v = x - np.float32(target[0]), y - np.float32(target[1])
    u, v = (
        part
        + np.float32(wave)
        * cv2.resize(rng.standard_normal((5, 6)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        for part in (u, v)
    )
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along, across = (cos * u + sin * v) * flip[0], (cos * v - sin * u) * flip[1]
    from_x = (along / (scale * stretch[0]) + centre[0]).astype(np.float32)
    from_y = (across / (scale * stretch[1]) + centre[1]).astype(np.float32)
    edge = cv2.BORDER_REPLICATE if whole else cv2.BORDER_CONSTANT
    return (
        cv2.remap(cover, from_x, from_y, cv2.INTER_LINEAR, borderMode=edge),
        cv2.remap(soil.picture, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT),
    )


def _piece(cover: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of one connected soiled piece, or at times of a part of it if it is large.

    It is the whole picture if there is no piece of at least 12x12 pixels.
    """
    count, _, boxes, _ = cv2.connectedComponentsWithStats((cover > 0.4).astype(np.uint8))
    pieces = [box for box in boxes[1:count] if min(box[2], box[3]) >= 12]
    if not pieces:
        return 0, 0, cover.shape[1], cover.shape[0]
    left, top, wide, tall = (int(v) for v in pieces[int(rng.integers(len(pieces)))][:4])
    if max(wide, tall) > 0.4 * cover.shape[0] and rng.random() < 0.5:
        part = rng.uniform(0.3, 0.8, 2)
        left += int(rng.uniform(0, 1 - part[0]) * wide)
        top += int(rng.uniform(0, 1 - part[1]) * tall)
        wide, tall = max(12, int(part[0] * wide)), max(12, int(part[1] * tall))
    return left, top, left + wide, top + tall


def _faded(height: int, width: int) -> np.ndarray:
    """A weight that is 1, and falls to 0 near the edges: a piece must not show the straight edge of its photograph."""
    y, x = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    rise = [np.clip(np.minimum(v, v[-1] - v) / (BORDER * height), 0, 1) for v in (y, x)]
    return np.outer(*rise)


def _varied(cover: np.ndarray, look: np.ndarray, rng: np.random.Generator) -> _Layer:
    """The dirt with a random opacity, border, focus, contrast, brightness and manner."""
    height = cover.shape[0]
    sharper = float(rng.uniform(1.0, 2.0))
    cover = np.clip(0.5 + sharper * (cover - 0.5), 0, 1) * np.float32(rng.uniform(0.5, 1.0))
    sigma = height * float(np.exp(rng.uniform(np.log(0.002), np.log(0.04))))
    cover = cv2.GaussianBlur(cover, (0, 0), sigma)
    if rng.random() < 0.5:
        look = cv2.GaussianBlur(look, (0, 0), height * float(rng.uniform(0.004, 0.04)))
    weight = float(cover.sum()) + 1e-6
    middle = float((cover * look).sum()) / weight
    look = np.maximum(middle + float(rng.uniform(0.5, 1.5)) * (look - middle), 0)
    manner = str(rng.choice(list(MANNERS), p=list(MANNERS.values())))
    return _Layer(cover, look.astype(np.float32), manner, float(np.exp(rng.uniform(-0.5, 0.7))))
