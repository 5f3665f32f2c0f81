"""Dirt on a lens, out of focus: dust, mud, smears, fingerprints, scratches, thick soil, dried spots, films."""

from __future__ import annotations

import cv2
import numpy as np

KINDS = {
    "dust": 0.14,
    "mud": 0.18,
    "smear": 0.11,
    "fingerprint": 0.1,
    "scratch": 0.08,
    "soil": 0.15,
    "spots": 0.16,
    "film": 0.08,
}
"""Kinds of dirt, and the probability of each if no kind is given."""

THICK = ("soil", "spots", "film")
"""Kinds that are so near to the lens, or so thick, that their texture is out of focus, too."""


class LensDirt:
    """A fixed layer of dirt on the lens: applied to successive frames, the same object gives the same dirt.

    `height` and `width` are the image's size in pixels. `kind` is one of `KINDS`; `rng` draws it if none is given, and
    the shapes and the colour. `coverage` in [0, 1] is the share of pixels where the cover is at least half of its
    maximum.
    """

    def __init__(
        self, height: int, width: int, rng: np.random.Generator, coverage: float, kind: str | None = None
    ) -> None:
        if height < 8 or width < 8:
            raise ValueError(f"lens dirt: an image of {width}x{height} is too small; at least 8x8 is needed")
        if not 0.0 <= coverage <= 1.0:
            raise ValueError(f"lens dirt: coverage {coverage} is outside 0 to 1")
        if kind is not None and kind not in KINDS:
            raise ValueError(f"lens dirt: no kind is called {kind!r}; there are {', '.join(KINDS)}")
        self.kind = kind if kind is not None else str(rng.choice(list(KINDS), p=list(KINDS.values())))
        self._scatter, tint, veil, grain, relief, uneven = 0.0, 0.08, 0.0, 0.12, 0.0, 0.0
        if self.kind == "dust":
            field = _specks(height, width, rng)
            opacity, shade, sigma = rng.uniform(0.4, 0.85), rng.uniform(0.4, 1.3), rng.uniform(0.001, 0.006)
            veil = rng.uniform(0.0, 0.25)
        elif self.kind == "mud":
            field = _splashes(height, width, rng, coverage)
            opacity, shade, sigma = rng.uniform(0.85, 1.0), rng.uniform(0.15, 0.85), rng.uniform(0.002, 0.014)
            tint, grain = rng.uniform(0.08, 0.22), 0.25
        elif self.kind == "smear":
            field = _strokes(height, width, rng)
            opacity, shade, sigma = rng.uniform(0.5, 0.9), rng.uniform(0.8, 1.3), rng.uniform(0.004, 0.015)
            self._scatter = rng.uniform(0.3, 0.8)
        elif self.kind == "fingerprint":
            field = _prints(height, width, rng, coverage)
            opacity, shade, sigma = rng.uniform(0.5, 0.8), rng.uniform(0.9, 1.5), rng.uniform(0.001, 0.006)
            self._scatter, tint = rng.uniform(0.3, 0.7), 0.0
        elif self.kind == "scratch":
            field = _scratches(height, width, rng, coverage)
            opacity, shade, sigma = rng.uniform(0.55, 0.85), rng.uniform(1.0, 2.0), rng.uniform(0.0005, 0.003)
            self._scatter, tint = 0.4, 0.0
        elif self.kind == "soil":
            field = _masses(height, width, rng)
            opacity, shade, sigma = rng.uniform(0.85, 1.0), rng.uniform(0.02, 0.7), rng.uniform(0.01, 0.05)
            grain, relief, uneven = rng.uniform(0.0, 0.5), rng.uniform(0.0, 0.5), rng.uniform(0.0, 0.3)
        elif self.kind == "spots":
            field = _spots(height, width, rng, coverage)
            opacity, shade, sigma = rng.uniform(0.5, 1.0), rng.uniform(0.25, 1.3), rng.uniform(0.003, 0.03)
            self._scatter = rng.uniform(0.1, 0.9) if rng.random() < 0.6 else 0.0
            grain, relief, uneven = 0.06, rng.uniform(0.0, 0.6), rng.uniform(0.0, 0.4)
        else:
            field = _strokes(height, width, rng) * 0.4 + _masses(height, width, rng)
            opacity, shade, sigma = rng.uniform(0.5, 0.85), rng.uniform(0.6, 1.4), rng.uniform(0.03, 0.08)
            self._scatter, veil, uneven = rng.uniform(0.4, 0.9), rng.uniform(0.0, 0.4), rng.uniform(0.0, 0.4)
        cover = _cover(field, coverage, sigma * height) * (1 - uneven * np.clip(_noise(height, width, rng, 7), 0, 1))
        if coverage > 0:
            cover = np.maximum(cover, veil * np.clip(0.5 + 0.4 * _noise(height, width, rng, 3), 0, 1))
        self.alpha = (cover * opacity).astype(np.float32)
        # The colour of earth is warm; the image is RGB.
        self._colour = (shade * np.array([1 + tint, 1.0, 1 - 1.6 * tint])).astype(np.float32)
        cells = max(12, min(120, height // 4))
        texture: np.ndarray = 0.6 * _noise(height, width, rng, 12) + 0.6 * _noise(height, width, rng, cells)
        if self.kind in THICK:
            texture = cv2.GaussianBlur(texture, (0, 0), 0.6 * sigma * height + 0.3)
        self._texture = (1.0 + grain * texture + relief * _relief(cover, rng)).astype(np.float32)

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image through the dirty lens, and the share of each pixel that the dirt covers.

        `image` is (H, W) or RGB (H, W, 3) uint8, of the size given to the constructor; the result has the same shape
        and type. The cover is (H, W) float32 in [0, 1]. Raises ValueError for another size.
        """
        if image.shape[:2] != self.alpha.shape:
            raise ValueError(
                f"lens dirt: the image is {image.shape[1]}x{image.shape[0]}, the dirt was made for "
                f"{self.alpha.shape[1]}x{self.alpha.shape[0]}"
            )
        cover, texture = self.alpha, self._texture
        if image.ndim == 3:
            cover, texture = cover[..., None], texture[..., None]
        lit = texture * (self._colour if image.ndim == 3 else self._colour.mean())
        # Dirt is lit by the whole scene; grease transmits light, but scatters it.
        around = haze(image)
        own = 1.0 - self._scatter
        layer = lit * np.float32(0.4 * own)
        layer += np.float32(self._scatter)
        layer *= around
        lit *= np.float32(0.6 * own * image.mean())
        layer += lit
        layer -= image
        layer *= cover
        layer += image
        return cv2.convertScaleAbs(layer), self.alpha


def haze(image: np.ndarray) -> np.ndarray:
    """The image as float32, strongly blurred, as dirt scatters it; the blur is computed at a lower resolution."""
    step = max(1, image.shape[0] // 60)
    small = cv2.resize(image, (-(-image.shape[1] // step), -(-image.shape[0] // step)), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.06 * image.shape[0] / step)
    return cv2.resize(blurred, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _noise(height: int, width: int, rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise (H, W) float32 of about unit variance, with `cells` features along the height."""
    grid = rng.standard_normal((cells + 2, max(2, cells * width // height) + 2)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def _specks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A field that is high at grains of dust, which are denser around one place, and at a few fibres."""
    highest = np.zeros((height, width), np.uint8)
    clump, spread = rng.uniform(0.15, 0.6, 2), rng.uniform(0.25, 0.6)
    for size, share in ((0.0016, 0.6), (0.003, 0.28), (0.0055, 0.1), (0.01, 0.02)):
        layer, radius = np.zeros((height, width), np.uint8), size * height
        for _ in range(int(share * rng.uniform(300, 2500))):
            x, y = (clump + rng.normal(0.0, spread, 2)) % 1.0 * (width, height)
            axes = np.maximum(radius * rng.uniform((0.5, 0.8), (1.0, 1.4)), 0.4)
            _ellipse(layer, (x, y), axes, rng.uniform(0, 180), int(rng.uniform(120, 255)))
        np.maximum(highest, cv2.GaussianBlur(layer, (0, 0), 0.35 * radius + 0.3), out=highest)
    fibres = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(0, 6))):
        _curve(
            fibres,
            rng.uniform(0, 1, 2) * (width, height),
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0.03, 0.1) * height,
            rng.uniform(-4, 4),
            180,
            1,
        )
    return np.maximum(highest, fibres).astype(np.float32) / 255 + np.float32(0.02) * _noise(height, width, rng, 40)


def _splashes(height: int, width: int, rng: np.random.Generator, coverage: float) -> np.ndarray:
    """A field that is high in ragged blots of mud, in the spatter around them, and where mud has run down."""
    layer = np.zeros((height, width), np.uint8)
    clump, spread, angles = rng.uniform(0.1, 0.9, 2), rng.uniform(0.15, 0.5), np.linspace(0, 2 * np.pi, 72, False)
    largest = rng.uniform(0.03, 0.14)
    for _ in range(int(4 + min(120, 2.0 * coverage / largest**2))):
        x, y = (clump + rng.normal(0, spread, 2)) % 1.0 * (width, height)
        radius = largest * height * rng.beta(1.0, 2.0) + 0.004 * height
        order = np.arange(2, 18)[:, None]
        ragged = rng.normal(0, 0.55, (16, 1)) / order**0.9 * np.cos(order * angles + rng.uniform(0, 7, (16, 1)))
        reach = radius * np.clip(1 + ragged.sum(axis=0), 0.25, 2.2)
        outline = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles) * rng.uniform(0.8, 1.4)], axis=1)
        cv2.fillPoly(layer, [np.rint(outline * 16).astype(np.int32)], int(rng.uniform(150, 255)), cv2.LINE_AA, 4)
        for away in rng.uniform(0, 2 * np.pi, int(rng.integers(2, 14))):
            far = radius * rng.uniform(1.1, 2.8)
            _ellipse(
                layer,
                (x + far * np.cos(away), y + far * np.sin(away)),
                radius * rng.uniform(0.03, 0.16) * np.array([rng.uniform(1, 3), 1]),
                np.degrees(away),
                200,
            )
        if rng.random() < 0.15:
            _curve(
                layer, np.array([x, y]), np.pi / 2, rng.uniform(1.5, 5) * radius, 0.3, 170, max(1, round(0.3 * radius))
            )
    field = cv2.GaussianBlur(layer, (0, 0), 0.004 * height + 0.3).astype(np.float32) / 255
    return field + 0.15 * _noise(height, width, rng, 60) * (field > 0.1) + 0.02 * _noise(height, width, rng, 25)


