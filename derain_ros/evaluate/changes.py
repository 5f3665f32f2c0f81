"""Restored video while the drops change or the view jumps: what a temporal filter loses and gains there.

In the other tables the drops are there from the first frame on and stay. Here they land, grow, run, merge and dry; or
they stay, and the view changes completely from one frame to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from derain_ros.engine import Engine
from derain_ros.evaluate.restoration import EvaluationError, read
from derain_ros.evaluate.sequence import COVERED, Video, joined
from derain_ros.rain.drops import LensDrops, draw_protos, scatter
from derain_ros.rain.scene import Scene, rig
from derain_ros.rain.sequence import GROWTH, WetSequence
from derain_ros.rain.shapes import Drops
from derain_ros.rain.style import DropStyle
from derain_ros.runtime.stages.restore import restore_image

CASES = {
    "land": "drops land on a dry glass between one third and two thirds of the sequence, at full size",
    "grow": "drops grow from nothing to full size",
    "run": "the larger drops run down and leave trails",
    "merge": "pairs of drops move together between one third and two thirds of the sequence, and merge",
    "dry": "drops vanish between one third and two thirds of the sequence",
    "cut": "drops stay; the video changes in the middle",
    "stills": "drops stay; each frame shows another view",
    "standing": "drops land as above while the camera stands: the clean frame is always the same",
}
"""What changes in each case."""
DROPS = ("heavy", "photograph")
"""The kinds of drops from `rain.style.KINDS` that change: large soft ones, and small ones that are fairly sharp."""
COVERAGE = 0.2
"""Share of the glass that all drops of a case cover together."""
WINDOW = 5
"""Frames per window; the figures of the worst window are reported."""
LEAST = 0.001
"""Share of a window's pixels that must be covered for figures within the drops."""
ELSEWHERE = 8
"""Seed of the second scene, which other videos and views show."""
APART = 9.0
"""Seconds of the drive between two views that have nothing in common."""


@dataclass(frozen=True)
class ChangeCase:
    """A video behind drops: `clean` and `wet` frames, (H, W) uint8 grey, and where each is `covered`, (H, W) bool.

    `rate` is in frames per second.
    """

    name: str
    sequence: str
    drops: str
    clean: Sequence[np.ndarray]
    wet: Sequence[np.ndarray]
    covered: Sequence[np.ndarray]
    rate: float


@dataclass(frozen=True)
class ChangeFigures:
    """PSNR in dB over all pixels and within the drops, and recall of the mask.

    Each has two values: over all frames, and in the worst window of WINDOW frames. NaN if nothing is covered. Recall is
    the share of pixels with an alpha of at least COVERED in the frame itself that are in the mask.
    """

    psnr: tuple[float, float]
    within: tuple[float, float]
    recall: tuple[float, float]


@dataclass(frozen=True)
class ChangeRow:
    """The figures of one case: of the restorer `alone`, and with the temporal filter in `joined` if there is one."""

    case: str
    sequence: str
    drops: str
    model: str
    alone: ChangeFigures
    joined: ChangeFigures | None


def cases(video: Video, drops: str, photographs: Path | None = None, seed: int = 7) -> Iterator[ChangeCase]:
    """Every case of CASES over the clean `video`, behind drops of the kind `drops`.

    The stills are the images in the folder `photographs`, or else distant views of the procedural drive.
    EvaluationError if the folder has fewer than two.
    """
    height, width = video.frames[0].shape
    count, half = len(video.frames), len(video.frames) // 2
    clean = {
        "cut": [*video.frames[:half], *_views(count - half, width, height, 1 / video.rate)],
        "stills": (
            _views(count, width, height, APART) if photographs is None else _stills(photographs, count, width, height)
        ),
        "standing": [video.frames[0]] * count,
    }
    for name, glass in _glasses(height, width, drops, count / video.rate, np.random.default_rng(seed)).items():
        frames = clean.get(name, video.frames)
        seen = [glass(n / count).apply(frame) for n, frame in enumerate(frames)]
        yield ChangeCase(
            name,
            video.name,
            drops,
            frames,
            [wet for wet, _ in seen],
            [alpha >= COVERED for _, alpha in seen],
            video.rate,
        )


def _glasses(
    height: int, width: int, kind: str, seconds: float, rng: np.random.Generator
) -> dict[str, Callable[[float], LensDrops]]:
    """For each case a function that gives the glass at a share, in [0, 1), of the video's `seconds`."""
    # A film of water would be visible before the drops are there.
    style = replace(DropStyle.draw(rng, kind), film=0.0, running=0.0)
    protos = draw_protos(rng, None)
    drops = scatter(height, width, rng, COVERAGE, style, protos)
    when = rng.uniform(1 / 3, 2 / 3, len(drops))
    half = drops.chosen(np.arange(len(drops)) % 2 == 0)
    aside = 1.2 * half.radius
    lens = int(rng.integers(2**31))
    running = WetSequence(height, width, rng, COVERAGE, 0.0, seconds, replace(style, running=1.0))

    def glass(there: Drops, moving: bool = False) -> LensDrops:
        return LensDrops.of(
            height, width, style, there, protos, np.random.default_rng(lens), np.full(len(there), moving)
        )

    def grown(share: float) -> LensDrops:
        return glass(replace(drops, radius=drops.radius * np.cbrt(share)), moving=True)

    def merged(share: float) -> LensDrops:
        near = min(1.0, max(0.0, 3 * share - 1))
        # At the end each has the volume of both: two drops at one place are drawn as one.
        one, other = (
            replace(half, x=half.x + way * (1 - near), radius=half.radius * (1 + near) ** (1 / 3))
            for way in (-aside, aside)
        )
        return glass(one + other, moving=True)

    stay = glass(drops)

    def landed(share: float) -> LensDrops:
        return glass(drops.chosen(when <= share))

    return {
        "land": landed,
        "grow": grown,
        "run": lambda share: running.glass(GROWTH + share * seconds),
        "merge": merged,
        "dry": lambda share: glass(drops.chosen(when > share)),
        "cut": lambda share: stay,
        "stills": lambda share: stay,
        "standing": landed,
    }


