"""Held-out labelled scenes in rain: each scene has a fixed moment of a shower, the same in every evaluation."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from derain_ros.data.labelled import LabelledScene
from derain_ros.rain.shower import Severity, draw_moment

SEVERITIES: tuple[Severity, ...] = ("moderate", "heavy")


@dataclass(frozen=True)
class RainyScene:
    """A labelled scene, and the severity of the rain to render on it."""

    scene: LabelledScene
    severity: Severity

    def rainy(self) -> np.ndarray:
        """The scene in rain with drops on the lens, (H, W, 3) uint8 RGB; the same at every call."""
        # The seed comes from the scene's name, so the image does not depend on what else is evaluated.
        seed = zlib.crc32(f"{self.scene.image.stem} {self.severity}".encode())
        return draw_moment(self.scene.read()[0], np.random.default_rng(seed), self.severity)[0]


def rainy_scenes(scenes: Sequence[LabelledScene]) -> list[RainyScene]:
    """Each scene in moderate and in heavy rain."""
    return [RainyScene(scene, severity) for scene in scenes for severity in SEVERITIES]
