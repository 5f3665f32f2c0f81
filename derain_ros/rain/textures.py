"""Procedural textures of a street, visible and thermal: asphalt, walls, trees, people and sky."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

AIR_C = 11.0
"""Temperature of the air in degrees Celsius; objects that are neither heated nor alive are close to it."""


@dataclass
class Texture:
    """A picture for a flat surface: `visible` (h, w) uint8, `thermal` (h, w) float32 in degrees Celsius.

    `alpha` (h, w) uint8, if there is one, cuts out the shape. The first row is the top, the first column the left.
    """

    visible: np.ndarray
    thermal: np.ndarray
    alpha: np.ndarray | None = None
    _levels: dict[tuple[str, int, int], np.ndarray] = field(default_factory=dict, repr=False)

    def level(self, layer: str, across: int, down: int) -> np.ndarray:
        """The layer reduced by 2**across in width and 2**down in height, so that far surfaces do not alias."""
        key = (layer, across, down)
        if key not in self._levels:
            image = getattr(self, layer)
            h, w = image.shape
            size = (max(1, w >> across), max(1, h >> down))
            self._levels[key] = image if size == (w, h) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return self._levels[key]


def fractal(height: int, width: int, rng: np.random.Generator, slope: float = 1.0) -> np.ndarray:
    """Periodic noise (height, width) float32 with the 1/f**slope spectrum of natural pictures.

    Its mean is 0, its standard deviation 1.
    """
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32)) / frequency**slope
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, s=(height, width)).astype(np.float32)
    return noise / noise.std()


@lru_cache(maxsize=8)
def _tile(slope: float) -> np.ndarray:
    return fractal(1024, 1024, np.random.default_rng(round(slope * 100)), slope)


def grain(height: int, width: int, rng: np.random.Generator, slope: float) -> np.ndarray:
    """As `fractal`, but cut at random from one shared tile, which is almost free; it repeats after 1024 pixels."""
    y, x = (int(v) for v in rng.integers(0, 1024, 2))
    return cv2.copyMakeBorder(_tile(slope), 0, max(0, y + height - 1024), 0, max(0, x + width - 1024), cv2.BORDER_WRAP)[
        y : y + height, x : x + width
    ]


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Brightness in 0..1 as uint8."""
    return (np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def ground(rng: np.random.Generator, scale: int = 96) -> Texture:
    """An 8 m wide road with pavements: 16 m long, 24 m wide, periodic along the street (rows), `scale` px a metre."""
    h, w = 16 * scale, 24 * scale
    y = (np.arange(w, dtype=np.float32) / scale - 12.0)[None]
    x = (np.arange(h, dtype=np.float32) / scale)[:, None]
    # Smooth parts are made at half the size, which takes a quarter of the time.
    coarse, flow = (cv2.resize(fractal(h // 2, w // 2, rng, slope), (w, h)) for slope in (1.3, 1.6))
    fine = fractal(h, w, rng, 0.45)
    road = 0.33 + 0.035 * coarse + 0.045 * fine
    road += 0.035 * np.exp(-(((np.abs(np.abs(y) - 2.0) - 0.8) / 0.35) ** 2))  # polished wheel tracks
    cracks = np.abs(flow) < 0.012
    road -= 0.13 * cv2.GaussianBlur(cracks.astype(np.float32), (0, 0), 1.0)
    dash = (np.abs(y) < 0.075) & ((x % 8.0) < 3.0)
    edge = np.abs(np.abs(y) - 3.65) < 0.06
    worn = np.clip(0.85 + 0.25 * coarse, 0.25, 1.0)
    road = np.where(dash | edge, road + 0.42 * worn, road)
    slab_y, slab_x = np.floor(np.abs(y) / 0.6).astype(int), np.floor(x / 0.8).astype(int)
    tone = rng.normal(0.0, 0.035, (64, 64)).astype(np.float32)[slab_x % 20, slab_y]
    joint = ((np.abs(y) % 0.6) < 0.025) | ((x % 0.8) < 0.025)
    pavement = 0.47 + tone + 0.03 * coarse + 0.05 * fine - 0.17 * joint
    kerb = 0.56 + 0.05 * fine - 0.2 * ((x % 1.0) < 0.03)
    visible = np.where(np.abs(y) < 4.0, road, np.where(np.abs(y) < 4.22, kerb, pavement))
    visible -= 0.14 * np.exp(-(((np.abs(y) - 3.93) / 0.1) ** 2))  # gutter
    thermal = AIR_C + 2.5 + 0.4 * coarse + np.where(np.abs(y) < 4.0, 0.8, 0.0)
    return Texture(to_uint8(visible), thermal.astype(np.float32))


def _bricks(h: int, w: int, rng: np.random.Generator, long: int, high: int) -> np.ndarray:
    """Brightness offsets of a running bond of bricks `long` x `high` pixels with mortar joints."""
    row = (np.arange(h) // high)[:, None]
    column = (np.arange(w)[None] + (row % 2) * (long // 2)) // long
    tone = rng.normal(0.0, 1.0, (97, 89)).astype(np.float32)[row % 97, column % 89]
    joint = ((np.arange(h) % high) == 0)[:, None] | (((np.arange(w)[None] + (row % 2) * (long // 2)) % long) == 0)
    return 0.055 * tone + 0.12 * joint


def facade(width: float, height: float, rng: np.random.Generator, scale: int = 64) -> Texture:
    """Front of a building, `width` x `height` metres: brick, stone or plaster, windows, ground floor, cornice, dirt."""
    h, w = int(height * scale), int(width * scale)
    coarse, fine = grain(h, w, rng, 1.2), grain(h, w, rng, 0.5)
    image = rng.uniform(0.34, 0.68) + 0.035 * coarse + 0.03 * fine
    kind = rng.integers(3)
    if kind == 0:
        image += _bricks(h, w, rng, 16, 5)
    elif kind == 1:
        image += _bricks(h, w, rng, 56, 28) * np.float32(-0.9)
    thermal = np.full((h, w), AIR_C + rng.uniform(1.0, 3.5), np.float32) + 0.25 * coarse
    floor_high, pitch = rng.uniform(2.9, 3.4), rng.uniform(1.9, 2.8)
    wide, high = rng.uniform(0.95, 1.35), rng.uniform(1.5, 1.9)
    trim = rng.uniform(0.1, 0.25)
    columns = max(1, int((width - 0.8) / pitch))
    left = (width - columns * pitch) / 2
    for f in range(int((height - 0.6) / floor_high)):
        base = height - f * floor_high
        for c in range(columns):
            x = left + c * pitch + (pitch - wide) / 2
            if f == 0:
                _opening(
                    image,
                    thermal,
                    x - 0.15,
                    base - 2.5,
                    wide + 0.3,
                    2.5 if rng.random() < 0.3 else 1.9,
                    trim,
                    rng,
                    scale,
                )
            else:
                _opening(image, thermal, x, base - 0.9 - high, wide, high, trim, rng, scale)
        band = slice(max(0, int((base - floor_high) * scale)), int((base - floor_high + 0.16) * scale))
        image[band] += trim * 0.8
        image[band.stop : band.stop + 5] -= 0.12
    streaks = cv2.resize(rng.normal(0, 1, (3, w)).astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    image += 0.022 * cv2.GaussianBlur(streaks, (0, 0), 1.2)
    down = np.linspace(height, 0.0, h, dtype=np.float32)[:, None]
    image -= 0.16 * np.exp(-down / 0.7) + 0.1 * np.exp(-(height - down) / 0.35)
    image[: int(0.3 * scale)] += trim
    return Texture(to_uint8(image), thermal)


def _opening(
    image: np.ndarray,
    thermal: np.ndarray,
    x: float,
    y: float,
    wide: float,
    high: float,
    trim: float,
    rng: np.random.Generator,
    scale: int,
) -> None:
    """Draw a window with frame, bars, curtain, reflection and sill; x, y is its upper left corner in metres."""
    x0, y0, x1, y1 = (round(v * scale) for v in (x, y, x + wide, y + high))
    if y0 < 4 or x0 < 8 or x1 + 8 > image.shape[1]:
        return
    border = max(3, int(0.09 * scale))
    image[y0 - border : y1, x0 - border : x1 + border] += trim
    y1 = min(y1, image.shape[0] - 2)
    h, w = y1 - y0, x1 - x0
    reflection = cv2.GaussianBlur(rng.normal(0, 1, (h, w)).astype(np.float32), (0, 0), 7) * 1.3
    reflection += 0.25 * rng.normal(0, 1, (1, w)).cumsum(axis=1).astype(np.float32) / np.sqrt(w)
    pane = rng.uniform(0.08, 0.24) + 0.11 * reflection + np.linspace(0.16, 0.0, h, dtype=np.float32)[:, None]
    if rng.random() < 0.5:  # curtains or a blind
        folds = 0.05 * np.sin(np.arange(w) / rng.uniform(1.2, 2.4))[None].astype(np.float32)
        drawn = int(w * rng.uniform(0.15, 0.5))
        pane[:, :drawn] = rng.uniform(0.35, 0.6) + folds[:, :drawn]
        pane[:, w - drawn :] = pane[:, :drawn][:, ::-1]
    pane[: int(0.08 * h)] *= 0.6  # shadow of the lintel
    pane[:, :3] *= 0.7
    for bar in (w // 2, 1, w - 3):
        pane[:, bar : bar + 3] = 0.62 + trim
    for bar in (h // 3, 1, h - 4):
        pane[bar : bar + 3] = 0.58 + trim
    image[y0:y1, x0:x1] = pane
    image[y1 : y1 + 4, x0 - border : x1 + border] = 0.72
    image[y1 + 4 : y1 + 9, x0 - border : x1 + border] *= 0.72
    thermal[y0:y1, x0:x1] += rng.uniform(0.5, 5.5) + 0.4 * reflection


def tree(rng: np.random.Generator, size: int = 640) -> Texture:
    """A tree with trunk, branches and leaves, cut out, on a square with a side of `size` pixels."""
    visible, alpha = np.full((size, size), 0.22, np.float32), np.zeros((size, size), np.uint8)
    tips: list[tuple[float, float]] = []

    def grow(x: float, y: float, angle: float, length: float, thick: float) -> None:
        x1, y1 = x + length * np.cos(angle), y - length * np.sin(angle)
        ends = (round(x), round(y)), (round(x1), round(y1))
        tone = float(rng.uniform(0.16, 0.3))
        cv2.line(visible, *ends, tone, max(1, round(thick)), cv2.LINE_AA)
        cv2.line(alpha, *ends, 255, max(1, round(thick)), cv2.LINE_AA)
        if thick < 3.5:
            tips.append((x1, y1))
        if thick > 1.2:
            for side in (-1, 1):
                grow(
                    x1,
                    y1,
                    angle + side * rng.uniform(0.12, 0.65),
                    length * rng.uniform(0.66, 0.86),
                    thick * rng.uniform(0.58, 0.76),
                )

    grow(size / 2, size, np.pi / 2 + rng.normal(0, 0.04), size * 0.2, size * 0.042)
    leaves = np.array(tips)[rng.integers(0, len(tips), 4200)] + rng.normal(0, size * 0.032, (4200, 2))
    order = np.argsort(-leaves[:, 1] + rng.normal(0, 40, len(leaves)))
    for x, y in leaves[order]:
        light = 0.17 + 0.3 * (1.0 - y / size) + 0.09 * (x - size / 2) / size + rng.normal(0, 0.07)
        axes = (int(rng.integers(2, 6)), int(rng.integers(2, 4)))
        turn = float(rng.uniform(0, 180))
        cv2.ellipse(visible, (round(x), round(y)), axes, turn, 0, 360, float(max(light, 0.05)), -1, cv2.LINE_AA)
        cv2.ellipse(alpha, (round(x), round(y)), axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
    thermal = np.full((size, size), AIR_C + 1.0, np.float32) + 0.5 * fractal(size, size, rng, 1.0)
    return Texture(to_uint8(visible + 0.02 * fractal(size, size, rng, 0.3)), thermal, alpha)


def person(rng: np.random.Generator, scale: int = 96) -> Texture:
    """A walking person seen from behind or in front, 1.8 m high and 0.9 m wide, cut out; warm where skin shows."""
    h, w = int(1.8 * scale), int(0.9 * scale)
    grid = fractal(h, w, rng, 0.8)
    visible, thermal = np.zeros((h, w), np.float32), np.full((h, w), AIR_C, np.float32)
    alpha = np.zeros((h, w), np.uint8)
    c, stride = w // 2, float(rng.uniform(0.02, 0.12)) * scale
    coat, legs, skin = (float(v) for v in (rng.uniform(0.1, 0.6), rng.uniform(0.08, 0.35), rng.uniform(0.35, 0.7)))

    def limb(a: tuple[float, float], b: tuple[float, float], thick: float, tone: float, warm: float) -> None:
        ends = (round(a[0]), round(a[1])), (round(b[0]), round(b[1]))
        for image, value in ((visible, tone), (thermal, warm), (alpha, 255)):
            cv2.line(image, *ends, value, max(1, round(thick)), cv2.LINE_AA)

    for side in (-1, 1):
        limb(
            (c + side * 0.08 * scale, 0.9 * scale),
            (c + side * (0.1 * scale + stride), 1.76 * scale),
            0.15 * scale,
            legs,
            19.0,
        )
        limb(
            (c + side * 0.22 * scale, 0.42 * scale),
            (c + side * (0.26 * scale + stride / 2), 0.92 * scale),
            0.11 * scale,
            coat * 0.85,
            20.0,
        )
    limb((c, 0.45 * scale), (c, 0.88 * scale), 0.4 * scale, coat, 21.5)
    limb((c, 0.1 * scale), (c, 0.16 * scale), 0.21 * scale, skin, 33.0)
    limb((c, 0.06 * scale), (c, 0.08 * scale), 0.19 * scale, 0.12, 26.0)
    shade = np.linspace(0.06, -0.06, w, dtype=np.float32)[None]
    return Texture(to_uint8(visible + shade + 0.045 * grid), thermal + 0.3 * grid, alpha)


def sky(rng: np.random.Generator, height: int = 512, width: int = 2048) -> Texture:
    """An overcast, periodic sky with clouds, cold in infrared; the first row is the zenith, the last the horizon."""
    clouds = fractal(height, width, rng, 1.75)
    up = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None]
    visible = 0.8 - 0.16 * up + (0.05 + 0.06 * up) * clouds + 0.012 * fractal(height, width, rng, 0.9)
    thermal = (-12.0 - 9.0 * up + 2.5 * clouds).astype(np.float32)
    return Texture(to_uint8(visible), thermal)
