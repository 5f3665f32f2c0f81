"""Every rule of what is held out: of the project's data folder, of published data sets, and of one's own pictures.

Pairs are split into `train`, `validation`, on which a training is watched, and `test`; `test_b` is the second, harder
test set of Qian et al. The detector's and the fuser's pictures are split into `train`, `calibration`, on which a
training is watched and probabilities are calibrated, and `evaluation`. Labelled street scenes are split into `train`,
`validation` and `test`.

Neighbours, in time or in number, often show the same place: rules hold out runs of them, whole frames or whole drives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TypeVar

from derain_ros.data.samples import DataError

PAIR_SPLITS = ("train", "validation", "test", "test_b")
PICTURE_SPLITS = ("train", "calibration", "evaluation")
SCENE_SPLITS = ("train", "validation", "test")

HELD_OUT_FRAMES = ("2400_", "7200_", "12000_")
"""Whole frames of `raindrop_real`, cut into crops named by their frame, that no training sees: they are both what
restorers validate and are tested on, and what detectors are evaluated on."""
CALIBRATION_FRAMES = ("5600_", "9600_")
"""Whole frames of `raindrop_real` that detectors are calibrated on."""

ABLATION_FRAMES = ("800_", "5600_", "10400_")
"""Whole frames of `raindrop_real` on which the trainings of paper 1's tables stop early: the tables are made on
HELD_OUT_FRAMES."""

VALIDATION_FOLDERS = ("bsds500/val", "camvid/val/image")
"""Folders of clean photographs below the data folder that no restorer's training sees."""

SCENES, UNSEEN_SCENES = range(1000, 1012), range(2000, 2003)
"""Seeds of procedural worlds that the temporal filter is trained and validated on."""

RUN = 5
"""Neighbours of a folder that go to one split together."""
EVERY = 12
"""Each so manieth pair, or photograph, is held out where a layout has no parts of its own."""
SAME_DRIVE = 20
"""Photographs of dirt whose numbers are nearer to each other than this are of one drive."""
HELD_OUT_FROTH = ("F1_1_2_", "F1_1_4_")
"""Beginnings of the names of the froth, by plant cell, that is held out for evaluation."""
ONE_PLACE = ("llvip",)
"""Sources that show one place only: for training alone."""

Item = TypeVar("Item")


def frame_split(name: str) -> str:
    """The picture split of a crop of `raindrop_real`, by its name."""
    if name.startswith(HELD_OUT_FRAMES):
        return "evaluation"
    return "calibration" if name.startswith(CALIBRATION_FRAMES) else "train"


def run_split(files: Sequence[Item], split: str, own_evaluation: bool = True) -> list[Item]:
    """Of a folder's files in order, the runs of neighbours that go to a picture split: every ninth run is for
    evaluation, the fourth after it for calibration.

    Without `own_evaluation`, where evaluation has another folder, training has those runs, too.
    """
    run = max(1, min(RUN, len(files) // 18))
    goes_to = {0: "evaluation" if own_evaluation else "train", 4: "calibration"}
    return [item for i, item in enumerate(files) if goes_to.get(i // run % 9, "train") == split]


def rain_split(pairs: Sequence[Item], split: str) -> list[Item]:
    """The pairs of `roadscene_rain`, in order, of a pair split: the same runs as of the detector's pictures."""
    same = {"validation": "calibration", "test": "evaluation"}
    return [] if split == "test_b" else run_split(pairs, same.get(split, split))


def every_split(pairs: Sequence[Item], split: str, scene: Callable[[Item], Hashable]) -> list[Item]:
    """Of pairs that are not divided, those of a pair split: each EVERY-th `scene` validates and is tested on, with all
    of its pairs."""
    if split == "test_b":
        return []
    held_out = set(list(dict.fromkeys(map(scene, pairs)))[::EVERY])
    return [pair for pair in pairs if (scene(pair) in held_out) == (split != "train")]


def time_split(pairs: Sequence[Item], split: str) -> list[Item]:
    """Of pairs in order of time, those of a pair split: the last tenth is for testing, the one before it validates."""
    tenth = -(-len(pairs) // 10)
    parts = {"train": pairs[: -2 * tenth], "validation": pairs[-2 * tenth : -tenth], "test": pairs[-tenth:]}
    return list(parts.get(split, []))


def scene_split(scenes: Sequence[Item], split: str, drive: Callable[[Item], Hashable]) -> list[Item]:
    """Of the labelled scenes of a set's own part, `train` or `val`, in order: those of a scene split.

    `train` has its part whole. Of the part `val` the first half validates, the second is for testing. The cut is where
    another `drive` begins, the place nearest to the middle if there is one in the middle half; within a drive it is in
    the middle, and the scenes just before it, a tenth or RUN at the most, go to neither: they show what those after do.
    """
    if split == "train":
        return list(scenes)
    drives_of, middle = [drive(scene) for scene in scenes], len(scenes) // 2
    begins = [i for i in range(1, len(scenes)) if drives_of[i] != drives_of[i - 1]]
    cut = min(begins, key=lambda i: abs(i - middle), default=0)
    if abs(cut - middle) <= len(scenes) / 4 and cut:
        return list(scenes[:cut] if split == "validation" else scenes[cut:])
    return list(scenes[: middle - min(RUN, len(scenes) // 10)] if split == "validation" else scenes[middle:])


def drive_split(photographs: Sequence[Path], split: str) -> list[Path]:
    """The photographs of real dirt of a picture split: every second drive is held out for evaluation, as neighbours
    show the same dirt; none is for calibration. DataError where a name does not begin with a number."""
    if split == "calibration":
        return []
    return [path for i, drive in enumerate(drives(photographs)) for path in drive if i % 2 == (split == "evaluation")]


def froth_split(files: Sequence[Path], split: str) -> list[Path]:
    """The pictures of froth of a picture split; none is for calibration."""
    if split == "calibration":
        return []
    return [path for path in files if path.name.startswith(HELD_OUT_FROTH) == (split == "evaluation")]


def drives(photographs: Sequence[Path]) -> list[list[Path]]:
    """The photographs of real dirt by drive, see SAME_DRIVE; their names begin with their numbers."""
    found: list[list[Path]] = []
    for path in sorted(photographs):
        if found and _number(path) - _number(found[-1][-1]) < SAME_DRIVE:
            found[-1].append(path)
        else:
            found.append([path])
    return found


def _number(path: Path) -> int:
    number = path.stem.split("_")[0]
    if not number.isdigit():
        raise DataError(f"{path}: the names of photographs of dirt are to begin with a number, which tells their drive")
    return int(number)
