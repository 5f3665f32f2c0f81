"""The pictures on which the detector is trained, calibrated and evaluated."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from derain_ros.data.samples import DataError, image_files
from derain_ros.data.splits import drive_split, frame_split, froth_split, run_split
from derain_ros.nets.detector import CLASSES
from derain_ros.rain.outlines import read_outlines

NIGHT = {24, 25, 26, *range(65, 84), *range(103, 140), *range(145, 181)}
"""Numbers of the road scenes taken at night, judged by eye."""

FOLDERS = (
    "raindrop_real/train/rain",
    "raindrop_real/train/clean",
    "roadscene_rain/train/rain",
    "roadscene_rain/train/clean",
    "msrs/train/visible",
)
"""Folders below the data folder of which every split takes a part."""
SOILING = ("soiling/woodscape/image", "soiling/woodscape/mask", "soiling/froth_clean")
"""Folders of photographs through dirty lenses, of masks of the dirt, and of clean views of froth, which looks like
drops."""
OWN_FOLDERS = {
    "train": ("camvid/train/image", "bsds500/train", "droplet_masks/train", "llvip/train/visible", *SOILING),
    "calibration": ("camvid/train/image", "bsds500/train", "droplet_masks/train"),
    "evaluation": ("camvid/val/image", "bsds500/val", "droplet_masks/val", *SOILING),
}
"""The other folders of each split."""

FEWEST = 9
"""Smallest number of the user's own clean pictures. A class with fewer pictures is only trained on, not evaluated."""
LARGEST = 1600
"""Largest longer side, in pixels, of a picture kept in memory; the detector sees a quarter of them."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of one split.

    `clean`: paths by source. `drops` and `streaks`: pairs (affected, clean). `outlines`: of real drops, as
    `read_outlines` gives them. `labelled`: paths by class of the detector. `soil`: photographs of real dirt, as pairs
    (photograph, mask).
    """

    clean: dict[str, list[Path]]
    drops: list[tuple[Path, Path]]
    streaks: list[tuple[Path, Path]]
    outlines: list[np.ndarray]
    labelled: dict[str, list[Path]] = field(default_factory=dict)
    soil: list[tuple[Path, Path]] = field(default_factory=list)

    def described(self) -> list[str]:
        """Lines for the user: how many pictures there are of each kind."""
        given: list[tuple[str, Sized]] = [
            *((f"clean pictures of {source}", paths) for source, paths in self.clean.items()),
            *((f"pictures in {kind}", paths) for kind, paths in self.labelled.items()),
            ("pairs of real drops", self.drops),
            ("pairs of rain", self.streaks),
            ("outlines", self.outlines),
            ("photographs of real dirt", self.soil),
        ]
        return [f"{len(paths)} {what}" for what, paths in given if len(paths)]


def find_pictures(data: Path, split: str) -> Pictures:
    """The pictures of one of `splits.PICTURE_SPLITS` below the data folder; DataError names missing or empty folders.

    Evaluation has the validation folders of CamVid and BSDS500, and its part of the other folders, see `splits`.

    The user's own pictures lie in folders named after the detector's classes; only `clean` is required. In each folder
    every ninth run is for evaluation, another one for calibration. A class with fewer than FEWEST is for training only.
    """
    if (data / CLASSES[0]).is_dir():
        return _own_pictures(data, split)
    missing = [folder for folder in (*FOLDERS, *OWN_FOLDERS[split]) if not (data / folder).is_dir()]
    if missing:
        raise DataError(
            f"{data}: of the detector's pictures for {split} these folders are not there: "
            f"{', '.join(missing)}; docs/training.md says what each holds. Pictures of your own go into a folder "
            f"{CLASSES[0]}, and into others called {', '.join(CLASSES[1:])}"
        )

    def runs(folder: str, own_evaluation: bool = True) -> list[Path]:
        return run_split(image_files(data / folder), split, own_evaluation)

    def split_folder(folder: str) -> list[Path]:
        if split == "evaluation":
            return image_files(data / folder.format("val"))
        return runs(folder.format("train"), own_evaluation=False)

    real = [p for p in image_files(data / "raindrop_real/train/rain") if frame_split(p.name) == split]
    drops = [(p, data / "raindrop_real/train/clean" / p.name) for p in real]
    streaks = [(p, data / "roadscene_rain/train/clean" / p.name) for p in runs("roadscene_rain/train/rain")]
    clean = {
        "camvid": split_folder("camvid/{}/image"),
        "bsds500": split_folder("bsds500/{}"),
        "msrs": runs("msrs/train/visible"),
        "roadscene": [c for _, c in streaks],
        "real": [c for _, c in drops],
    }
    if split == "train":
        clean["llvip"] = image_files(data / "llvip/train/visible")
    soil: list[tuple[Path, Path]] = []
    if split != "calibration":
        photographs, masks, froth = (data / folder for folder in SOILING)
        soil = [(p, masks / f"{p.stem}.png") for p in drive_split(image_files(photographs), split)]
        clean["froth"] = froth_split(image_files(froth), split)
    outlines = read_outlines(data / f"droplet_masks/{'val' if split == 'evaluation' else 'train'}", most=400)
    if split != "evaluation":
        outlines = outlines[0::2] if split == "train" else outlines[1::2]
    return Pictures(clean, drops, streaks, outlines, soil=soil)


def _own_pictures(data: Path, split: str) -> Pictures:
    """The pictures in folders named after classes; DataError for a folder of another name or too few clean pictures."""
    folders = {path.name: path for path in sorted(data.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    other = [name for name in folders if name not in CLASSES]
    if other:
        raise DataError(
            f"{data}: {', '.join(other)}: the folders beside {CLASSES[0]} are to be called "
            f"{', '.join(CLASSES[1:])}, by what is wrong with the pictures in them"
        )
    files = {name: image_files(path) for name, path in folders.items() if name == CLASSES[0] or any(path.iterdir())}
    if len(files[CLASSES[0]]) < FEWEST:
        raise DataError(
            f"{folders[CLASSES[0]]}: holds {len(files[CLASSES[0]])} pictures, {FEWEST} are needed at the "
            "least: some are kept for calibration and for evaluation"
        )
    parts = {
        name: run_split(paths, split) if len(paths) >= FEWEST else paths * (split == "train")
        for name, paths in files.items()
    }
    return Pictures({"own": parts.pop(CLASSES[0])}, [], [], [], {name: paths for name, paths in parts.items() if paths})


def is_night(path: Path) -> bool:
    """Whether a picture of the road scenes was taken at night."""
    return path.stem.isdigit() and int(path.stem) in NIGHT


@lru_cache(maxsize=2048)
def read_grey(path: Path) -> np.ndarray:
    """The picture at `path`, grey (H, W) uint8, at most LARGEST pixels along each side, cached in memory.

    DataError if it cannot be read.
    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DataError(f"{path}: cannot be read as an image")
    scale = LARGEST / max(image.shape)
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
