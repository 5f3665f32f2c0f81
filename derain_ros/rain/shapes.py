"""Shapes of raindrops on glass: proto-drops from melted ellipses or given outlines, and their relief on a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

TILE = 64
"""Side in pixels of a proto-drop."""
SMALL = 28
"""Largest side, in pixels, of small drops, which are drawn together."""
SPAN = 1.5
"""Half the side of the square on which a proto-drop is computed; its lobes have semi-axes below 1 there."""
TALL = (0.17, 0.31)
"""Mean and standard deviation of ln(height / width) of drops, measured on the masks of RainyNuScenes (533 images).
There the median of height / width is 1.19, and 90 % are within 0.73 to 2.0."""


@dataclass
class Drops:
    """Drops on one glass, as arrays of length N; lengths are shares of the frame's shorter side.

    `x`, `y`: centre. `radius`: of the disc with equal area. `tall`: height / width. `steep`: height of the water
    divided by the radius, relative to a usual drop. `proto`: index of the proto-drop. `mirror`: whether it is mirrored.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    tall: np.ndarray
    steep: np.ndarray
    proto: np.ndarray
    mirror: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def draw(cls, radius: np.ndarray, width: float, height: float, protos: int, rng: np.random.Generator) -> Drops:
        """Drops of the given radii (N,) at random places on a glass of `width` x `height` (in its shorter sides)."""
        n = len(radius)
        return cls(
            rng.uniform(0, width, n),
            rng.uniform(0, height, n),
            radius,
            np.exp(rng.normal(*TALL, n)),
            rng.uniform(0.5, 1.15, n),
            rng.integers(protos, size=n),
            rng.random(n) < 0.5,
        )

    def chosen(self, which: np.ndarray) -> Drops:
        """The drops selected by the boolean mask `which` (N,)."""
        return Drops(*(part[which] for part in vars(self).values()))

    def __add__(self, other: Drops) -> Drops:
        return Drops(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))


