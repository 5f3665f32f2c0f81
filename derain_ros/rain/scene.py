"""A procedural drive through a street, rendered for a stereo pair and a thermal camera, with a depth per pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from derain_ros.rain.street import Street, Surface
from derain_ros.rain.textures import AIR_C, Texture

NEAR_M = 0.35
SPEED_M_S = 7.0
CONTRAST = np.clip(np.arange(256) - 14.0 * np.sin((np.arange(256) - 20.0) * np.pi / 100.0), 0, 255).astype(np.uint8)
"""Tone curve like that of film, as a table from pixel value to pixel value: more contrast."""
GROUND_CUTS_M = (0.4, 2.4, 3.4, 4.8, 6.8, 9.6, 13.5, 19.0, 27.0, 38.0, 60.0, 130.0)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on the vehicle: size and focal length in pixels, offset in metres (x ahead, y left, z up).

    `layer` is the kind of picture: "visible" (uint8) or "thermal" (uint16, hundredths of a kelvin).
    """

    width: int = 720
    height: int = 540
    focal: float = 460.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    layer: str = "visible"

    @property
    def matrix(self) -> np.ndarray:
        """The 3x3 camera matrix in pixels; the principal point is the centre of the image."""
        return np.array([[self.focal, 0, (self.width - 1) / 2], [0, self.focal, (self.height - 1) / 2], [0, 0, 1]])


