"""What is held out: nothing that is evaluated can be trained on, in every layout that is recognised."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_fusion import write_pairs
from tiny_pictures import write_own_pictures, write_pictures
from tiny_scenes import write_camvid, write_cityscapes

pytest.importorskip("torch")

from derain_ros.data.fusion import fusion_pairs  # noqa: E402
from derain_ros.data.labelled import labelled_scenes  # noqa: E402
from derain_ros.data.layouts import TrainingFolders, pairs  # noqa: E402
from derain_ros.data.pictures import find_pictures  # noqa: E402
from derain_ros.data.samples import DataError, image_files  # noqa: E402
from derain_ros.data.splits import (  # noqa: E402
    EVERY,
    ONE_PLACE,
    PICTURE_SPLITS,
    RUN,
    SCENE_SPLITS,
    VALIDATION_FOLDERS,
    drives,
    every_split,
    run_split,
    scene_split,
    time_split,
)

KINDS = ("raindrop", "rainstreak", "rainstreak_raindrop")


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((32, 40, 3), 80, np.uint8))


def qian(data: Path) -> None:
    for part, count in (("train", 26), ("test_a", 3), ("test_b", 3)):
        for n in range(count):
            write(data / f"{part}/data/{n}_rain.png", data / f"{part}/gt/{n}_clean.png")


def robotcar(data: Path) -> None:
    for n in range(23):
        write(data / f"left/left_{1000 + n}.png", data / f"right/right_{1000 + n}.png")


def rainds(data: Path) -> None:
    for part, count in (("train_set", 15), ("test_set", 3)):
        for n in range(count):
            write(*(data / f"RainDS_real/{part}/{kind}/{n}.png" for kind in ("gt", *KINDS)))


def plain(data: Path) -> None:
    for n in range(26):
        write(data / f"rain/{n:02}.png", data / f"clean/{n:02}.png")


def plain_parts(data: Path) -> None:
    for part in ("train", "val", "test"):
        for n in range(3):
            write(data / f"{part}/rain/{n}.png", data / f"{part}/clean/{n}.png")


def plain_without_validation(data: Path) -> None:
    for part, count in (("train", 26), ("test", 3)):
        for n in range(count):
            write(data / f"{part}/rain/{n:02}.png", data / f"{part}/clean/{n:02}.png")


def own_pairs(data: Path) -> None:
    """Pairs of one's own where the project's lie, and photographs beside them."""
    for n in range(26):
        write(
            data / f"raindrop_real/train/rain/mine_{n:02}.png",
            data / f"raindrop_real/train/clean/mine_{n:02}.png",
            data / f"bsds500/train/{n}.png",
        )


def own_photographs(data: Path) -> None:
    """Photographs without a validation folder, beside pairs that have none held out."""
    for n in range(26):
        write(data / f"camvid/train/image/{n}.png")


LAYOUTS = (
    write_pictures,
    qian,
    robotcar,
    rainds,
    plain,
    plain_parts,
    plain_without_validation,
    own_pairs,
    own_photographs,
)


@pytest.mark.parametrize("anomaly", ["drops", "rain"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_restorer_can_be_trained_on_what_it_is_evaluated_on(
    layout: Callable[[Path], object], anomaly: str, tmp_path: Path
) -> None:
    layout(tmp_path)
    try:
        folders = TrainingFolders.find([tmp_path], anomaly)
    except DataError:
        assert anomaly == "rain" and layout in (qian, robotcar)  # sets of drops
        return
    trained = {path for pair in folders.train for path in (pair.wet, pair.clean)} | set(folders.photographs)
    watched = {path for pair in folders.validation for path in (pair.wet, pair.clean)}
    photographs = {
        path for name in VALIDATION_FOLDERS if (tmp_path / name).is_dir() for path in image_files(tmp_path / name)
    } | set(folders.validation_photographs)
    tested: set[Path] = set()
    if layout is not own_photographs and (layout, anomaly) != (own_pairs, "rain"):
        tested = {
            path
            for split in ("test", "test_b")
            for pair in pairs(tmp_path, split, anomaly)
            for path in (pair.wet, pair.clean)
        }
        assert tested and watched
    assert trained and folders.validation_photographs
    assert not trained & (tested | watched | photographs)


def test_scenes_are_held_out_with_all_of_their_pairs(tmp_path: Path) -> None:
    rainds(tmp_path)
    validation = pairs(tmp_path, "validation")
    assert {pair.wet.parent.name for pair in validation} == set(KINDS) and len({p.clean for p in validation}) == 2
    assert len(validation) == 6 and len(pairs(tmp_path, "train")) == 39


@pytest.mark.parametrize("write_data", [write_pictures, write_own_pictures])
def test_no_detector_can_be_trained_on_what_it_is_evaluated_on(
    write_data: Callable[[Path], Path], tmp_path: Path
) -> None:
    write_data(tmp_path)
    seen = []
    for split in PICTURE_SPLITS:
        found = find_pictures(tmp_path, split)
        files = {path for paths in (*found.clean.values(), *found.labelled.values()) for path in paths}
        seen.append(files | {path for pair in (*found.drops, *found.streaks, *found.soil) for path in pair})
    assert all(seen) and not any(one & other for one, other in combinations(seen, 2))


def test_no_fuser_can_be_trained_on_what_it_is_evaluated_on(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    seen = [
        {path for pair in fusion_pairs(tmp_path, split) for path in (pair.visible, pair.infrared)}
        for split in PICTURE_SPLITS
    ]
    assert all(seen) and not any(one & other for one, other in combinations(seen, 2))
    assert not any(source in str(path) for source in ONE_PLACE for path in seen[1] | seen[2])


@pytest.mark.parametrize("write_data", [write_camvid, write_cityscapes])
def test_no_segmenter_can_be_trained_on_what_it_is_evaluated_on(
    write_data: Callable[[Path], Path], tmp_path: Path
) -> None:
    write_data(tmp_path)
    seen = [
        {path for scene in labelled_scenes(tmp_path, split) for path in (scene.image, scene.label)}
        for split in SCENE_SPLITS
    ]
    assert all(seen) and not any(one & other for one, other in combinations(seen, 2))


def test_no_restorer_is_trained_on_scenes_that_are_held_out(tmp_path: Path) -> None:
    write_camvid(tmp_path / "camvid", train=26)
    folders = TrainingFolders.find([tmp_path])
    held_out = {scene.image for split in ("validation", "test") for scene in labelled_scenes(tmp_path, split)}
    trained = {path for pair in folders.train for path in (pair.wet, pair.clean)} | set(folders.photographs)
    assert held_out and trained and not held_out & trained


def test_scenes_are_cut_between_drives() -> None:
    drives_of = "aaabbbbbcc"
    halves = [scene_split(range(10), split, lambda n: drives_of[n]) for split in ("validation", "test")]
    assert halves == [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9]]
    # One drive, or one that begins or ends too far from the middle: what shows the same in both halves is left out.
    for begins in (0, 1, 99):
        validation, test = (
            scene_split(range(100), split, lambda n, begins=begins: n >= begins) for split in ("validation", "test")
        )
        assert validation == list(range(50 - RUN)) and test == list(range(50, 100))
    assert scene_split(range(10), "train", lambda n: drives_of[n]) == list(range(10))


def test_neighbours_are_held_out_together() -> None:
    files = list(range(18 * RUN))
    assert run_split(files, "evaluation") == [*range(RUN), *range(9 * RUN, 10 * RUN)]
    assert run_split(files, "calibration") == [*range(4 * RUN, 5 * RUN), *range(13 * RUN, 14 * RUN)]
    assert sorted(run_split(files, "train", own_evaluation=False) + run_split(files, "calibration")) == files


def test_what_is_held_out_of_time_is_its_end() -> None:
    assert [time_split(range(20), split) for split in ("train", "validation", "test", "test_b")] == [
        list(range(16)),
        [16, 17],
        [18, 19],
        [],
    ]


def test_every_so_manieth_scene_is_held_out() -> None:
    pairs_of = [(scene, eye) for eye in "lr" for scene in range(2 * EVERY)]
    assert every_split(pairs_of, "validation", lambda pair: pair[0]) == [(0, "l"), (EVERY, "l"), (0, "r"), (EVERY, "r")]
    assert every_split(pairs_of, "test_b", lambda pair: pair[0]) == []


def test_numbers_tell_the_drives() -> None:
    names = ["0100_FV.jpg", "0119_RV.jpg", "0139_FV.jpg", "0020_FV.jpg"]
    assert [[p.name[:4] for p in drive] for drive in drives([Path(n) for n in names])] == [
        ["0020"],
        ["0100", "0119"],
        ["0139"],
    ]
    with pytest.raises(DataError, match=r"mud.jpg: the names .* begin with a number"):
        drives([Path("0100_FV.jpg"), Path("mud.jpg")])
