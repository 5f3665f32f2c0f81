"""No picture is in two of the detector's splits."""

from __future__ import annotations

import os
import shutil
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_pictures import SOILED, SOILED_HELD_OUT, write_own_pictures, write_pictures

pytest.importorskip("torch")

from derain_ros.data import pictures  # noqa: E402
from derain_ros.data.pictures import find_pictures, is_night, read_grey  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.data.splits import PICTURE_SPLITS, RUN  # noqa: E402

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def pictures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data"))


def test_no_picture_is_in_two_splits(pictures_folder: Path) -> None:
    splits = [find_pictures(pictures_folder, split) for split in PICTURE_SPLITS]
    for one, other in combinations(splits, 2):
        for source in one.clean:
            assert one.clean[source]
            assert not set(one.clean[source]) & set(other.clean.get(source, []))
        assert not set(one.drops) & set(other.drops) and not set(one.streaks) & set(other.streaks)
    assert all(split.outlines and split.drops and split.streaks for split in splits)
    train, calibration, evaluation = ({p.stem for p, _ in split.drops} for split in splits)
    assert train == {"0_0_0", "800_26_1"} and calibration == {"5600_1_1"}
    assert evaluation == {"2400_80_1", "7200_240_3"}
    assert all(wet.name == dry.name and wet != dry for wet, dry in splits[0].drops + splits[0].streaks)


def test_whole_drives_of_dirt_and_cells_of_froth_are_held_out(pictures_folder: Path) -> None:
    train, calibration, evaluation = (find_pictures(pictures_folder, split) for split in PICTURE_SPLITS)
    assert [photograph.stem for photograph, _ in evaluation.soil] == list(SOILED_HELD_OUT)
    assert [photograph.stem for photograph, _ in train.soil] == [n for n in SOILED if n not in SOILED_HELD_OUT]
    assert all(mask.is_file() and mask.stem == photograph.stem for photograph, mask in train.soil + evaluation.soil)
    assert [path.name[5] for path in train.clean["froth"]] == ["1", "3"]
    assert [path.name[5] for path in evaluation.clean["froth"]] == ["2", "4"]
    assert not calibration.soil and "froth" not in calibration.clean


@pytest.mark.skipif(not (DATA / "soiling").is_dir(), reason=f"no real dirt at {DATA}; set DERAIN_DATA")
def test_no_drive_of_the_real_dirt_is_trained_on_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "read_outlines", lambda folder, most: [])  # slow to read, and not looked at
    train, evaluation = (find_pictures(DATA, split) for split in ("train", "evaluation"))
    numbers = [sorted(int(p.stem[:4]) for p, _ in split.soil) for split in (train, evaluation)]
    assert min(abs(a - b) for a in numbers[0] for b in numbers[1]) >= 20
    assert len(numbers[0]) >= 4 and len(numbers[1]) >= 4
    cells = [{path.name[:7] for path in split.clean["froth"]} for split in (train, evaluation)]
    assert all(cells) and not cells[0] & cells[1]


def test_neighbours_stay_together(pictures_folder: Path, tmp_path: Path) -> None:
    for folder in pictures_folder.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    (tmp_path / "msrs").unlink()
    (tmp_path / "msrs/train/visible").mkdir(parents=True)
    for number in range(18 * RUN):
        (tmp_path / f"msrs/train/visible/{number:03}.png").touch()
    held_out = find_pictures(tmp_path, "evaluation").clean["msrs"]
    assert [int(p.stem) for p in held_out] == [*range(RUN), *range(9 * RUN, 10 * RUN)]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        find_pictures(tmp_path, "train")
    with pytest.raises(DataError, match="none.png"):
        read_grey(tmp_path / "none.png")


def test_pictures_are_read_grey(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30, 3), 77, np.uint8))
    assert (read_grey(tmp_path / "a.png") == 77).all() and read_grey(tmp_path / "a.png").shape == (20, 30)
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((1200, 3200), np.uint8))
    assert read_grey(tmp_path / "large.png").shape == (600, 1600), "many such would fill the memory"


def test_nights_are_told_by_number() -> None:
    assert is_night(Path("130.jpg")) and not is_night(Path("010.jpg")) and not is_night(Path("0016E5_07983.png"))


def test_each_split_asks_for_its_own_folders_alone(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    for folder in ("llvip", "camvid/train", "bsds500/train", "droplet_masks/train"):
        shutil.rmtree(tmp_path / folder)
    assert find_pictures(tmp_path, "evaluation").clean["camvid"]
    with pytest.raises(DataError, match=r"train these folders are not there: camvid/train/image, .*llvip"):
        find_pictures(tmp_path, "train")


def test_pictures_of_ones_own_are_known_by_their_folders(tmp_path: Path) -> None:
    data = write_own_pictures(tmp_path / "mine")
    splits = [find_pictures(data, split) for split in PICTURE_SPLITS]
    for kind, of in (
        ("clean", [split.clean["own"] for split in splits]),
        ("raindrop", [split.labelled["raindrop"] for split in splits]),
    ):
        assert [len(paths) for paths in of] == [14, 2, 2]
        assert sorted(path for paths in of for path in paths) == sorted((data / kind).iterdir())
    assert all(
        not (split.drops or split.streaks or split.outlines) and list(split.labelled) == ["raindrop"]
        for split in splits
    )
    for number, path in enumerate(sorted((data / "raindrop").iterdir())):
        if number >= 3:
            path.unlink()
    few = [find_pictures(data, split).labelled for split in PICTURE_SPLITS]
    assert [len(labelled.get("raindrop", [])) for labelled in few] == [3, 0, 0]
    for name in ("dirt", ".thumbnails"):
        (data / name).mkdir()
        assert list(find_pictures(data, "train").labelled) == ["raindrop"]
    (data / "wet").mkdir()
    with pytest.raises(DataError, match=r"mine: wet: the folders beside clean are to be called raindrop, dirt, streak"):
        find_pictures(data, "train")
    (data / "wet").rmdir()
    for path in sorted((data / "clean").iterdir())[8:]:
        path.unlink()
    with pytest.raises(DataError, match="clean: holds 8 pictures, 9 are needed"):
        find_pictures(data, "train")