def rig(width: int = 720, height: int = 540, baseline: float = 0.11) -> dict[str, Camera]:
    """The cameras `left`, `right` and `thermal`.

    `left` and `right` are `baseline` metres apart and have a focal length of 460 px at a width of 720. `thermal` has
    4/9 of their size and is 5 cm above them.
    """
    focal = 460.0 * width / 720.0
    return {
        "left": Camera(width, height, focal, (0.0, baseline / 2, 0.0)),
        "right": Camera(width, height, focal, (0.0, -baseline / 2, 0.0)),
        "thermal": Camera(width * 4 // 9, height * 4 // 9, focal * 0.46, (0.0, 0.0, 0.05), "thermal"),
    }


def pose(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) of the vehicle in metres, and rotation (3, 3) from the world to the optical axes of its cameras."""
    t = seconds
    place = np.array([SPEED_M_S * t, -1.9 + 0.25 * np.sin(0.5 * t), 1.55 + 0.012 * np.sin(9.0 * t)])
    yaw, pitch = 0.045 * np.sin(0.55 * t + 0.4), 0.05 + 0.006 * np.sin(7.3 * t)
    ahead = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    return place, np.stack([right, np.cross(ahead, right), ahead])


class Scene:
    """The drive of one seed: `render` gives a camera's picture at a time; the same arguments give the same picture."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.street = seed, _street(seed)

    def render(self, camera: Camera, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """The picture (H, W), uint8, or uint16 for a thermal camera, and the depth (H, W) float32.

        The depth is in metres along the optical axis; it is infinite in the sky.
        """
        place, turn = pose(seconds)
        ahead, left = turn[2], -turn[0]
        eye = place + ahead * camera.offset[0] + left * camera.offset[1] - turn[1] * camera.offset[2]
        canvas = _Canvas(camera, eye, turn)
        canvas.sky(self.street.sky)
        surfaces = [*_strips(self.street.ground, place[0]), *self.street.surfaces(place[0], seconds)]
        distance = [float((s.corner + (s.across + s.down) / 2 - eye) @ ahead) for s in surfaces]
        order = sorted(range(len(surfaces)), key=lambda k: (surfaces[k].layer, -distance[k]))
        canvas.paint([surfaces[k] for k in order])
        rng = np.random.default_rng(
            [self.seed, round(seconds * 1e6), *(round(1e3 * abs(v)) for v in camera.offset), camera.offset[1] > 0]
        )
        return canvas.develop(rng)


@lru_cache(maxsize=2)
def _street(seed: int) -> Street:
    """The street of a seed. It takes seconds to build and 150 MB of memory, so only the last two are cached."""
    return Street(seed)


class _Canvas:
    """A picture that is painted from far to near."""

    def __init__(self, camera: Camera, eye: np.ndarray, turn: np.ndarray) -> None:
        self.camera, self.eye, self.turn = camera, eye, turn
        self.visible = camera.layer == "visible"
        shape = (camera.height, camera.width)
        self.image = np.zeros(shape, np.uint8 if self.visible else np.float32)
        self.inverse = np.zeros(shape, np.float32)

    def sky(self, texture: Texture) -> None:
        """Fill the picture with the part of the sky in the camera's direction; the texture covers the full circle."""
        c = self.camera
        yaw, pitch = np.arctan2(self.turn[2, 1], self.turn[2, 0]), np.arcsin(self.turn[2, 2])
        layer = texture.level(c.layer, 0, 0)
        h, w = layer.shape
        scale_x, scale_y = w / (2 * np.pi) / c.focal, h / (np.pi / 3) / c.focal
        warp = np.array(
            [
                [scale_x, 0, -yaw * w / (2 * np.pi) - scale_x * (c.width - 1) / 2],
                [0, scale_y, h * (1 - pitch / (np.pi / 3)) - scale_y * (c.height - 1) / 2],
            ]
        )
        warp[0, 2] %= w
        cv2.warpAffine(
            layer,
            warp,
            (c.width, c.height),
            dst=self.image,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )

    def paint(self, surfaces: list[Surface]) -> None:
        """Draw surfaces in the given order, one over the other."""
        c = self.camera
        edges = np.array([[s.across, s.down, s.corner - self.eye] for s in surfaces])
        planes = self.turn @ edges.transpose(0, 2, 1)
        homographies = c.matrix @ planes
        squares = np.array(
            [[[a0, b0, 1], [a1, b0, 1], [a1, b1, 1], [a0, b1, 1]] for (a0, a1), (b0, b1) in (s.part for s in surfaces)]
        )
        corners = squares @ planes.transpose(0, 2, 1)
        for k in np.flatnonzero((corners[..., 2] > NEAR_M).any(axis=1)):
            self._paint(surfaces[k], planes[k], homographies[k], corners[k])

    def _paint(self, surface: Surface, plane: np.ndarray, homography: np.ndarray, corners: np.ndarray) -> None:
        """Draw one surface; `plane` maps its (across, down, 1) to camera coordinates, `homography` to pixels."""
        c = self.camera
        if corners[:, 2].min() < NEAR_M:
            corners = _clip(corners)
        points = corners[:, :2] / corners[:, 2:] * c.focal + [(c.width - 1) / 2, (c.height - 1) / 2]
        (left, top), (right, bottom) = points.min(0), points.max(0)
        x0, y0 = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
        x1, y1 = min(math.ceil(right) + 2, c.width), min(math.ceil(bottom) + 2, c.height)
        if x1 <= x0 + 1 or y1 <= y0 + 1 or (right - left) * (bottom - top) < 1.0:
            return
        texture = surface.texture
        inverse = np.linalg.inv(homography)
        middle = float(np.clip(points[:, 0].mean(), 0, c.width)), float(np.clip(points[:, 1].mean(), 0, c.height))
        across, down = _levels(inverse, middle, texture.visible.shape)
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        polygon = np.clip((points - [x0, y0]) * 16.0, -3e5, 3e5).round().astype(np.int32)
        cv2.fillConvexPoly(mask, polygon, 255, cv2.LINE_AA, 4)
        to_surface = inverse @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
        repeat = cv2.BORDER_WRAP if surface.layer == 0 else cv2.BORDER_REPLICATE

        def look(layer: str) -> np.ndarray:
            picture = texture.level(layer, across, down)
            h, w = picture.shape
            return cv2.warpPerspective(
                picture,
                np.array([[w, 0, -0.5], [0, h, -0.5], [0, 0, 1.0]]) @ to_surface,
                (x1 - x0, y1 - y0),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=repeat,
            )

        colour = look(c.layer)
        if texture.alpha is not None:
            mask = cv2.multiply(mask, look("alpha"), scale=1 / 255)
        if self.visible and surface.shade != 1.0:
            colour = cv2.convertScaleAbs(colour, alpha=surface.shade)
        region = np.s_[y0:y1, x0:x1]
        self.image[region] = _blend(self.image[region], colour, mask)
        # 1/depth is linear over the image of a plane: (normal . ray) / (normal . corner)
        (ax, bx, _), (ay, by, _), (az, bz, _) = plane.tolist()
        normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
        fx, fy, f0 = (normal / (normal @ plane[:, 2])).tolist()
        fx, fy = fx / c.focal, fy / c.focal
        row = np.arange(x0, x1, dtype=np.float32) * np.float32(fx)
        column = np.arange(y0, y1, dtype=np.float32) * np.float32(fy) + np.float32(
            f0 - fx * (c.width - 1) / 2 - fy * (c.height - 1) / 2
        )
        np.copyto(self.inverse[region], row + column[:, None], where=mask > 127)

    def develop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Add the effects of haze, lens and sensor; returns the finished picture and its depth in metres."""
        far = self.inverse <= 1e-4
        depth = 1.0 / np.where(far, np.float32(1e-4), self.inverse)
        noise = _noise(depth.shape, rng)
        clear = cv2.exp(depth * np.float32(-1 / 140.0 if self.visible else -1 / 400.0))
        if self.visible:
            toned = cv2.LUT(self.image, CONTRAST).astype(np.float32)
            image = np.where(far, toned, 205.0 + (toned - 205.0) * clear)
            image = cv2.GaussianBlur(image, (0, 0), 0.55) * _vignette(*depth.shape)
            image += noise * np.sqrt(np.maximum(0.8 + 0.016 * image, 0.0))  # read-out and photon noise
            picture = np.clip(image + 0.5, 0, 255).astype(np.uint8)
        else:
            celsius = np.where(far, self.image, AIR_C + (self.image - AIR_C) * clear)
            celsius = cv2.GaussianBlur(celsius, (0, 0), 0.7) + 0.06 * noise
            picture = ((celsius + 273.15) * 100.0).astype(np.uint16)
        depth[far] = np.inf
        return picture, depth


def _strips(ground: Texture, x: float) -> Iterator[Surface]:
    """The road ahead of `x`, in strips, so that each can be drawn at its own level of detail."""
    for near, far in zip(GROUND_CUTS_M, GROUND_CUTS_M[1:], strict=False):
        # The texture repeats every 16 m: a surface begins at a whole period, and `part` selects the strip.
        start = math.floor((x + near) / 16.0) * 16.0
        part = (0.0, 1.0), ((x + near - 0.02 - start) / 16.0, (x + far - start) / 16.0)
        yield Surface(
            ground, np.array([start, -12.0, 0.0]), np.array([0.0, 24.0, 0.0]), np.array([16.0, 0.0, 0.0]), 0, part=part
        )


@lru_cache(maxsize=4)
def _vignette(height: int, width: int) -> np.ndarray:
    """Gain of the lens per pixel: lower in the corners."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return 1.05 - 0.12 * (x * x + y * y)


@lru_cache(maxsize=1)
def _noise_table() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(1 << 22, dtype=np.float32)


def _noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Normal noise from a random place in a table: drawing it anew would take as long as painting half the street."""
    table, size = _noise_table(), shape[0] * shape[1]
    if size > table.size // 2:
        return rng.standard_normal(shape, dtype=np.float32)
    start = int(rng.integers(table.size - size))
    return table[start : start + size].reshape(shape)


def _clip(corners: np.ndarray) -> np.ndarray:
    """The part of a polygon in camera coordinates that is beyond the near plane."""
    kept = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a[2] >= NEAR_M:
            kept.append(a)
        if (a[2] - NEAR_M) * (b[2] - NEAR_M) < 0:
            kept.append(a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2]))
    return np.array(kept)


def _levels(inverse: np.ndarray, point: tuple[float, float], shape: tuple[int, ...]) -> tuple[int, int]:
    """How often to halve a texture's width and height so that it has about one pixel per pixel of the image.

    `inverse` maps pixels to the (across, down, 1) of the surface; `point` is the pixel at which this is computed.
    """
    (a, b, c), (d, e, f), (g, h, i) = inverse.tolist()
    x, y = point
    w = g * x + h * y + i
    u, v = (a * x + b * y + c) / w, (d * x + e * y + f) / w
    speeds = (
        max(abs(a - u * g), abs(b - u * h)) * shape[1] / abs(w),
        max(abs(d - v * g), abs(e - v * h)) * shape[0] / abs(w),
    )
    across, down = (min(max(round(math.log2(max(speed, 1e-6)) - 0.1), 0), 7) for speed in speeds)
    return across, down


def _blend(under: np.ndarray, over: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`over` where the mask is 255, `under` where it is 0, a mixture between."""
    if under.dtype == np.uint8:
        m = mask.astype(np.uint16)
        return ((over * m + under * (255 - m) + 127) // 255).astype(np.uint8)
    return under + (over - under) * (mask.astype(np.float32) / 255.0)
