"""Moving water on a lens: drops land, merge, run down when they are too heavy, leave trails, dry.

Lengths are shares of the frame's shorter side. A drop's volume is the cube of its radius: all drops have the same
contact angle, and their appearance (`tall`, `steep`) does not count.
"""

from __future__ import annotations

import numpy as np

from derain_ros.rain.shapes import Drops
from derain_ros.rain.style import LARGEST

TOUCH = 0.9
"""Distance of two drops' centres, relative to the sum of their radii, below which they merge."""
PACE = (0.12, 0.5)
"""Range of the speed per second of a drop that begins to run; it grows with the square of the radius."""
REST = 0.75
"""A running drop comes to rest below this share of the radius at which it begins to run."""
SWAY, STEADY = 0.5, 0.15
"""Sideways speed of a running drop, relative to its speed, and the time constant in seconds with which it decays."""
BEAD = (0.16, 0.34)
"""Range of the radius of a trail's beads, relative to the radius of the drop that leaves them."""
TOGETHER = 256
"""Largest number of drops that land at once."""
LEAST = 0.0008
"""A drop with a radius up to this has dried up."""

_DROP = np.dtype(
    [
        *((name, np.float64) for name in ("x", "y", "volume", "tall", "steep")),
        ("proto", np.int64),
        ("mirror", bool),
        # Radius at which it begins to run; speed then, 0 at rest; sideways speed; distance to the next bead.
        *((name, np.float64) for name in ("hold", "pace", "drift", "due")),
    ]
)


