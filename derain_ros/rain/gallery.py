"""A sheet of synthetic anomalies, with real ones beside them if there are any, for visual comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from derain_ros.rain.dirt import KINDS as DIRT
from derain_ros.rain.dirt import LensDirt
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.outlines import read_outlines
from derain_ros.rain.scene import Scene, rig
from derain_ros.rain.sequence import two_eyes
from derain_ros.rain.streaks import RainStreaks
from derain_ros.rain.style import KINDS, DropStyle

TILES = 4
"""Number of pictures in a row."""
TILE = (288, 384)
"""Height and width of a picture in pixels."""
CLEAN_FOLDERS = ("camvid/train/image", "bsds500/train", "msrs/train/visible")
"""Folders of clean photographs below the data folder, on which the anomalies are rendered."""


class GalleryError(ValueError):
    """The data folder lacks images that the gallery needs."""


def gallery(data: Path | None, seed: int, step: Callable[[int, int], None] = lambda done, total: None) -> np.ndarray:
    """The sheet, (H, W, 3) uint8 RGB; without `data` all anomalies are rendered on the project's own street.

    `data` has the layout that the README describes; its real drops are above ours, on the same scene if that is known.
    `step` is called with the number of rows done and the total. The same seed gives the same sheet.
    """
    clean = _street(seed) if data is None else [p for k in CLEAN_FOLDERS for p in _sample(data / k, TILES, seed)]
    rows, total = [], len(KINDS) + len(DIRT) + 3 + (4 if data is not None else 0)
    for label, pictures in _rows(clean, data, seed):
        rows.append(_row(label, pictures))
        step(len(rows), total)
    return np.vstack(rows)


def images_per_second(kind: str, channels: int, seconds: float = 2.0) -> float:
    """Images a second on one core: 720x540, 1 or 3 `channels`, each with newly drawn drops or dirt of a `kind`.

    The measurement takes about `seconds` of processor time.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        noise = np.random.default_rng(0).integers(0, 256, (54, 72, channels), dtype=np.uint8)
        image = cv2.resize(noise, (720, 540), interpolation=cv2.INTER_CUBIC)
        count, begin = 0, time.process_time()
        while count < 3 or time.process_time() - begin < seconds:
            rng = np.random.default_rng(count)
            if kind in DIRT:
                LensDirt(540, 720, rng, float(rng.uniform(0.02, 0.5)), kind).apply(image)
            else:
                LensDrops(540, 720, rng, None, DropStyle.draw(rng, kind)).apply(image)
            count += 1
        return count / (time.process_time() - begin)
    finally:
        cv2.setNumThreads(threads)


def _rows(clean: list[np.ndarray], data: Path | None, seed: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The label and the pictures of each row."""
    rng = np.random.default_rng(seed)

    def wet(
        style: Callable[[], DropStyle],
        pictures: list[np.ndarray],
        outlines: list[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        return [LensDrops(p.shape[0], p.shape[1], rng, None, style(), outlines).apply(p)[0] for p in pictures]

    def scenes() -> list[np.ndarray]:
        return [clean[k] for k in rng.choice(len(clean), TILES, replace=False)]

    if data is not None:
        real = _sample(data / "raindrop_real/train/rain", TILES, seed)
        yield "REAL: RobotCar(R), crops", real
        yield (
            "ours: heavy, same scenes",
            wet(partial(DropStyle.draw, rng, "heavy"), _sample(data / "raindrop_real/train/clean", TILES, seed)),
        )
        yield "REAL: photographs through glass", _sample(data / "raindrop_real/inputs", TILES, seed)
    for kind in ("photograph", *(k for k in KINDS if k != "photograph")):
        yield f"ours: {kind}", wet(partial(DropStyle.draw, rng, kind), scenes())
    if data is not None:
        outlines = read_outlines(data / "droplet_masks/train", 100)
        yield "ours: few, outlines of RainyNuScenes", wet(partial(DropStyle.draw, rng, "few"), scenes(), outlines)
    yield "sharp borders, as in the reference model", wet(lambda: DropStyle.draw(rng).sharp(), scenes())
    left, right = two_eyes(*TILE, seed, 0.04)
    scene = cv2.resize(clean[0], TILE[::-1], interpolation=cv2.INTER_AREA)
    yield (
        "sequence: left at 0, 5 and 20 s, right at 20 s",
        [*(left.apply(scene, t)[0] for t in (0.0, 5.0, 20.0)), right.apply(scene, 20.0)[0]],
    )
    for kind in DIRT:
        yield (
            kind,
            [LensDirt(p.shape[0], p.shape[1], rng, float(rng.uniform(0.03, 0.25)), kind).apply(p)[0] for p in scenes()],
        )
    yield (
        "falling rain",
        [RainStreaks(p.shape[0], p.shape[1], rng, float(rng.uniform(0.2, 1.0))).apply(p)[0] for p in scenes()],
    )


def _street(seed: int) -> list[np.ndarray]:
    """Images (H, W, 3) uint8 of the project's own street at several times."""
    scene, camera = Scene(seed), rig(2 * TILE[1], 2 * TILE[0])["left"]
    return [cv2.cvtColor(scene.render(camera, 3.0 * k)[0], cv2.COLOR_GRAY2RGB) for k in range(TILES)]


def _sample(folder: Path, count: int, seed: int) -> list[np.ndarray]:
    """`count` random images of a folder, (H, W, 3) uint8 RGB; the same indices in folders with equally many files."""
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(files) < count:
        raise GalleryError(
            f"{folder}: {count} images are needed here, found {len(files)}; the README says how the "
            "data folder is laid out; without --data the gallery needs none"
        )
    images = []
    for k in np.random.default_rng(seed).choice(len(files), count, replace=False):
        image = cv2.imread(str(files[k]), cv2.IMREAD_COLOR)
        if image is None:
            raise GalleryError(f"{files[k]}: cannot be read as an image")
        images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return images


def _row(label: str, pictures: list[np.ndarray]) -> np.ndarray:
    """The pictures side by side, scaled and cropped to TILE, below their label."""
    tall, wide = TILE
    tiles = []
    for picture in pictures:
        scale = max(tall / picture.shape[0], wide / picture.shape[1])
        size = (max(wide, round(scale * picture.shape[1])), max(tall, round(scale * picture.shape[0])))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        top, left = (size[1] - tall) // 2, (size[0] - wide) // 2
        tiles.append(picture[top : top + tall, left : left + wide])
    title = np.full((26, wide * len(tiles), 3), 255, np.uint8)
    cv2.putText(title, label, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([title, np.hstack(tiles)])
