"""Every anomaly by name, as hard as it is asked for: what a camera sees then, without it, and where it is hidden."""

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
"""Kinds of what lies on the lens, by anomaly."""
FALLING = ("streak", "night_rain")
"""Anomalies of what falls through the air."""
ANOMALIES = (*(f"{anomaly} {kind}" for anomaly, kinds in GLASS.items() for kind in kinds), *FALLING)
"""All of them, such as `raindrop heavy`, `dirt film` and `streak`."""


class Weather:
    """One camera's anomaly, which stays on the lens, or falls, from frame to frame.

    `name` is one of ANOMALIES, `amount` in 0..1 the share of the glass that is covered, or the intensity of what falls;
    `height` and `width` are the image's, in pixels. The same `rng` state gives the same. ValueError for another name.
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
        """`image` (H, W) uint8 without the anomaly: itself by day, the same scene by night for night rain."""
        return image if self._lamps is None else self._lamps.apply(image)

    def wet(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`image` (H, W) uint8 with the anomaly, and the mask (H, W) uint8, 255 where it hides the scene: alpha above
        OCCLUDED on the lens, a change by more than STREAKED where it falls."""
        wet, alpha = self._apply(image)
        if not self._falls:
            return wet, mask_of(alpha)
        return wet, ((cv2.absdiff(wet, self.clear(image)) > STREAKED) * 255).astype(np.uint8)
