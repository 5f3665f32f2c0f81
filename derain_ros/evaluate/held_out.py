"""Held-out images, by kind: real pairs, photographs with synthetic drops or rain, and the clean photographs alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from derain_ros.data.layouts import pairs
from derain_ros.data.samples import STREAKED, image_files, rain_on, random_crop, read_rgb
from derain_ros.data.splits import VALIDATION_FOLDERS
from derain_ros.evaluate.restoration import EvaluationError, EvaluationPair, luminance
from derain_ros.rain.drops import OCCLUDED, LensDrops, mask_of
from derain_ros.rain.style import DropStyle

NIGHTS = "llvip/train/visible"
"""Folder of photographs taken by night below the data folder."""
SIDE = 256
"""Side in pixels of the crops behind synthetic drops."""
KINDS = {
    "real": "real pairs; true mask: where wet and clean image, both smoothed, differ by more than 20 of 255",
    "synthetic": "crops of photographs behind drops of our own, which cover 3 to 65 %; true mask: alpha above "
    f"{OCCLUDED:g}",
    "focused": "whole photographs behind many small drops of our own in fair focus, as on hand-held pictures (after "
    "Qian et al.), which cover 4 to 25 %, a kind that training draws, too; true mask: alpha above "
    f"{OCCLUDED:g}",
    "pane": "the same behind drops up to two and a half times as large, as on a pane nearer to the camera",
    "real_rain": "pairs of rain, in RoadScene-rain with streaks that its authors laid over road scenes; true "
    f"mask: where the luminance of wet and clean image differs by more than {STREAKED} of 255",
    "streak": "whole photographs in falling rain of our own; true mask: likewise",
    "night_rain": "whole photographs made night, in rain of our own, against the same night without rain; true mask: "
    "likewise",
    "by_night": "photographs taken by night (LLVIP, which no restorer trains on), in night rain of our own, against "
    "the same without rain; true mask: likewise",
    "clean": "photographs alone, which should come back as they are",
}
"""Description of each kind of image; a name ending in `_grey` is the same kind in grey, for a colour model."""


def held_out(
    data: Path, channels: int, split: str = "test", count: int = 40, anomaly: str = "drops"
) -> dict[str, list[EvaluationPair]]:
    """The sets of `KINDS` that the folder `data` gives, for a model of `channels`: RGB, or luminance for one channel.

    They are those of `anomaly`, one of ANOMALIES, and the clean photographs. Pairs are the part `split` of any layout
    that training reads. Kinds made of photographs have at most `count` images each, the same each time. EvaluationError
    if there are no images.
    """
    rain = anomaly == "rain"
    read = [(path.name, path.read()) for path in pairs(data, split, anomaly)]
    sets = {
        "real_rain" if rain else "real": [EvaluationPair(name, pair.wet, pair.clean, pair.mask) for name, pair in read]
    }
    files = [path for name in VALIDATION_FOLDERS if (data / name).is_dir() for path in _spread(data / name, count // 2)]
    if files:
        made = (
            {"streak": _in_rain(files, night=False), "night_rain": _in_rain(files, night=True)}
            if rain
            else {
                "synthetic": _synthetic(files),
                "focused": _focused(files, 978, 1.0),
                "pane": _focused(files, 981, 2.5),
            }
        )
        if rain and (data / NIGHTS).is_dir():
            made["by_night"] = _in_rain(_spread(data / NIGHTS, count), night=True)
        sets |= {kind: list(chosen) for kind, chosen in made.items()}
        sets["clean"] = [EvaluationPair(path.stem, image, image) for path, image in ((p, read_rgb(p)) for p in files)]
    sets = {kind: chosen for kind, chosen in sets.items() if chosen}
    if not sets:
        raise EvaluationError(
            f"{data}: holds no pairs for {split}, nor photographs in {' or '.join(VALIDATION_FOLDERS)}"
        )
    grey = {kind: [_in_grey(pair) for pair in chosen] for kind, chosen in sets.items()}
    return grey if channels == 1 else sets | {f"{kind}_grey": chosen for kind, chosen in grey.items()}


def _synthetic(files: Sequence[Path]) -> Iterator[EvaluationPair]:
    rng = np.random.default_rng(977)
    for path in files:
        clean = random_crop(read_rgb(path), SIDE, rng)
        yield _behind(clean, path.stem, LensDrops(SIDE, SIDE, rng, float(rng.uniform(0.03, 0.65))))


def _focused(files: Sequence[Path], seed: int, larger: float) -> Iterator[EvaluationPair]:
    """Photographs behind fairly sharp drops, which are enlarged by a random factor of up to `larger`."""
    rng = np.random.default_rng(seed)
    for path in files:
        clean = read_rgb(path)
        height, width = clean.shape[:2]
        style = DropStyle.draw(rng, "photograph")
        if larger > 1:
            style = style.larger(float(rng.uniform(1, larger)))
        yield _behind(clean, path.stem, LensDrops(height, width, rng, style=style))


def _in_rain(files: Sequence[Path], night: bool) -> Iterator[EvaluationPair]:
    rng = np.random.default_rng(980 if night else 979)
    for path in files:
        pair = rain_on(read_rgb(path), night, rng)
        yield EvaluationPair(path.stem, pair.wet, pair.clean, pair.mask)


def _behind(clean: np.ndarray, name: str, glass: LensDrops) -> EvaluationPair:
    wet, alpha = glass.apply(clean)
    return EvaluationPair(name, wet, clean, mask_of(alpha))


def _in_grey(pair: EvaluationPair) -> EvaluationPair:
    return replace(pair, wet=luminance(pair.wet), clean=luminance(pair.clean))


def _spread(folder: Path, count: int) -> list[Path]:
    """At most `count` images of a folder, evenly spaced in order of name."""
    files = image_files(folder)
    return files[:: max(1, -(-len(files) // count))]
