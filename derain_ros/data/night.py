"""Triplets for paper 3: a rainy, a clean and an infrared image of the same view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from derain_ros.data.layouts import pairs
from derain_ros.data.pictures import read_grey
from derain_ros.data.samples import DataError, image_files, read_rgb

INFRARED = "infrared"
"""Name of the folder of infrared images, beside the folders of the rainy and the clean images."""


class Triplet(NamedTuple):
    """Images of one view: `wet` and `clean` (H, W, 3) RGB, `infrared` (H, W), all uint8."""

    wet: np.ndarray
    clean: np.ndarray
    infrared: np.ndarray


@dataclass(frozen=True)
class TripletPath:
    """Files of a triplet."""

    name: str
    wet: Path
    clean: Path
    infrared: Path

    def read(self) -> Triplet:
        """The images; DataError if one cannot be read or they differ in size."""
        triplet = Triplet(read_rgb(self.wet), read_rgb(self.clean), read_grey(self.infrared))
        sizes = {image.shape[:2] for image in triplet}
        if len(sizes) > 1:
            raise DataError(f"{self.wet}, {self.clean} and {self.infrared} differ in size: {sizes}")
        return triplet


def triplets(data: Path, split: str) -> list[TripletPath]:
    """The triplets of one of `splits.PAIR_SPLITS` below the data folder: pairs of rain with `infrared` beside them.

    DataError if there are none, or a pair has no infrared image.
    """
    found = pairs(data, split, "rain")
    folder = found[0].clean.parent.parent / INFRARED if found else data
    if not found or not folder.is_dir():
        raise DataError(
            f"{data}: holds no triplets for {split}; they lie in roadscene_rain/train/rain, clean and "
            f"{INFRARED}, under equal names"
        )
    there = {path.stem: path for path in image_files(folder)}
    lacking = [pair.name for pair in found if pair.clean.stem not in there]
    if lacking:
        raise DataError(f"{folder}: lacks the infrared image of {lacking[0]}")
    return [TripletPath(pair.name, pair.wet, pair.clean, there[pair.clean.stem]) for pair in found]


def draw_crop(files: Sequence[TripletPath], size: int, rng: np.random.Generator) -> Triplet:
    """A random square of `size` pixels of one triplet, mirrored half of the time; DataError if an image is smaller."""
    path = files[int(rng.integers(len(files)))]
    triplet = path.read()
    height, width = triplet.infrared.shape
    if min(height, width) < size:
        raise DataError(f"{path.wet}: {width}x{height} pixels are fewer than the crop of {size}; take a smaller `crop`")
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    step = -1 if rng.random() < 0.5 else 1
    return Triplet(*(np.ascontiguousarray(image[y : y + size, x : x + size][:, ::step]) for image in triplet))
