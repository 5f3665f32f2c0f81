"""Wet glass over a sequence: drops stay while the scene moves; over time they land, grow and run down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from derain_ros.rain.drops import LensDrops, draw_protos, scatter
from derain_ros.rain.shapes import Drops
from derain_ros.rain.style import LARGEST, DropStyle

GROWTH = 1.0
"""Seconds in which a drop that has landed grows to its size."""


class WetSequence:
    """The glass of one camera over time; the same `rng` state gives the same history.

    At second 0 drops cover the share `coverage` of the glass. After that, `landing` drops a second land on average,
    until `seconds`. `style.running` is the share of the larger drops that run down at some time and leave a trail.
    `outlines` are as for LensDrops. `apply` may be called with any seconds, in any order. ValueError for a negative
    `landing`, or `seconds` not above 0.
    """

    def __init__(
        self,
        height: int,
        width: int,
        rng: np.random.Generator,
        coverage: float,
        landing: float = 4.0,
        seconds: float = 60.0,
        style: DropStyle | None = None,
        outlines: Sequence[np.ndarray] | None = None,
    ) -> None:
        if landing < 0 or seconds <= 0:
            raise ValueError(f"{landing} drops a second for {seconds} seconds: neither may be negative, nor seconds 0")
        self._size, self._style = (height, width), style if style is not None else DropStyle.draw(rng)
        style, unit = self._style, min(height, width)
        self._protos = draw_protos(rng, outlines)
        # Here trails form only behind drops that run; initially there are none.
        first = scatter(height, width, rng, coverage, replace(style, running=0.0), self._protos)
        radius = style.radius * np.exp(rng.normal(0, style.spread, rng.poisson(landing * seconds)))
        later = Drops.draw(np.clip(radius, 0.0, LARGEST), width / unit, height / unit, len(self._protos), rng)
        drops = first + later
        born = np.concatenate([np.full(len(first), -GROWTH), rng.uniform(0, seconds, len(later))])
        runs = (rng.random(len(drops)) < style.running) & (drops.radius >= style.radius)
        start = np.where(runs, np.maximum(born, 0) + GROWTH + rng.exponential(seconds / 4, len(drops)), np.inf)
        # Large drops run faster; the unit is the frame's shorter side per second.
        speed = rng.uniform(0.1, 0.5, len(drops)) * np.clip(drops.radius / 0.03, 0.3, 2.0)
        trails, times = _trails(drops, np.flatnonzero(runs), start, speed, height / unit, rng)
        still = np.full(len(trails), np.inf)
        self._drops, self._born = drops + trails, np.concatenate([born, times])
        self._start, self._speed = np.concatenate([start, still]), np.concatenate([speed, np.zeros(len(trails))])
        # Drops that move at any time are drawn as moving all the time; otherwise they would jump when they start.
        self._moving = (self._born >= 0) | np.isfinite(self._start)
        self._seed = int(rng.integers(2**31))
        self._shown: tuple[Drops, LensDrops] | None = None

    def glass(self, seconds: float) -> LensDrops:
        """The glass at time `seconds`; ValueError if that is negative."""
        if seconds < 0:
            raise ValueError(f"the sequence begins at second 0, not at {seconds}")
        age = seconds - self._born
        there = age > 0
        y = self._drops.y + self._speed * np.maximum(seconds - self._start, 0)
        grown = self._drops.radius * np.cbrt(np.clip(age / GROWTH, 0, 1))
        moment = replace(self._drops, y=y, radius=grown)
        moment = moment.chosen(there)
        if self._shown is None or any(
            not np.array_equal(a, b) for a, b in zip(vars(self._shown[0]).values(), vars(moment).values(), strict=True)
        ):
            lens = np.random.default_rng(self._seed)
            self._shown = (
                moment,
                LensDrops.of(*self._size, self._style, moment, self._protos, lens, self._moving[there]),
            )
        return self._shown[1]

    def apply(self, image: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """`image` through the glass at time `seconds`, and the alpha; see LensDrops.apply."""
        return self.glass(seconds).apply(image)


def two_eyes(
    height: int, width: int, seed: int, coverage: float, landing: float = 4.0, seconds: float = 60.0
) -> tuple[WetSequence, WetSequence]:
    """The glasses of the left and the right camera: the same rain, but different drops."""
    style = DropStyle.draw(np.random.default_rng(seed))
    left, right = (
        WetSequence(height, width, np.random.default_rng([seed, eye]), coverage, landing, seconds, style)
        for eye in (0, 1)
    )
    return left, right


def _trails(
    drops: Drops, runners: np.ndarray, start: np.ndarray, speed: np.ndarray, bottom: float, rng: np.random.Generator
) -> tuple[Drops, np.ndarray]:
    """The beads that the drops `runners` leave on their way to the `bottom`, and the second at which each appears."""
    trails, times = Drops(*(part[:0] for part in vars(drops).values())), [np.zeros(0)]
    for k in runners:
        size = drops.radius[k] * rng.uniform(0.2, 0.5)
        down = np.arange(0, bottom - drops.y[k], 0.6 * size)
        down = down[rng.random(len(down)) < 0.8]
        n = len(down)
        trails = trails + Drops(
            drops.x[k] + size * rng.normal(0, 0.25, n),
            drops.y[k] + down,
            size * rng.uniform(0.5, 1.1, n),
            rng.uniform(1.2, 2.2, n),
            rng.uniform(0.4, 0.7, n),
            np.full(n, drops.proto[k]),
            rng.random(n) < 0.5,
        )
        times.append(start[k] + down / speed[k])
    return trails, np.concatenate(times)
