"""A whole shower on a camera: dry, then streaks, small drops that gather, large drops that run down, and drying.

The wet image is I_r = (1 - M) (I_gt + S) + R: the streaks S fall through the scene. Where water M is on the lens, the
light R that it gathers replaces scene and streaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from derain_ros.rain.drops import OCCLUDED, LensDrops, mask_of
from derain_ros.rain.shapes import melted_ellipses
from derain_ros.rain.streaks import RainStreaks
from derain_ros.rain.style import DropStyle
from derain_ros.rain.water import Water

Severity = Literal["moderate", "heavy"]

RAIN_FROM, LANDS_FROM, HARDEST, EASES, OVER = 0.08, 0.2, 0.55, 0.72, 0.82
"""Times, as shares of a shower, at which streaks begin, drops begin to land, the rain reaches its maximum, begins to
ease, and ends."""
WATER = (0.9, 1.8)
"""Range of the water that lands: how many times it would cover the glass if no drops merged."""
SWELL = 1.5
"""Factor by which drops that land in the hardest rain are larger."""
COVERAGE = {"moderate": (0.08, 0.2), "heavy": (0.35, 0.6)}
"""Range of the share of the image behind drops, by severity."""
STREAKS = {"moderate": (0.1, 0.45), "heavy": (0.5, 1.0)}
"""Range of the intensity of the streaks, as in RainStreaks, by severity."""
CRITICAL = (3.0, 6.0)
"""Range of the radius from which drops run down, relative to the median radius of those that land."""
NEARER = 2.2
"""Largest factor by which `draw_moment` enlarges drops beyond what fits the size of the image."""
DRAWN = 0.8
"""Area that drops occlude on average, as a share of what discs would occlude."""
COUNTED = 128
"""Shorter side, in pixels, of the picture on which the occluded area is counted."""
DRY = 1e-4
"""Share of a pixel's light from drops below which the pixel counts as dry."""
STREAKED = 10
"""A pixel of which a colour (0 to 255) changes by more than this counts as occluded by a streak."""


@dataclass(frozen=True)
class WetFrame:
    """One frame of a shower.

    `image` has the shape and type of the clean one. `mask` (H, W) uint8 is 255 where drops or streaks occlude. `drops`
    and `streaks` (H, W) float32 in 0..1 are the shares of each pixel's light that came through water on the lens, and
    from falling rain.
    """

    image: np.ndarray
    mask: np.ndarray
    drops: np.ndarray
    streaks: np.ndarray


