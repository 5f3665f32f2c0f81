"""Every anomaly by name, at a chosen strength: a camera's image with it and without it, and the mask."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from derain_ros.rain import dirt, style
from derain_ros.rain.drops import LensDrops, mask_of
from derain_ros.rain.night import NightRain
from derain_ros.rain.shower import STREAKED
from derain_ros.rain.streaks import RainStreaks

GLASS = {"raindrop": style.KINDS, "dirt": tuple(dirt.KINDS)}
"""Kinds of the anomalies on the lens, by anomaly."""
FALLING = ("streak", "night_rain")
"""Anomalies that fall through the air."""
ANOMALIES = (*(f"{anomaly} {kind}" for anomaly, kinds in GLASS.items() for kind in kinds), *FALLING)
"""All names, such as `raindrop heavy`, `dirt film` and `streak`."""


class Weather:
    """One camera's anomaly, which stays on the lens from frame to frame, or falls.

    `name` is one of ANOMALIES. `amount` in 0..1 is the share of the lens that is covered, or the intensity of the rain.
    `height` and `width` are the image's size in pixels. The same `rng` state gives the same anomaly. ValueError for
    another name.
    """

    def __init__(self, name: str, amount: float, height: int, width: int, rng: np.random.Generator) -> None:
        if name not in ANOMALIES:
            raise ValueError(f"no anomaly is called {name!r}; there are {', '.join(ANOMALIES)}")
        anomaly, _, kind = name.partition(" ")
        self._lamps = None
        if anomaly == "night_rain":
            night = NightRain(height, width, rng, amount)
            self._lamps, self._apply = night.lamps, night.apply
        elif anomaly == "streak":
            self._apply = RainStreaks(height, width, rng, amount).apply
        elif anomaly == "raindrop":
            self._apply = LensDrops(height, width, rng, amount, style.DropStyle.draw(rng, kind)).apply
        else:
            self._apply = dirt.LensDirt(height, width, rng, amount, kind).apply
        self._falls = anomaly in FALLING

    _apply: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def clear(self, image: np.ndarray) -> np.ndarray:
        """`image` (H, W) uint8 without the anomaly: for night rain the scene at night, otherwise `image` itself."""
        return image if self._lamps is None else self._lamps.apply(image)

    def wet(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`image` (H, W) uint8 with the anomaly, and the mask (H, W) uint8, 255 where it hides the scene.

        On the lens, that is where alpha is above OCCLUDED; for falling rain, where the image changes by more than
        STREAKED.
        """
        wet, alpha = self._apply(image)
        if not self._falls:
            return wet, mask_of(alpha)
        return wet, ((cv2.absdiff(wet, self.clear(image)) > STREAKED) * 255).astype(np.uint8)
