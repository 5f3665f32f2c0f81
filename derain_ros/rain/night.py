"""Night, dry or rainy: a few lamps over a dark scene, streaks that glow in their light, mist, wet reflections."""

from __future__ import annotations

import cv2
import numpy as np

from derain_ros.rain.streaks import RainStreaks

GAMMA = 2.2
"""Exponent from grey values to light: lamps, glow and rain are added in linear light."""


class NightLight:
    """A scene lit by street lamps alone; applied to successive frames, the lamps stay.

    `height` and `width` are the image's size in pixels; `rng` draws the lamps and the darkness. `wet` is the strength
    in [0, 1] of the mist around the lamps and of their reflections on a wet road. `glow` is (H, W) float32 in [0, 1]:
    the light that reaches the air in front of the camera, highest close to a lamp.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator, wet: float) -> None:
        if height < 8 or width < 8:
            raise ValueError(f"night: an image of {width}x{height} is too small; at least 8x8 is needed")
        if not 0.0 <= wet <= 1.0:
            raise ValueError(f"night: wetness {wet} is outside 0 to 1")
        self.shape = (height, width)
        self._darkness = float(np.exp(rng.uniform(np.log(0.006), np.log(0.06))))
        self._tint = np.array([1.1, 1.0, rng.uniform(0.5, 1.2)], np.float32)  # sodium to white; the image is RGB
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
        horizon = rng.uniform(0.4, 0.65)
        self.glow = np.zeros(self.shape, np.float32)
        self._light = np.zeros(self.shape, np.float32)
        ripples = 1.0 + 0.5 * cv2.resize(rng.standard_normal((height // 4 + 1, 1)).astype(np.float32), (1, height))
        for _ in range(int(rng.integers(1, 9))):
            lamp_x, lamp_y = rng.uniform(-0.05, 1.05) * width / height, rng.uniform(0.0, horizon)
            radius, power = float(np.exp(rng.uniform(np.log(0.002), np.log(0.02)))), float(rng.uniform(0.4, 1.0))
            distance = np.hypot(x - lamp_x, y - lamp_y)
            reach = radius * rng.uniform(4.0, 12.0)
            near = power * (reach / (reach + distance)) ** 2
            self.glow = np.maximum(self.glow, near)
            bulb = 4.0 * power * np.clip(1.5 - distance / radius, 0.0, 1.0)
            halo = (0.15 + 0.6 * wet) * near**2
            width_below = radius * rng.uniform(1.0, 3.0)
            below = np.exp(-(((x - lamp_x) / width_below) ** 2)) * np.clip((y - horizon) / 0.05, 0.0, 1.0)
            self._light += bulb + halo + wet * rng.uniform(0.1, 0.6) * power * below * np.clip(ripples, 0.0, 2.0)

    def light(self, image: np.ndarray) -> np.ndarray:
        """`image` (H, W) or RGB (H, W, 3) uint8 at night, as linear light, float32, 1 is white.

        ValueError for another size than the constructor's.
        """
        if image.shape[:2] != self.shape:
            raise ValueError(
                f"night: the image is {image.shape[1]}x{image.shape[0]}, the lamps were made for "
                f"{self.shape[1]}x{self.shape[0]}"
            )
        scene = (image.astype(np.float32) / 255.0) ** GAMMA
        scene *= min(1.0, self._darkness / (float(scene.mean()) + 1e-6))
        if image.ndim == 3:
            return scene * (1.0 + 6.0 * self.glow[..., None]) + self._light[..., None] * self._tint
        return scene * (1.0 + 6.0 * self.glow) + self._light

    def apply(self, image: np.ndarray) -> np.ndarray:
        """`image` at night, of the same shape and type; ValueError for another size than the constructor's."""
        return to_picture(self.light(image))


class NightRain:
    """Rain that falls at night: `intensity` from 0 (none) to 1 (downpour), the other arguments as for `NightLight`.

    The lamps stay from frame to frame; the streaks are new in each. `lamps` renders the same scene without streaks.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator, intensity: float) -> None:
        self.lamps = NightLight(height, width, rng, wet=float(rng.uniform(0.3, 1.0)))
        self._streaks = RainStreaks(height, width, rng, intensity)
        self._ambient, self._gain = float(rng.uniform(0.02, 0.12)), float(rng.uniform(0.4, 1.2))

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`image` in night rain, of the same shape and type, and the share of each pixel's light from streaks.

        The share is (H, W) float32 in [0, 1]. ValueError for another size than the constructor's.
        """
        scene = self.lamps.light(image)
        grey = scene.mean(2) if scene.ndim == 3 else scene
        # Lamps in the photograph itself light the rain, too, as the rendered lamps do.
        shining = cv2.GaussianBlur(np.clip(grey - 0.25, 0.0, 1.0), (0, 0), 0.08 * grey.shape[0])
        lit = self._ambient + self._gain * np.clip(self.lamps.glow + 3.0 * shining, 0.0, 1.0)
        rain = self._streaks.apply(image)[1] * lit
        cover = rain / (rain + np.maximum(grey, 0.02))
        return to_picture(scene + (rain[..., None] if scene.ndim == 3 else rain)), cover.astype(np.float32)


def to_picture(light: np.ndarray) -> np.ndarray:
    """Linear light (1 is white) as uint8 pixel values."""
    return (255.0 * np.clip(light, 0.0, 1.0) ** (1 / GAMMA) + 0.5).astype(np.uint8)