class Shower:
    """A shower of `frames` frames, `rate` of them a second, on a camera of `height` x `width` pixels.

    It begins dry; streaks begin and become denser; small drops land and gather; large ones form, run down and leave
    trails; the rain ends, and the last frame is dry again. The same `seed`, a number or a generator in the same state,
    gives the same frames in any order of access; access in order is fastest. `water` is the water on the lens at the
    last accessed frame. ValueError for a camera below 16x16 pixels, or if `frames` or `rate` is not above 0.
    """

    def __init__(
        self, height: int, width: int, seed: np.random.Generator | int, frames: int, rate: float = 10.0
    ) -> None:
        _check_size(height, width)
        if frames < 1 or rate <= 0:
            raise ValueError(f"{frames} frames at {rate} a second: neither may be 0 or negative")
        self.height, self.width, self.frames, self.rate = height, width, frames, rate
        self._seed = int(seed.integers(2**63)) if isinstance(seed, np.random.Generator) else seed
        rng = np.random.default_rng([self._seed, 0])
        self._style, self._protos = _style(rng), melted_ellipses(24, rng)
        self._critical, self._hardest = self._style.radius * float(rng.uniform(*CRITICAL)), float(rng.uniform(0.5, 1.0))
        self._streaks = RainStreaks(height, width, rng, 0.0, veil=False)
        shares = sum(_rise(self._share(step), LANDS_FROM) for step in range(frames))
        self._lands = float(rng.uniform(*WATER)) / max(shares, 1e-9)
        self._begin()

    def wet(self, image: np.ndarray, step: int) -> WetFrame:
        """`image` (H, W) or (H, W, 3) uint8 in frame `step` of the shower, 0 to `frames` - 1.

        ValueError for another step, or an image of another size.
        """
        if not 0 <= step < self.frames:
            raise ValueError(f"step {step} of a shower of {self.frames} frames: 0 to {self.frames - 1} are there")
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"the image is {image.shape[1]}x{image.shape[0]}, the shower is for {self.width}x{self.height}"
            )
        if step < self._step:
            self._begin()
        while self._step < step:
            self._advance()
        self._streaks.intensity = self._hardest * _rise(self._share(step), RAIN_FROM)
        return _compose(image, self._glass(), self._streaks, np.random.default_rng([self._seed, 1, step]))

    def _share(self, step: int) -> float:
        """The share of the shower that is over at `step`, 0 to 1."""
        return step / max(self.frames - 1, 1)

    def _begin(self) -> None:
        """Go back to frame 0."""
        self._step, self._rng, unit = 0, np.random.default_rng([self._seed, 2]), min(self.height, self.width)
        self.water = Water(self.width / unit, self.height / unit, self._critical, len(self._protos), self._rng)

    def _advance(self) -> None:
        """Go on to the next frame."""
        self._step += 1
        hard = _rise(self._share(self._step), LANDS_FROM)
        if hard > 0:
            style = self._style.larger(1 + (SWELL - 1) * hard)
            lands = hard * self._lands * self.water.width * self.water.height / _area(style)
            self.water.land(_radii(style, int(self._rng.poisson(lands)), self._rng))
        elif self._share(self._step) > OVER and len(self.water.drops()):
            # About equally many drops dry from each frame to the next, so that none is left at the end.
            self.water.dry(float(np.quantile(self.water.drops().radius, 1 / (self.frames - self._step))))
        self.water.flow(1 / self.rate)

    def _glass(self) -> LensDrops | None:
        """The glass at the current frame; None if it is dry."""
        drops = self.water.drops()
        if not len(drops):
            return None
        # On whole pixels, running drops would move in jumps, and drying drops would shrink in jumps.
        drying = self._share(self._step) > OVER and drops.radius * min(self.height, self.width) > 3
        lens = np.random.default_rng([self._seed, 3])
        return LensDrops.of(
            self.height, self.width, self._style, drops, self._protos, lens, self.water.running | drying
        )


def _check_size(height: int, width: int) -> None:
    if height < 16 or width < 16:
        raise ValueError(f"an image of {width}x{height} pixels is too small for a shower; 16x16 is the least")


def _rise(share: float, begin: float) -> float:
    """How hard it rains, 0 to 1, when `share` of the shower is over; the rain begins at `begin`."""
    return float(np.interp(share, [begin, HARDEST, EASES, OVER], [0, 1, 1, 0]))


def _area(style: DropStyle) -> float:
    """Mean area of a drop that lands, in squares of the frame's shorter side."""
    return float(np.pi * (style.radius * np.exp(style.spread**2)) ** 2)


