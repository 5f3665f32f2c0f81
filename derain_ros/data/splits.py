"""Every held-out rule: for the project's data folder, for published data sets, and for the user's own pictures.

Pairs are split into `train`, `validation` and `test`; `validation` is for monitoring a training, and `test_b` is the
second, harder test set of Qian et al. The pictures of the detector and the fuser are split into `train`, `calibration`
and `evaluation`; `calibration` is for monitoring a training and for calibrating probabilities. Labelled street scenes
are split into `train`, `validation` and `test`.

Neighbours in time or in number often show the same place, so the rules hold out runs, whole frames or whole drives.
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
"""Whole frames of `raindrop_real` that no training sees; they are cut into crops named after their frame. Restorers
are validated and tested on them, and detectors are evaluated on them."""
CALIBRATION_FRAMES = ("5600_", "9600_")
"""Whole frames of `raindrop_real` on which detectors are calibrated."""

ABLATION_FRAMES = ("800_", "5600_", "10400_")
"""Whole frames of `raindrop_real` for early stopping in the trainings of paper 1's tables; the tables are evaluated on
HELD_OUT_FRAMES."""

VALIDATION_FOLDERS = ("bsds500/val", "camvid/val/image")
"""Folders of clean photographs below the data folder that no restorer's training sees."""

SCENES, UNSEEN_SCENES = range(1000, 1012), range(2000, 2003)
"""Seeds of the procedural worlds on which the temporal filter is trained, and of those on which it is validated."""

RUN = 5
"""Number of neighbours in a folder that go to one split together."""
EVERY = 12
"""One in this many scenes or photographs is held out if a layout has no splits of its own."""
SAME_DRIVE = 20
"""Photographs of dirt whose numbers differ by less than this belong to one drive."""
HELD_OUT_FROTH = ("F1_1_2_", "F1_1_4_")
"""File name prefixes, by plant cell, of the froth that is held out for evaluation."""
ONE_PLACE = ("llvip",)
"""Sources that show one place only, and are therefore used for training only."""

Item = TypeVar("Item")


def frame_split(name: str) -> str:
    """The picture split of a crop of `raindrop_real`, by its name."""
    if name.startswith(HELD_OUT_FRAMES):
        return "evaluation"
    return "calibration" if name.startswith(CALIBRATION_FRAMES) else "train"


def run_split(files: Sequence[Item], split: str, own_evaluation: bool = True) -> list[Item]:
    """The files of a folder that belong to a picture split; `files` are in order.

    Files are split in runs of neighbours: every ninth run is for evaluation, the fourth after it for calibration.
    Without `own_evaluation`, evaluation has another folder, and its runs are for training.
    """
    run = max(1, min(RUN, len(files) // 18))
    goes_to = {0: "evaluation" if own_evaluation else "train", 4: "calibration"}
    return [item for i, item in enumerate(files) if goes_to.get(i // run % 9, "train") == split]


def rain_split(pairs: Sequence[Item], split: str) -> list[Item]:
    """The pairs of `roadscene_rain` that belong to a pair split; `pairs` are in order.

    The runs are the same as for the detector's pictures.
    """
    same = {"validation": "calibration", "test": "evaluation"}
    return [] if split == "test_b" else run_split(pairs, same.get(split, split))


def every_split(pairs: Sequence[Item], split: str, scene: Callable[[Item], Hashable]) -> list[Item]:
    """The pairs that belong to a pair split, for a set without splits.

    Every EVERY-th `scene`, with all of its pairs, is for both validation and test.
    """
    if split == "test_b":
        return []
    held_out = set(list(dict.fromkeys(map(scene, pairs)))[::EVERY])
    return [pair for pair in pairs if (scene(pair) in held_out) == (split != "train")]


def time_split(pairs: Sequence[Item], split: str) -> list[Item]:
    """The pairs that belong to a pair split, by time: the last tenth is for test, the tenth before for validation."""
    tenth = -(-len(pairs) // 10)
    parts = {"train": pairs[: -2 * tenth], "validation": pairs[-2 * tenth : -tenth], "test": pairs[-tenth:]}
    return list(parts.get(split, []))


def scene_split(scenes: Sequence[Item], split: str, drive: Callable[[Item], Hashable]) -> list[Item]:
    """The labelled scenes that belong to a scene split; `scenes` are the set's own part `train` or `val`, in order.

    The split `train` has its whole part. Of the part `val` the first half is for validation, the second for test. The
    cut is at the beginning of a `drive`: the one nearest to the middle, if it is in the middle half. Otherwise the cut
    is in the middle, and the scenes just before it (a tenth, at most RUN) go to neither, as they show the same place as
    those after it.
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
    """The photographs of real dirt that belong to a picture split.

    Every second drive is held out for evaluation, as neighbours show the same dirt; none is for calibration. DataError
    if a name does not begin with a number.
    """
    if split == "calibration":
        return []
    return [path for i, drive in enumerate(drives(photographs)) for path in drive if i % 2 == (split == "evaluation")]


def froth_split(files: Sequence[Path], split: str) -> list[Path]:
    """The pictures of froth that belong to a picture split; none is for calibration."""
    if split == "calibration":
        return []
    return [path for path in files if path.name.startswith(HELD_OUT_FROTH) == (split == "evaluation")]


def drives(photographs: Sequence[Path]) -> list[list[Path]]:
    """The photographs of real dirt, grouped by drive, see SAME_DRIVE; names must begin with a number."""
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