def melted_ellipses(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`count` proto-drops (TILE, TILE) float32: about 1 at the summit, 0 along the outline, negative outside.

    Each is the smooth maximum of one to four paraboloids over ellipses, flattened by its weight and sagging slightly.
    """
    y, x = np.mgrid[-SPAN : SPAN : TILE * 1j, -SPAN : SPAN : TILE * 1j].astype(np.float32)
    lobes = rng.choice([1, 2, 3, 4], count, p=[0.4, 0.3, 0.2, 0.1])
    total = np.zeros((count, TILE, TILE), np.float32)
    for k in range(4):
        reach, size, angle = (
            rng.uniform(0.0, 0.55, count) * (k > 0),
            rng.uniform(0.5, 0.9, count),
            rng.uniform(0, 2 * np.pi, count),
        )
        across, turn = size * rng.uniform(0.75, 1.0, count), rng.uniform(0, np.pi, count)
        cos, sin, a, b, u, v = (
            part.astype(np.float32)[:, None, None]
            for part in (np.cos(turn), np.sin(turn), size, across, reach * np.cos(angle), reach * np.sin(angle))
        )
        field = 1 - (((x - u) * cos + (y - v) * sin) / a) ** 2 - (((y - v) * cos - (x - u) * sin) / b) ** 2
        total += np.where((k < lobes)[:, None, None], np.exp(4 * np.maximum(field, -3)), 0)
    field = np.log(np.maximum(total, 1e-6)) / 4
    field /= field.max(axis=(1, 2), keepdims=True)
    return [_settle(_fit(tile), rng) for tile in field]


def from_outlines(outlines: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Proto-drops as from `melted_ellipses`, but with the given outlines: masks (h, w), non-zero within the drop."""
    tiles = []
    for outline in outlines:
        shape = cv2.resize((outline > 0).astype(np.float32), (TILE - 4, TILE - 4), interpolation=cv2.INTER_AREA)
        shape = cv2.copyMakeBorder(shape, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
        wet = (shape > 0.5).astype(np.uint8)
        depth = cv2.distanceTransform(wet, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - wet, cv2.DIST_L2, 5)
        share = np.minimum(cv2.GaussianBlur(depth, (0, 0), 1.5) / max(float(depth.max()), 1.0), 1)
        tiles.append(_settle(np.where(share > 0, share * (2 - share), share).astype(np.float32), rng))
    return tiles


def _fit(field: np.ndarray) -> np.ndarray:
    """A proto-drop's field, cropped to its outline and resized to (TILE, TILE)."""
    wet = field > 0
    y, x = np.flatnonzero(wet.any(axis=1)), np.flatnonzero(wet.any(axis=0))
    part = field[max(y[0] - 1, 0) : y[-1] + 2, max(x[0] - 1, 0) : x[-1] + 2]
    return cv2.resize(part, (TILE, TILE), interpolation=cv2.INTER_LINEAR)


def _settle(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A drop's relief from a field that is 1 at its centre and 0 along its outline: flatter on top, thicker below."""
    flat, sag = rng.uniform(0.9, 1.8), rng.uniform(0.0, 0.35)
    relief = np.where(field > 0, 1 - np.maximum(1 - field, 0) ** flat, flat * field)
    relief *= 1 + sag * np.linspace(-1, 1, len(field), dtype=np.float32)[:, None]
    return np.maximum(relief, -0.5).astype(np.float32)


def with_trails(drops: Drops, running: np.ndarray, rng: np.random.Generator) -> Drops:
    """`drops`, with a trail of water above each drop where `running` (N,) bool is true."""
    parts = [drops]
    for k in np.flatnonzero(running):
        size = drops.radius[k] * rng.uniform(0.2, 0.5)
        n = int(rng.uniform(3, 11) * drops.radius[k] / (0.6 * size))
        along = np.arange(1, n + 1)
        x = drops.x[k] + np.cumsum(rng.normal(0, 0.12, n)) * size
        radius = size * rng.uniform(0.7, 1.1, n) * np.linspace(1.1, 0.6, n)
        # The older part of the trail is torn into beads.
        kept = rng.random(n) > 0.5 * along / n
        trail = Drops(
            x,
            drops.y[k] - 0.6 * size * along,
            radius,
            rng.uniform(1.2, 2.2, n),
            rng.uniform(0.4, 0.7, n),
            np.full(n, drops.proto[k]),
            rng.random(n) < 0.5,
        )
        parts.append(Drops(*(a[kept] for a in vars(trail).values())))
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def raise_relief(relief: np.ndarray, drops: Drops, protos: Sequence[np.ndarray], unit: float) -> None:
    """Raise the water height `relief` (H, W) float32, in pixels, to that of `drops`, in place; 1.0 is `unit` pixels."""
    wide, high, lift = _measures(drops, protos, unit)
    # Sizes of small drops above 8 pixels are rounded to even numbers, so that many can be drawn at once.
    even = np.maximum(wide, high) <= SMALL
    wide, high = (
        np.maximum(3, np.where(even & (a > 8), 2 * np.rint(a / 2), np.rint(a))).astype(int) for a in (wide, high)
    )
    left, top = np.rint(drops.x * unit - wide / 2).astype(int), np.rint(drops.y * unit - high / 2).astype(int)
    seen = (left < relief.shape[1]) & (top < relief.shape[0]) & (left + wide > 0) & (top + high > 0)
    tiles = np.stack([*protos, *(p[:, ::-1] for p in protos)], axis=-1)
    which = drops.proto + len(protos) * drops.mirror
    _raise_small(relief, tiles, *(a[seen & even] for a in (which, left, top, wide, high, lift)))
    for k in np.flatnonzero(seen & ~even):
        _raise(relief, _resized(tiles[..., which[k]], int(wide[k]), int(high[k])) * lift[k], left[k], top[k])


def raise_moving(
    relief: np.ndarray, cover: np.ndarray, drops: Drops, protos: Sequence[np.ndarray], unit: float
) -> None:
    """As `raise_relief`, at sub-pixel positions and sizes, so that drops run and grow without jumps.

    `cover` (H, W) float32, the share of each pixel that is within an outline, is raised in place, too.
    """
    wide, high, lift = _measures(drops, protos, unit)
    left, top = drops.x * unit - wide / 2, drops.y * unit - high / 2
    seen = (left < relief.shape[1]) & (top < relief.shape[0]) & (left + wide > 0) & (top + high > 0)
    for k in np.flatnonzero(seen):
        tile = protos[drops.proto[k]][:, ::-1] if drops.mirror[k] else protos[drops.proto[k]]
        w, h = max(1, round(wide[k])), max(1, round(high[k]))
        x, y = int(np.floor(left[k])), int(np.floor(top[k]))
        across, down = w / max(wide[k], 1.0), h / max(high[k], 1.0)
        # From pixel centres of the frame to pixel centres of the resized drop.
        to_drop = np.array(
            [[across, 0, (x + 0.5 - left[k]) * across - 0.5], [0, down, (y + 0.5 - top[k]) * down - 0.5]]
        )
        resized = [
            cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA) if max(w, h) < TILE else _resized(part, w, h)
            for part in (np.maximum(tile, 0), (tile > 0).astype(np.float32))
        ]
        patches = [
            cv2.warpAffine(
                part,
                to_drop,
                (w + 2, h + 2),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT,
            )
            for part in resized
        ]
        _raise(relief, patches[0] * lift[k], x, y)
        _raise(cover, patches[1] * min(1.0, wide[k]) * min(1.0, high[k]), x, y)


def _measures(drops: Drops, protos: Sequence[np.ndarray], unit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Width, height and water height of each drop in pixels, (N,) each."""
    share = np.array([(p > 0).mean() for p in protos])[drops.proto]
    side = drops.radius * unit * np.sqrt(np.pi / np.maximum(share, 0.05))
    lift = (drops.radius * drops.steep * unit).astype(np.float32)
    return side / np.sqrt(drops.tall), side * np.sqrt(drops.tall), lift


def _resized(tile: np.ndarray, width: int, height: int) -> np.ndarray:
    """A proto-drop resized to `width` x `height` pixels."""
    patch = cv2.resize(tile, (width, height), interpolation=cv2.INTER_LINEAR)
    enlarged = max(width, height) / TILE
    if enlarged > 2:
        # Refraction depends on the slope: without blur, the edges between a proto-drop's pixels would show as ridges.
        patch = cv2.GaussianBlur(patch, (0, 0), enlarged)
    return patch


def _raise(relief: np.ndarray, patch: np.ndarray, left: int, top: int) -> None:
    """Raise the relief to a patch with its first pixel at (left, top); parts outside the relief are ignored."""
    x0, y0 = max(left, 0), max(top, 0)
    place = relief[y0 : max(top + patch.shape[0], 0), x0 : max(left + patch.shape[1], 0)]
    np.maximum(place, patch[y0 - top :, x0 - left :][: place.shape[0], : place.shape[1]], out=place)


def _raise_small(
    relief: np.ndarray,
    tiles: np.ndarray,
    which: np.ndarray,
    left: np.ndarray,
    top: np.ndarray,
    wide: np.ndarray,
    high: np.ndarray,
    lift: np.ndarray,
) -> None:
    """Raise the relief to drops of at most SMALL pixels, all drops of one size at a time."""
    if not len(which):
        return
    framed = cv2.copyMakeBorder(relief, SMALL, SMALL, SMALL, SMALL, cv2.BORDER_CONSTANT)
    flat, across = framed.reshape(-1), framed.shape[1]
    start = (top + SMALL) * across + left + SMALL
    coarse = cv2.resize(tiles, (16, 16), interpolation=cv2.INTER_AREA)
    size = high * (SMALL + 1) + wide
    for key in np.unique(size):
        one = size == key
        h, w = divmod(int(key), SMALL + 1)
        patches = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)[which[one]]
        offset = np.arange(h)[:, None] * across + np.arange(w)
        np.maximum.at(flat, start[one][:, None, None] + offset, patches * lift[one][:, None, None])
    relief[:] = framed[SMALL:-SMALL, SMALL:-SMALL]
