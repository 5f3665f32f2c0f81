"""Labelled views for the detector: clean ones, synthetic anomalies on them, and the real ones at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from derain_ros.nets.detector import CELL, CLASSES, SIZE
from derain_ros.rain.dirt import LensDirt
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.streaks import RainStreaks
from derain_ros.train.data import HELD_OUT_FRAMES, DataError, image_files
from derain_ros.train.negatives import exposure_table, spoil_scene, spoil_signal

IGNORED = 255
"""Label of a cell that is neither surely affected nor surely not; -1 is that of such a view."""

MIX = {"clean": 0.25, "spoiled": 0.22, "raindrop": 0.24, "dirt": 0.11, "streak": 0.07, "real drops": 0.07,
       "real streaks": 0.04}
"""Share of each kind of view in training; `spoiled` is clean glass with a hard negative of `negatives`."""

SOURCES = {"camvid": 0.28, "bsds500": 0.24, "msrs": 0.18, "llvip": 0.05, "roadscene": 0.10, "real": 0.15}
"""Share of each source among the clean pictures."""


@dataclass(frozen=True)
class View:
    """One sample: grey `image` uint8 of SIZE, `label` into CLASSES or -1, `cells` uint8 of SIZE / CELL: 0, 1 or 255."""

    image: np.ndarray
    label: int
    cells: np.ndarray


@dataclass(frozen=True)
class Pictures:
    """Paths of clean pictures by source, and of pairs (affected, clean), of one half of the split."""

    clean: dict[str, list[Path]]
    drops: list[tuple[Path, Path]]
    streaks: list[tuple[Path, Path]]


def find_pictures(data: Path, validation: bool) -> Pictures:
    """The pictures below the data folder for training or for validation; DataError names a folder without any.

    CamVid and BSDS500 come split; of the others every ninth is for validation, and of the real drops whole frames are.
    """
    def split(folder: str) -> list[Path]:
        return [p for i, p in enumerate(image_files(data / folder)) if (i % 9 == 0) == validation]

    part = "val" if validation else "train"
    real = [p for p in image_files(data / "raindrop_real/train/rain")
            if p.name.startswith(HELD_OUT_FRAMES) == validation]
    drops = [(p, data / "raindrop_real/train/clean" / p.name) for p in real]
    streaks = [(p, data / "roadscene_rain/train/clean" / p.name) for p in split("roadscene_rain/train/rain")]
    clean = {"camvid": image_files(data / f"camvid/{part}/image"), "bsds500": image_files(data / f"bsds500/{part}"),
             "msrs": split("msrs/train/visible"), "llvip": split("llvip/train/visible"),
             "roadscene": [c for _, c in streaks], "real": [c for _, c in drops]}
    return Pictures(clean, drops, streaks)


def to_detector(image: np.ndarray) -> np.ndarray:
    """A grey (H, W) uint8 image at the detector's size, as the runtime resizes it."""
    return cv2.resize(image, (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)


def draw_view(pictures: Pictures, rng: np.random.Generator, kind: str | None = None) -> View:
    """One view drawn at random; `kind` is one of MIX, drawn by its shares where none is given."""
    kind = kind or str(rng.choice(list(MIX), p=list(MIX.values())))
    if kind == "real drops":
        return _finish(_pair(pictures.drops, rng), None, "raindrop", rng)
    if kind == "real streaks":
        return _finish(_pair(pictures.streaks, rng), None, "streak", rng)
    clean = _crop([_clean_picture(pictures, rng)], rng)[0]
    if kind == "spoiled" or rng.random() < 0.15:
        clean = spoil_scene(clean, rng) if rng.random() < 0.75 else clean
    if kind in ("clean", "spoiled"):
        return _finish((clean, clean), None, "clean", rng, strong=kind == "spoiled")
    height, width = clean.shape
    layer: LensDrops | LensDirt | RainStreaks
    if kind == "raindrop":
        layer = LensDrops(height, width, rng, float(np.exp(rng.uniform(np.log(0.006), np.log(0.7)))))
    elif kind == "dirt":
        layer = LensDirt(height, width, rng, float(np.exp(rng.uniform(np.log(0.02), np.log(0.6)))))
    else:
        layer = RainStreaks(height, width, rng, float(np.exp(rng.uniform(np.log(0.1), 0.0))))
    affected, alpha = layer.apply(clean)
    return _finish((affected, clean), None if kind == "streak" else alpha, kind, rng, strong=rng.random() < 0.1)


@lru_cache(maxsize=2048)
def read_grey(path: Path) -> np.ndarray:
    """The picture at `path` as (H, W) uint8, kept in memory; DataError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DataError(f"{path}: cannot be read as an image")
    return image


def _clean_picture(pictures: Pictures, rng: np.random.Generator) -> np.ndarray:
    files = pictures.clean[str(rng.choice(list(SOURCES), p=list(SOURCES.values())))]
    return read_grey(files[int(rng.integers(len(files)))])


def _pair(pairs: list[tuple[Path, Path]], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    affected, clean = _crop([read_grey(p) for p in pairs[int(rng.integers(len(pairs)))]], rng)
    return affected, clean


def _crop(images: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The same part of each image: the whole or a crop of any aspect, mirrored at times, about 300 pixels wide.

    Wide crops matter: the detector sees a frame of 1226x370 squeezed to 4:3.
    """
    height, width = images[0].shape
    tall, wide = height, width
    if rng.random() < 0.7:
        aspect = np.exp(rng.uniform(np.log(0.8), np.log(3.6)))
        tall = int(min(height, width / aspect) * rng.uniform(0.4, 1.0))
        tall = min(height, max(96, tall))
        wide = min(width, max(96, int(tall * aspect)))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    parts = [image[top : top + tall, left : left + wide] for image in images]
    if rng.random() < 0.5:
        parts = [part[:, ::-1] for part in parts]
    scale = min(1.0, rng.uniform(240, 420) / wide)
    size = (max(64, round(wide * scale)), max(64, round(tall * scale)))
    return [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts]


def _finish(pair: tuple[np.ndarray, np.ndarray], alpha: np.ndarray | None, kind: str, rng: np.random.Generator,
            strong: bool = False) -> View:
    """The view of the first of the `pair` (affected, clean) after exposure, scaling and noise.

    The truth comes from `alpha`, or where there is none from the difference of the pair.
    """
    table = exposure_table(rng, strong)
    image, other = (to_detector(table[part]) for part in pair)
    difference = cv2.absdiff(image, other).astype(np.float32)
    if kind == "clean":
        cells = np.zeros((SIZE[0] // CELL, SIZE[1] // CELL), np.uint8)
        return View(spoil_signal(image, rng, strong), 0, cells)
    rules: dict[str, Callable[[], tuple[np.ndarray, float, float]]] = {
        # The share of each cell, and the shares under which it is clean and over which it is affected.
        "streak": lambda: (cv2.blur(_per_cell((difference > 5).astype(np.float32)), (3, 3)), 0.02, 0.10),
        # A pair of real lenses is a pixel apart and in different focus: only differences over whole cells count.
        "raindrop": lambda: (cv2.blur(difference, (CELL, CELL))[CELL // 2 :: CELL, CELL // 2 :: CELL], 6.0, 16.0),
    }
    if alpha is not None:
        share, low, high = _per_cell(to_detector(alpha)), 0.05, 0.20
        visible = np.mean(to_detector(alpha) > 0.3) > 0.005 and np.mean(difference > 16) > 0.006
    else:
        share, low, high = rules[kind]()
        visible = np.mean(difference > 8) > 0.02
    cells = np.where(share > high, 1, np.where(share < low, 0, IGNORED)).astype(np.uint8)
    return View(spoil_signal(image, rng, strong), CLASSES.index(kind) if visible else -1, cells)


def _per_cell(share: np.ndarray) -> np.ndarray:
    return cv2.resize(share, (SIZE[1] // CELL, SIZE[0] // CELL), interpolation=cv2.INTER_AREA)