def _views(count: int, width: int, height: int, apart: float) -> list[np.ndarray]:
    """`count` frames of a drive through the second scene, `apart` seconds apart."""
    camera = rig(width, height)["left"]
    return [_elsewhere().render(camera, n * apart)[0] for n in range(count)]


@cache
def _elsewhere() -> Scene:
    return Scene(ELSEWHERE)


def _stills(folder: Path, count: int, width: int, height: int) -> list[np.ndarray]:
    """`count` grey photographs of a folder, in turn, scaled to this size; EvaluationError if it has fewer than two."""
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))[:count]
    if len(files) < 2:
        raise EvaluationError(f"{folder}: contains fewer than two .png or .jpg images; name a folder with more")
    images = [cv2.resize(read(path, 1), (width, height), interpolation=cv2.INTER_AREA) for path in files]
    return [images[n % len(images)] for n in range(count)]


def evaluate(engine: Engine, case: ChangeCase, temporal: Engine | None = None) -> ChangeRow:
    """The figures of a case restored frame by frame, and also with the filter `temporal` if there is one."""
    results = [restore_image(engine, frame) for frame in case.wet]
    both = None if temporal is None else measure(case, joined(temporal, case.wet, results, case.rate))
    model = engine.model.name + (f" + {temporal.model.name}" if temporal else "")
    return ChangeRow(case.name, case.sequence, case.drops, model, measure(case, results), both)


def measure(case: ChangeCase, results: Sequence[tuple[np.ndarray, np.ndarray]]) -> ChangeFigures:
    """The figures of a case from `results`, the restored image and mask, (H, W) uint8, of each frame."""
    sums = np.array([_sums(*of) for of in zip(case.clean, case.covered, *zip(*results, strict=True), strict=True)])
    error, pixels, error_within, covered, found = np.vstack([np.zeros(5), sums.cumsum(axis=0)]).T

    def figure(total: np.ndarray, count: np.ndarray, psnr: bool) -> tuple[float, float]:
        """The figure over all frames, and its least value over the windows with enough counted pixels."""
        last = np.arange(min(WINDOW, len(sums)), len(sums) + 1)
        first = last - last[0]
        known = count[last] - count[first] >= LEAST * (pixels[last] - pixels[first])
        begin, end = np.append(0, first[known]), np.append(len(sums), last[known])
        number = count[end] - count[begin]
        share = np.where(number > 0, (total[end] - total[begin]) / np.maximum(number, 1), np.nan)
        values = 10 * np.log10(255**2 / np.maximum(share, 1e-9)) if psnr else share
        return float(values[0]), float(values[1:].min()) if known.any() else math.nan

    return ChangeFigures(
        figure(error, pixels, True), figure(error_within, covered, True), figure(found, covered, False)
    )


def _sums(clean: np.ndarray, covered: np.ndarray, restored: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    """Of a frame: squared error and number of pixels; both within the drops; number of covered pixels in the mask."""
    squares = np.square(restored.astype(np.float32) - clean)
    return (
        float(squares.sum(dtype=np.float64)),
        squares.size,
        float(squares[covered].sum(dtype=np.float64)),
        int(covered.sum()),
        int((covered & (mask > 0)).sum()),
    )


def markdown(rows: Sequence[ChangeRow]) -> str:
    """A Markdown table of the figures, case by case, with an explanation."""
    lines = [
        "Drops that change, or stay before a view that leaps; they cover a fifth of the glass when all are there. "
        "PSNR in dB, over all pixels and within the drops; recall: share of the pixels that drops cover in the "
        f"frame itself, to {COVERED:.0%} at the least, that the mask holds. Over all frames; worst: in the worst "
        f"{WINDOW} frames in a row. Restorer alone → with the temporal filter (difference).",
        "",
        *(f"- {name}: {what}." for name, what in CASES.items()),
        "",
        "| case | sequence | drops | model | PSNR | worst | PSNR within | worst | recall | worst |",
        "| --- " * 10 + "|",
    ]
    for name in CASES:
        for row in (r for r in rows if r.case == name):
            cells = [
                _cell(getattr(row.alone, key)[k], getattr(row.joined, key)[k] if row.joined else None, digits)
                for key, digits in (("psnr", 1), ("within", 1), ("recall", 2))
                for k in range(2)
            ]
            lines.append(f"| {name} | {row.sequence} | {row.drops} | {row.model} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(alone: float, both: float | None, digits: int) -> str:
    if math.isnan(alone):
        return ""
    return f"{alone:.{digits}f}" + ("" if both is None else f" → {both:.{digits}f} ({both - alone:+.{digits}f})")