def _prints(height: int, width: int, rng: np.random.Generator, coverage: float) -> np.ndarray:
    """A field that is high along the ridges of fingerprints."""
    field = np.zeros((height, width), np.float32)
    size = height * rng.uniform(0.1, 0.22)
    for _ in range(int(np.ceil(1.15 * coverage * height * width / (0.45 * np.pi * 1.35 * size * size)))):
        turn, centre = rng.normal(0, 0.5), rng.uniform(0, 1, 2) * (width, height)
        (left, right), (top, bottom) = (
            np.clip([int(middle - 1.35 * size), int(middle + 1.35 * size) + 2], 0, end).tolist()
            for middle, end in zip(centre, (width, height), strict=True)
        )
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        u = ((x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)) / size
        v = ((y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)) / (1.35 * size)
        pressed = np.clip(4 * (1 - u * u - v * v), 0, 1)
        # A loop or a whorl: arches around a core; below it the ridges open.
        ridges = max(3.0, min(9.0, size / 3.2))
        warp = 0.12 * _noise(height, width, rng, 9)[top:bottom, left:right]
        core = np.sqrt((u * rng.uniform(1.0, 1.3)) ** 2 + (v - rng.uniform(0.0, 0.4)) ** 2 * rng.uniform(0.5, 1.0))
        lines = 0.5 + 0.5 * np.cos(2 * np.pi * ridges * (core + warp))
        place = field[top:bottom, left:right]
        np.maximum(place, pressed * (0.15 + lines), out=place)
    return field * (1 + 0.15 * _noise(height, width, rng, 30)) + 0.01 * _noise(height, width, rng, 60)