class Water:
    """The drops on a glass of `width` x `height`; the same `rng` state and the same calls give the same drops.

    `critical` is the median radius above which drops run down; `protos` is the number of shapes of drops.
    """

    def __init__(self, width: float, height: float, critical: float, protos: int, rng: np.random.Generator) -> None:
        self.width, self.height, self.critical = width, height, critical
        self._protos, self._rng = protos, rng
        self._drops = np.zeros(0, _DROP)

    @property
    def volume(self) -> float:
        """Volume of all drops together."""
        return float(self._drops["volume"].sum())

    @property
    def coverage(self) -> float:
        """Approximate share of the glass under water: drops at its edges count as whole."""
        return float(np.pi * (np.cbrt(self._drops["volume"]) ** 2).sum()) / (self.width * self.height)

    @property
    def running(self) -> np.ndarray:
        """Whether each drop of `drops` runs down, (N,) bool."""
        return self._drops["pace"] > 0

    def drops(self) -> Drops:
        """The drops as they are now."""
        d = self._drops.copy()
        radius = np.minimum(np.cbrt(d["volume"]), LARGEST)
        return Drops(d["x"], d["y"], radius, d["tall"], d["steep"], d["proto"], d["mirror"])

    def land(self, radius: np.ndarray) -> None:
        """Let drops of these radii (N,) land at random places, and merge with those that they touch."""
        # In groups, as each new drop is compared with all others.
        for some in np.split(radius, range(TOGETHER, len(radius), TOGETHER)):
            looks = Drops.draw(some, self.width, self.height, self._protos, self._rng)
            new = np.zeros(len(some), _DROP)
            for name in ("x", "y", "tall", "steep", "proto", "mirror"):
                new[name] = getattr(looks, name)
            new["volume"] = some**3
            new["hold"] = self.critical * np.exp(self._rng.normal(0, 0.2, len(some)))
            self._drops = np.concatenate([self._drops, new])
            self._merge(np.arange(len(self._drops)) >= len(self._drops) - len(new))

    def flow(self, seconds: float) -> None:
        """Let heavy drops run down for `seconds`; they absorb drops that they touch, and leave trails.

        Drops that are below the glass are removed.
        """
        left = seconds
        while left > 0:
            radius = np.cbrt(self._drops["volume"])
            starts = (self._drops["pace"] == 0) & (radius > self._drops["hold"])
            self._drops["pace"][starts] = self._rng.uniform(*PACE, np.count_nonzero(starts))
            runs = np.flatnonzero(self._drops["pace"] > 0)
            if not len(runs):
                return
            speed = self._drops["pace"][runs] * (radius[runs] / self._drops["hold"][runs]) ** 2
            # Steps are so short that no drop is skipped.
            time = min(left, float((0.5 * radius[runs] / speed).min()))
            left -= time
            self._run(runs, speed, radius[runs], time)

    def dry(self, length: float) -> None:
        """Reduce every drop's radius by `length`, as in a wind that dries all water surfaces equally fast."""
        radius = np.cbrt(self._drops["volume"]) - length
        self._drops = self._drops[radius > LEAST]
        self._drops["volume"] = radius[radius > LEAST] ** 3

    def _run(self, runs: np.ndarray, speed: np.ndarray, radius: np.ndarray, time: float) -> None:
        """Move the drops `runs` (K,) for `time` seconds, in which none moves down more than half of its radius."""
        drops, rng = self._drops, self._rng
        kept = np.exp(-time / STEADY)
        sway = SWAY * speed * np.sqrt(1 - kept**2)
        drops["drift"][runs] = kept * drops["drift"][runs] + sway * rng.standard_normal(len(runs))
        drops["x"][runs] += drops["drift"][runs] * time
        drops["y"][runs] += speed * time
        drops["due"][runs] -= speed * time
        beads = self._beads(runs[drops["due"][runs] <= 0])
        rests = runs[np.cbrt(drops["volume"][runs]) < REST * drops["hold"][runs]]
        for name in ("pace", "drift"):
            drops[name][rests] = 0
        moved = np.zeros(len(drops) + len(beads), bool)
        moved[runs] = moved[len(drops) :] = True
        self._drops = np.concatenate([drops, beads])
        self._merge(moved)
        below = self._drops["y"] - np.cbrt(self._drops["volume"]) * np.sqrt(self._drops["tall"]) > self.height
        self._drops = self._drops[~below]

    def _beads(self, runs: np.ndarray) -> np.ndarray:
        """Beads of water that the drops `runs` (K,) leave above themselves; their volume is taken from the drops."""
        drops, rng = self._drops, self._rng
        size = np.cbrt(drops["volume"][runs])
        radius = size * rng.uniform(*BEAD, len(runs))
        beads = drops[runs]
        beads["volume"] = radius**3
        drops["volume"][runs] -= beads["volume"]
        beads["x"] += 0.2 * size * rng.standard_normal(len(runs)).clip(-1, 1)
        beads["y"] -= size + radius
        beads["tall"] = rng.uniform(1.2, 2.2, len(runs))
        beads["steep"] = rng.uniform(0.4, 0.7, len(runs))
        beads["mirror"] = rng.random(len(runs)) < 0.5
        beads["hold"] = self.critical * np.exp(rng.normal(0, 0.2, len(runs)))
        for name in ("pace", "drift", "due"):
            beads[name] = 0
        drops["due"][runs] = radius * rng.uniform(1.6, 4.0, len(runs))
        return beads

    def _merge(self, changed: np.ndarray) -> None:
        """Merge drops that touch: the larger absorbs the smaller, and their volumes add.

        Only pairs with at least one drop in `changed` (N,) bool are checked: no others have come to touch.
        """
        while changed.any():
            d, new = self._drops, np.flatnonzero(changed)
            x, y, radius = (part.astype(np.float32) for part in (d["x"], d["y"], np.cbrt(d["volume"])))
            reach = np.float32(TOUCH) * (radius[new, None] + radius)
            away = np.square(x[new, None] - x) + np.square(y[new, None] - y)
            one, other = np.nonzero(away < np.square(reach))
            one = new[one]
            apart = one != other
            one, other = one[apart], other[apart]
            if not len(one):
                return
            swap = (radius[one] > radius[other]) | ((radius[one] == radius[other]) & (one < other))
            small, large = np.where(swap, other, one), np.where(swap, one, other)
            # Each drop merges into the largest that it touches, which may itself merge into a larger one.
            into = np.arange(len(d))
            order = np.argsort(radius[large], kind="stable")
            into[small[order]] = large[order]
            while not np.array_equal(into[into], into):
                into = into[into]
            volume = np.bincount(into, d["volume"], len(d))
            gone = into != np.arange(len(d))
            grown = np.bincount(into[gone], minlength=len(d)) > 0
            for name in ("x", "y"):
                middle = np.bincount(into, d["volume"] * d[name], len(d))
                d[name][grown] = middle[grown] / volume[grown]
            d["volume"] = volume
            self._drops, changed = d[~gone], grown[~gone]
