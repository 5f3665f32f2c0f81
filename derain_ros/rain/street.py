"""An endless procedural street: buildings, trees, poles, parked and driving cars and people as textured rectangles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from derain_ros.rain import textures
from derain_ros.rain.textures import AIR_C, Texture, fractal, to_uint8

BLOCK_M = 24.0
"""Length of one block of the street in metres; each block depends on the street's seed and its number alone."""


@dataclass(frozen=True)
class Surface:
    """A textured rectangle: `corner` is its upper left, `across` and `down` its edges; metres, x ahead, y left, z up.

    `shade` multiplies the brightness. `layer` is the order of painting: 0 ground, 1 buildings, 2 objects in front of
    them. `part` is the visible range of its width and height; beyond 1 the ground's texture repeats.
    """

    texture: Texture
    corner: np.ndarray
    across: np.ndarray
    down: np.ndarray
    layer: int
    shade: float = 1.0
    part: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 1.0), (0.0, 1.0))


def _surface(
    texture: Texture,
    corner: tuple[float, float, float],
    across: tuple[float, float, float],
    down: tuple[float, float, float],
    layer: int,
    shade: float = 1.0,
) -> Surface:
    return Surface(texture, np.array(corner), np.array(across), np.array(down), layer, shade)


class Street:
    """The street of one seed; `surfaces` gives the surfaces near a position at a time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng([seed, 1])
        self.sky = textures.sky(rng)
        self.ground = textures.ground(rng)
        self.trees = [textures.tree(rng) for _ in range(3)]
        self.people = [textures.person(rng) for _ in range(5)]
        self.cars = [_car(rng) for _ in range(5)]
        self.fronts = [_front(rng) for _ in range(14)]
        self.ends = [textures.facade(8.0, 10.0, rng) for _ in range(4)]
        self.shadow = _shadow()
        self._block = lru_cache(maxsize=32)(self._build)

    def surfaces(self, x: float, seconds: float, ahead: float = 130.0) -> Iterator[Surface]:
        """All surfaces, except the ground, from a little behind `x` to about `ahead` metres in front of it.

        `x` is in metres; `seconds` is the time, which moves cars and people.
        """
        for number in range(int((x - 30.0) // BLOCK_M), int((x + ahead) // BLOCK_M) + 1):
            yield from self._block(number)
        yield from self._moving(x, seconds)

    def _moving(self, x: float, seconds: float) -> Iterator[Surface]:
        """Oncoming cars every 45 m at 9 m/s, and people who walk on the pavements."""
        for k in range(-1, 4):
            number = int(np.floor((x + 9.0 * seconds) / 45.0)) + k
            yield from self._at_car(number % 5, 45.0 * number - 9.0 * seconds, 2.0, -1.0)
        rng = np.random.default_rng([self.seed, 2])
        for k in range(24):
            side, pace = rng.choice([-1, 1]), rng.uniform(-1.4, 1.4)
            start, lane = rng.uniform(0, 130), rng.uniform(0, 1.4)
            px = start + pace * seconds
            px += 130.0 * np.ceil((x - 5.0 - px) / 130.0)
            yield _surface(self.people[k % 5], (px, side * (4.9 + lane) + 0.45, 1.8), (0, -0.9, 0), (0, 0, -1.8), 2)

    def _at_car(self, number: int, x: float, y: float, heading: float) -> Iterator[Surface]:
        """A car as four rectangles (top, two sides, end) and a shadow; its rear (heading 1) or front (-1) is at `x`."""
        side, rear, top = self.cars[number % len(self.cars)]
        length, width, low, high = 4.3, 1.76, 0.93, 1.46
        yield _surface(self.shadow, (x + length + 0.5, y + 1.25, 0.01), (0, -2.5, 0), (-length - 1.0, 0, 0), 2)
        yield _surface(top, (x + length, y + width / 2, low), (0, -width, 0), (-length, 0, 0), 2, 0.9)
        for flank in (-1.0, 1.0):
            yield _surface(
                side,
                (x + (length if heading < 0 else 0.0), y + flank * width / 2, high),
                (heading * length, 0, 0),
                (0, 0, -high),
                2,
                1.0 if flank > 0 else 0.8,
            )
        yield _surface(rear, (x, y + width / 2, high), (0, -width, 0), (0, 0, -high), 2)

    def _build(self, number: int) -> list[Surface]:
        """The buildings, trees, poles and parked cars of one block."""
        rng = np.random.default_rng([self.seed, 3, number + 1000])
        x0, made = number * BLOCK_M, []
        for side in (-1.0, 1.0):
            split = float(rng.uniform(9.0, 15.0))
            for start, width in ((0.0, split), (split, BLOCK_M - split)):
                height, pieces = self.fronts[rng.integers(len(self.fronts))]
                y, end = side * float(rng.choice([7.5, 7.5, 8.0, 9.0])), self.ends[rng.integers(len(self.ends))]
                height *= float(rng.uniform(0.9, 1.1))
                shade = float(rng.uniform(0.78, 1.1)) * (1.0 if side > 0 else 0.86)
                for k, piece in enumerate(pieces):
                    made.append(_piece(piece, k / len(pieces), 1 / len(pieces), x0 + start, y, width, height, shade))
                made.append(
                    _surface(
                        end, (x0 + start, max(y, y + side * 8.0), height), (0, -8.0, 0), (0, 0, -height), 1, shade * 0.8
                    )
                )
            for x in np.arange(x0, x0 + BLOCK_M, 6.0) + rng.uniform(0.0, 0.6, 4):
                if rng.random() < 0.62:
                    made.extend(self._at_car(int(rng.integers(5)), float(x), side * 4.75, 1.0))
            for x in np.arange(x0 + 5.0, x0 + BLOCK_M, 12.0) + rng.uniform(-1.0, 1.0, 2):
                size = float(rng.uniform(4.2, 5.6))
                made.append(
                    _surface(
                        self.trees[rng.integers(3)],
                        (float(x), side * 6.1 + size / 2, size),
                        (0, -size, 0),
                        (0, 0, -size),
                        2,
                    )
                )
            made.extend(_pole(x0 + 2.0, side * 5.8, rng))
        return made


def _front(rng: np.random.Generator) -> tuple[float, list[Texture]]:
    """A building's height, and its front in pieces along the street, each to be drawn at its own level of detail."""
    height = float(rng.uniform(6.5, 15.0))
    whole = textures.facade(12.0, height, rng)
    w = whole.visible.shape[1]
    cuts = [(w * k // 3, min(w, w * (k + 1) // 3 + 2)) for k in range(3)]
    return height, [
        Texture(np.ascontiguousarray(whole.visible[:, a:b]), np.ascontiguousarray(whole.thermal[:, a:b]))
        for a, b in cuts
    ]


def _piece(
    piece: Texture, start: float, share: float, x: float, y: float, width: float, height: float, shade: float
) -> Surface:
    """A piece of a front; `start` and `share` are shares of the building's width; the building begins at x, y."""
    share += 2 * share / piece.visible.shape[1] if start + share < 0.999 else 0.0
    if y > 0:  # on the left side of the street, the texture's left end is the nearer one
        corner, across = (x + width * start, y, height), (width * share, 0.0, 0.0)
    else:
        corner, across = (x + width * (1 - start), y, height), (-width * share, 0.0, 0.0)
    return _surface(piece, corner, across, (0.0, 0.0, -height), 1, shade)


def _pole(x: float, y: float, rng: np.random.Generator) -> Iterator[Surface]:
    """A lamp post, at times with a traffic sign."""
    h, w = 600, 24
    tone = np.interp(np.arange(w), [0, 7, 23], [0.2, 0.5, 0.12]).astype(np.float32)[None] + np.zeros((h, 1), np.float32)
    post = Texture(to_uint8(tone + 0.03 * fractal(h, w, rng, 0.6)), np.full((h, w), AIR_C, np.float32))
    yield _surface(post, (x, y + 0.07, 6.0), (0, -0.14, 0), (0, 0, -6.0), 2)
    if rng.random() < 0.7:
        plate, mask = np.full((64, 64), 190, np.uint8), np.zeros((64, 64), np.uint8)
        cv2.circle(mask, (32, 32), 31, 255, -1, cv2.LINE_AA)
        cv2.circle(plate, (32, 32), 27, 76, 6, cv2.LINE_AA)
        cv2.putText(plate, str(int(rng.integers(3, 6)) * 10), (12, 42), cv2.FONT_HERSHEY_DUPLEX, 0.9, 20, 2)
        sign = Texture(plate, np.full((64, 64), AIR_C - 1.0, np.float32), mask)
        yield _surface(sign, (x - 0.05, y + 0.35, 2.9), (0, -0.7, 0), (0, 0, -0.7), 2)


def _shadow() -> Texture:
    """The soft dark patch under a car."""
    mask = np.zeros((160, 96), np.uint8)
    cv2.rectangle(mask, (18, 18), (77, 141), 215, -1)
    return Texture(
        np.full_like(mask, 22),
        np.full(mask.shape, AIR_C + 4.0, np.float32),
        np.asarray(cv2.GaussianBlur(mask, (0, 0), 7)),
    )


def _car(rng: np.random.Generator, scale: int = 96) -> tuple[Texture, Texture, Texture]:
    """Textures of a car's side, rear and top; the engine (front end of the side), tyres and exhaust are warm."""
    paint = float(rng.choice([0.2, 0.3, 0.45, 0.58, 0.7]))
    h, w, wide = int(1.46 * scale), int(4.3 * scale), int(1.76 * scale)
    side = np.full((h, w), paint, np.float32) + np.linspace(0.14, -0.16, h, dtype=np.float32)[:, None]
    mask, heat = np.zeros((h, w), np.uint8), np.full((h, w), AIR_C + 1.5, np.float32)
    body = np.array(
        [
            [0, 0.95],
            [0.02, 0.55],
            [0.1, 0.45],
            [0.17, 0.1],
            [0.27, 0.01],
            [0.55, 0.01],
            [0.66, 0.1],
            [0.76, 0.42],
            [0.95, 0.5],
            [1, 0.62],
            [0.99, 0.88],
            [0.96, 0.93],
            [0.04, 0.93],
        ]
    )
    glass = np.array([[0.15, 0.42], [0.2, 0.14], [0.28, 0.07], [0.54, 0.07], [0.63, 0.13], [0.71, 0.42]])
    size = np.array([w, h])
    cv2.fillPoly(mask, [(body * size).astype(np.int32)], 255, cv2.LINE_AA)
    cv2.fillPoly(side, [(glass * size).astype(np.int32)], 0.13, cv2.LINE_AA)
    side[:, int(0.43 * w) : int(0.45 * w)] = paint
    cv2.line(side, (int(0.44 * w), int(0.45 * h)), (int(0.44 * w), int(0.9 * h)), max(paint - 0.12, 0.03), 2)
    cv2.line(side, (0, int(0.6 * h)), (w, int(0.6 * h)), min(paint + 0.16, 1.0), 2)
    for wheel in (0.19, 0.8):
        centre, radius = (int(wheel * w), int(0.8 * h)), int(0.31 * scale)
        for image, values in (
            (side, (0.05, 0.4, 0.12)),
            (heat, (AIR_C + 9, AIR_C + 4, AIR_C + 12)),
            (mask, (255,) * 3),
        ):
            for part, value in zip((1.0, 0.62, 0.2), values, strict=True):
                cv2.circle(image, centre, int(radius * part), value, -1, cv2.LINE_AA)
    heat += 13.0 * np.exp(-(((np.arange(w) / w - 0.86) / 0.1) ** 2))[None].astype(np.float32)
    rear = np.full((h, wide), paint, np.float32) + np.linspace(0.12, -0.14, h, dtype=np.float32)[:, None]
    cut, warm = np.zeros((h, wide), np.uint8), np.full((h, wide), AIR_C + 2.0, np.float32)
    outline = np.array(
        [[0.02, 0.93], [0, 0.5], [0.14, 0.04], [0.25, 0.0], [0.75, 0.0], [0.86, 0.04], [1, 0.5], [0.98, 0.93]]
    )
    cv2.fillPoly(cut, [(outline * [wide, h]).astype(np.int32)], 255, cv2.LINE_AA)
    cv2.fillPoly(
        rear, [(np.array([[0.14, 0.36], [0.22, 0.08], [0.78, 0.08], [0.86, 0.36]]) * [wide, h]).astype(np.int32)], 0.15
    )
    for a, b in ((0.03, 0.2), (0.8, 0.97)):
        cv2.rectangle(rear, (int(a * wide), int(0.46 * h)), (int(b * wide), int(0.57 * h)), 0.38, -1)
        cv2.rectangle(rear, (int(a * wide), int(0.49 * h)), (int(b * wide), int(0.52 * h)), 0.7, -1)
        cv2.rectangle(cut, (int(a * wide), int(0.85 * h)), (int((b + 0.02) * wide), h - 1), 255, -1)
    rear[int(0.88 * h) :] = 0.06
    cv2.rectangle(rear, (int(0.35 * wide), int(0.6 * h)), (int(0.65 * wide), int(0.69 * h)), 0.85, -1)
    cv2.circle(warm, (int(0.25 * wide), int(0.9 * h)), int(0.06 * wide), AIR_C + 35.0, -1, cv2.LINE_AA)
    roof = np.full((w, wide), paint + 0.12, np.float32)
    roof[int(0.3 * w) : int(0.8 * w), int(0.1 * wide) : int(0.9 * wide)] -= 0.06
    tops = Texture(to_uint8(roof + 0.03 * fractal(w, wide, rng, 1.2)), np.full((w, wide), AIR_C + 2.0, np.float32))
    back = to_uint8(rear + 0.035 * fractal(h, wide, rng, 1.1))
    cv2.putText(back, f"{rng.integers(100, 999)}", (int(0.39 * wide), int(0.675 * h)), cv2.FONT_HERSHEY_PLAIN, 1.0, 25)
    return Texture(to_uint8(side + 0.035 * fractal(h, w, rng, 1.1)), heat, mask), Texture(back, warm, cut), tops
