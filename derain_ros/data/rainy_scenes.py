"""Held-out labelled scenes in rain: the same moment of a shower on each, whoever evaluates."""

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
    """A labelled scene that is to be seen in rain of this severity."""

    scene: LabelledScene
    severity: Severity

    def rainy(self) -> np.ndarray:
        """The scene in rain with drops on the lens, (H, W, 3) uint8 RGB; the same whenever it is asked for."""
        # A seed of the scene's own name, so that it does not change with what else is evaluated.
        seed = zlib.crc32(f"{self.scene.image.stem} {self.severity}".encode())
        return draw_moment(self.scene.read()[0], np.random.default_rng(seed), self.severity)[0]


def rainy_scenes(scenes: Sequence[LabelledScene]) -> list[RainyScene]:
    """Each scene in moderate and in heavy rain."""
    return [RainyScene(scene, severity) for scene in scenes for severity in SEVERITIES]
