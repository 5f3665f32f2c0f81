"""The look of wet glass: kinds of drops, and the style of one glass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

KINDS = ("heavy", "photograph", "spray", "few", "veil")
"""Kinds of wet glass, in order: many big blurred drops (as in RobotCar(R)); many small drops nearly in focus (as in
photographs through a window pane); fine spray; few drops on a car's lens (sizes and coverage of RainyNuScenes); pale
blurred blots."""

LARGEST = 0.33
"""Radius of the largest drop, as a share of the frame's shorter side."""

_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    # kind: radius, spread, defocus, coverage; the first, third and fourth are drawn log-uniformly
    "heavy": ((0.02, 0.075), (0.6, 0.95), (0.018, 0.06), (0.4, 0.9)),
    "photograph": ((0.006, 0.014), (0.35, 0.6), (0.0045, 0.012), (0.04, 0.2)),
    "spray": ((0.003, 0.007), (0.3, 0.5), (0.0008, 0.006), (0.02, 0.2)),
    "few": ((0.06, 0.1), (0.345, 0.345), (0.004, 0.03), (0.012, 0.09)),
    "veil": ((0.03, 0.09), (0.2, 0.5), (0.04, 0.08), (0.06, 0.35)),
}


@dataclass(frozen=True)
class DropStyle:
    """The look of the drops on one glass; lengths are shares of the frame's shorter side."""

    radius: float
    """Median radius of the drops."""
    spread: float
    """Standard deviation of the radii's logarithm."""
    coverage: float
    """Share of the frame that such drops usually cover."""
    defocus: float
    """Radius of the circle of confusion; 0 gives the sharp borders of earlier models."""
    brightness: float
    """Gain of the light inside the drops."""
    glare: float
    """How much brighter than white the scene's brightest light is: the picture clips it, but a drop gathers it."""
    sky: float
    """Share in [0, 1] of sky light where a drop shows the view above the frame."""
    daylight: float
    """Lowest light of that sky, as a share of the picture's white; 0 at night and indoors."""
    caustic: float
    """Brightness of the crescent on the side away from the light, relative to the sky; 0 is none."""
    light: float
    """Direction of the light: angle in radians from upright, clockwise."""
    bend: float
    """How far aside the view goes at a drop's rim, as a share of the frame's shorter side."""
    rim: float
    """Darkness in [0, 1] of the rims, where light is reflected away."""
    film: float
    """Strength in [0, 1] of the thin film of water that blurs patches of the view."""
    running: float
    """Share in [0, 1] of the larger drops that run down and leave a trail."""

    @classmethod
    def draw(cls, rng: np.random.Generator, kind: str | None = None) -> DropStyle:
        """A random style; `kind` is one of KINDS, drawn if none is given. ValueError for another kind."""
        if kind is None:
            kind = str(rng.choice(KINDS, p=[0.36, 0.32, 0.1, 0.14, 0.08]))
        elif kind not in KINDS:
            raise ValueError(f"no kind of drops is called {kind!r}; there are {', '.join(KINDS)}")
        radius, spread, defocus, coverage = _RANGES[kind]
        return cls(
            radius=_log_uniform(rng, *radius),
            spread=float(rng.uniform(*spread)),
            coverage=_log_uniform(rng, *coverage),
            defocus=_log_uniform(rng, *defocus),
            brightness=float(rng.uniform(0.7, 1.2)),
            glare=float(rng.choice([0.0, rng.uniform(0, 1), rng.uniform(0.5, 3)])),
            sky=float(rng.uniform(0.3, 1.0)),
            daylight=float(rng.choice([0.0, rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.9)])),
            caustic=float(rng.choice([0.0, rng.uniform(0.2, 1.5)])),
            light=float(rng.normal(0, 0.5)),
            bend=float(rng.uniform(0.25, 0.9)),
            rim=float(rng.uniform(0.1, 0.85)),
            film=float(rng.choice([0.0, 0.0, rng.uniform(0.2, 0.8)])),
            running=float(rng.choice([0.0, 0.05, 0.25])) if kind != "veil" else 0.0,
        )

    def larger(self, factor: float) -> DropStyle:
        """The same style at `factor` times the size: drops and their blur grow alike."""
        return replace(self, radius=self.radius * factor, defocus=self.defocus * factor)

    def sharp(self) -> DropStyle:
        """The reference with which paper 1 compares: the same drops with sharp borders, no brightened interiors."""
        return replace(self, defocus=0.0, brightness=1.0, glare=0.0, caustic=0.0)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