def _scratches(height: int, width: int, rng: np.random.Generator, coverage: float) -> np.ndarray:
    """A field that is high along fine scratches: many in the direction of wiping, some across."""
    layer = np.zeros((height, width), np.uint8)
    way, loose, bow = rng.uniform(0, np.pi), rng.choice([0.05, 0.3, 3.0]), rng.normal(0, 0.6)
    for _ in range(400):
        for _ in range(12):
            angle = way + rng.normal(0, loose) + np.pi * rng.integers(2)
            length = height * float(np.exp(rng.uniform(np.log(0.05), np.log(1.0))))
            _curve(
                layer,
                rng.uniform(-0.1, 1.1, 2) * (width, height),
                angle,
                length,
                bow + rng.normal(0, 0.2),
                int(rng.uniform(100, 255)),
                1 if rng.random() < 0.85 else max(1, round(0.004 * height)),
            )
        if np.count_nonzero(layer) > 1.2 * coverage * layer.size:
            break
    return layer.astype(np.float32) / 255 + 0.01 * _noise(height, width, rng, 60)


def _masses(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A field that is high where soil is thick: a few ragged masses, mostly from one side of the image."""
    angle, y, x = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    field = rng.uniform(0, 2) * (np.cos(angle) * x + np.sin(angle) * y) + 0.8 * _noise(height, width, rng, 2)
    for cells in (4, 8, 16, 32):
        field = field + rng.uniform(0.4, 1.6) / cells * _noise(height, width, rng, cells)
    return field.astype(np.float32)


def _spots(height: int, width: int, rng: np.random.Generator, coverage: float) -> np.ndarray:
    """A field that is high in the round and oval spots that dried drops of dirty water leave."""
    layer, largest = np.zeros((height, width), np.uint8), float(np.exp(rng.uniform(np.log(0.015), np.log(0.2))))
    clump, spread, wanted = rng.uniform(0.1, 0.9, 2), rng.uniform(0.2, 0.8), 1.2 * coverage * height * width
    for _ in range(300):
        radius = height * largest * rng.uniform(0.25, 1.0)
        place = (clump + rng.normal(0, spread, 2)) % 1.0 * (width, height)
        for part in range(int(rng.integers(1, 4))):  # some spots have merged
            near = place + rng.normal(0, 0.7 * radius, 2) * (part > 0)
            _ellipse(layer, near, radius * rng.uniform(0.6, 1.15, 2), rng.uniform(0, 180), int(rng.uniform(170, 255)))
        if np.count_nonzero(layer) > wanted:
            break
    field = cv2.GaussianBlur(layer, (0, 0), 0.004 * height + 0.3).astype(np.float32) / 255
    return field + 0.03 * _noise(height, width, rng, 12) * (field > 0.1) + 0.01 * _noise(height, width, rng, 25)


def _relief(cover: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shading (H, W) float32 in [-1, 1] of dirt that stands out from the lens, lit from one side."""
    small: np.ndarray = cv2.GaussianBlur(cover, (0, 0), 0.006 * cover.shape[0] + 0.5).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * cv2.Sobel(small, cv2.CV_32F, 1, 0) + np.sin(angle) * cv2.Sobel(small, cv2.CV_32F, 0, 1)
    return (slope / (np.abs(slope).max() + 1e-6)).astype(np.float32)


def _ellipse(
    layer: np.ndarray, centre: tuple[float, float] | np.ndarray, axes: np.ndarray, turn: float, value: int
) -> None:
    """Draw a filled ellipse at a sub-pixel position; `turn` in degrees."""
    cv2.ellipse(
        layer,
        np.rint(np.multiply(centre, 16)).astype(int).tolist(),
        np.rint(np.maximum(axes, 0.4) * 16).astype(int).tolist(),
        turn,
        0,
        360,
        value,
        -1,
        cv2.LINE_AA,
        4,
    )


def _curve(
    layer: np.ndarray, start: np.ndarray, angle: float, length: float, bow: float, value: int, thick: int
) -> None:
    """Draw a curve of `length` pixels from `start`, which turns by `bow` radians over its length."""
    turns = angle + bow * np.linspace(0, 1, 16)
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / 16
    points = np.rint((start + np.cumsum(steps, axis=0)) * 16).astype(np.int32)
    cv2.polylines(layer, [points], False, value, thick, cv2.LINE_AA, 4)


def _strokes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A field of wiped grease: noise stretched along one direction, plus a coarse noise that makes patches."""
    angle = rng.uniform(0.0, np.pi)
    span = max(5, int(0.25 * height) | 1)
    kernel = np.zeros((span, span), np.float32)
    reach = span // 2
    delta = (round(reach * np.cos(angle)), round(reach * np.sin(angle)))
    cv2.line(kernel, (reach - delta[0], reach - delta[1]), (reach + delta[0], reach + delta[1]), 1.0, 1)
    drawn = cv2.filter2D(
        rng.standard_normal((height, width)).astype(np.float32),
        -1,
        kernel / kernel.sum(),
        borderType=cv2.BORDER_REFLECT,
    )
    return drawn / (drawn.std() + 1e-6) * 0.6 + 1.5 * _noise(height, width, rng, 3)


def _cover(field: np.ndarray, coverage: float, sigma: float) -> np.ndarray:
    """Cover in [0, 1] that is at least 0.5 in the share `coverage` of the pixels, blurred by `sigma` pixels."""
    if coverage <= 0.0:
        return np.zeros_like(field)
    if coverage >= 1.0:
        return np.ones_like(field)
    shape = (field > np.quantile(field, 1.0 - coverage)).astype(np.float32)
    blurred = cv2.GaussianBlur(shape, (0, 0), max(0.5, sigma))
    # Blur shrinks small blots: the level that becomes 0.5 is chosen so that the coverage is kept.
    level = max(0.05, float(np.quantile(blurred, 1.0 - coverage)))
    return np.clip(0.5 * blurred / level, 0.0, 1.0)