def draw_moment(
    image: np.ndarray, rng: np.random.Generator, severity: Severity | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`image` (H, W) or (H, W, 3) uint8 at a random moment of a shower, and the mask (H, W) uint8, 0 or 255.

    `moderate` has drops on 8 to 20 % of the image and some streaks, `heavy` on 35 to 60 % and dense streaks. Without a
    severity it is any moment, including the dry beginning. ValueError for another severity, or an image below 16x16
    pixels.
    """
    height, width = image.shape[:2]
    _check_size(height, width)
    if severity is not None and severity not in COVERAGE:
        raise ValueError(f"no severity is called {severity!r}; there are {', '.join(COVERAGE)}")
    if severity is None:
        share = float(rng.choice([0.0, np.exp(rng.uniform(np.log(0.01), np.log(0.45)))], p=[0.15, 0.85]))
        low, high, intensity = 0.7 * share, 1.3 * share, float(rng.choice([0.0, rng.uniform(0, 1)], p=[0.15, 0.85]))
    else:
        (low, high), intensity = COVERAGE[severity], float(rng.uniform(*STREAKS[severity]))
    streaks = RainStreaks(height, width, rng, intensity, veil=False)
    glass = _glass_of(height, width, rng, low, high) if high else None
    frame = _compose(image, glass, streaks, rng)
    return frame.image, frame.mask


def _glass_of(height: int, width: int, rng: np.random.Generator, low: float, high: float) -> LensDrops:
    """A glass on which drops have gathered until they occlude a share of `low` to `high` of it."""
    # The image may be a crop: it is smaller than a whole frame, but shows as many pixels of a drop.
    nearer, unit = float(np.exp(rng.uniform(0, np.log(NEARER)))), min(height, width)
    style, protos = _style(rng).larger(nearer), melted_ellipses(8, rng)
    water = Water(width / unit, height / unit, style.radius * float(rng.uniform(*CRITICAL)), len(protos), rng)
    target, lens = float(rng.uniform(low, high)), rng.integers(2**31)
    want = target / DRAWN
    for _ in range(8):
        _gather(water, want, style, rng)
        glass = LensDrops.of(height, width, style, water.drops(), protos, np.random.default_rng(lens), water.running)
        covered = float(np.mean(glass.alpha > OCCLUDED))
        if low <= covered <= high:
            break
        want *= target / max(covered, 0.1 * target)
        if covered > high:
            radius = water.drops().radius
            water.dry(0.5 * (1 - target / covered) * float((radius**2).sum() / radius.sum()))
    return glass


def _gather(water: Water, target: float, style: DropStyle, rng: np.random.Generator) -> None:
    """Let drops land and flow until they occlude about the share `target` of the glass."""
    typical = np.pi * (style.radius * np.exp(style.spread**2) + OCCLUDED * style.defocus) ** 2
    for _ in range(20):
        occluded = _occluded(water, style.defocus)
        if occluded >= 0.97 * target:
            return
        # Many of the drops that land fall on others.
        room = (target - occluded) / max(1 - occluded, 0.4) ** 2 * water.width * water.height
        water.land(_radii(style, 1 + int(room / typical), rng))
        water.flow(0.05)


def _occluded(water: Water, defocus: float) -> float:
    """Approximate share of the glass that its drops occlude, with a blur of radius `defocus`."""
    canvas = np.zeros((round(COUNTED * water.height), round(COUNTED * water.width)), np.uint8)
    drops = water.drops()
    middles = np.rint(16 * (np.stack([drops.x, drops.y], -1) * COUNTED - 0.5)).astype(int).tolist()
    for middle, radius in zip(middles, np.rint(16 * COUNTED * drops.radius).astype(int).tolist(), strict=True):
        cv2.circle(canvas, middle, radius, 255, -1, cv2.LINE_AA, 4)
    side = 2 * round((np.sqrt(np.pi) * defocus * COUNTED - 1) / 2) + 1
    return float((cv2.blur(canvas, (side, side)) > 255 * OCCLUDED).mean())


def _radii(style: DropStyle, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random radii (count,) of drops that land, in shares of the frame's shorter side."""
    return np.clip(style.radius * np.exp(rng.normal(0, style.spread, count)), 0.0025, 0.1)


def _style(rng: np.random.Generator) -> DropStyle:
    """The style of the drops of one shower: as in photographs when they land, with a varying defocus."""
    radius = float(np.exp(rng.uniform(np.log(0.007), np.log(0.016))))
    defocus = radius * float(np.exp(rng.uniform(np.log(0.3), np.log(1.3))))
    return replace(DropStyle.draw(rng, "photograph"), radius=radius, defocus=defocus, film=0.0, running=0.0)


def _compose(image: np.ndarray, glass: LensDrops | None, streaks: RainStreaks, rng: np.random.Generator) -> WetFrame:
    """`image` (H, W) or (H, W, 3) uint8 in the rain and behind the glass."""
    rainy, falling = streaks.apply(image, rng)
    changed = cv2.absdiff(rainy, image)
    mask = ((changed if changed.ndim == 2 else changed.max(axis=2)) > STREAKED) * np.uint8(255)
    if glass is None:
        return WetFrame(rainy, mask, np.zeros(image.shape[:2], np.float32), falling)
    wet, alpha = glass.apply(rainy)
    # Residues of the blur far from any drop would lighten the darkest pixels.
    dry = alpha < DRY
    wet[dry] = rainy[dry]
    return WetFrame(wet, mask | mask_of(alpha), np.where(dry, np.float32(0), alpha), falling)
