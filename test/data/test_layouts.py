"""Folders as they are published, each made here with a few tiny images."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_pictures import write_pictures

from derain_ros.data import layouts as datasets
from derain_ros.data.layouts import PairFiles, TrainingFolders, pairs
from derain_ros.data.pictures import find_pictures
from derain_ros.data.samples import DataError


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((32, 40, 3), 80, np.uint8))


def names(folder: Path, split: str) -> list[tuple[str, str]]:
    return [(p.wet.name, p.clean.name) for p in pairs(folder, split)]


def test_qian(tmp_path: Path) -> None:
    for n in range(13):
        write(tmp_path / f"train/data/{n}_rain.png", tmp_path / f"train/gt/{n}_clean.png")
    write(tmp_path / "test_a/data/3_rain.png", tmp_path / "test_a/gt/3_clean.png")
    write(tmp_path / "test_b/data/7_rain.jpg", tmp_path / "test_b/gt/7_clean.jpg")
    assert names(tmp_path, "test") == [("3_rain.png", "3_clean.png")]
    assert names(tmp_path, "test_b") == [("7_rain.jpg", "7_clean.jpg")]
    train, validation = names(tmp_path, "train"), names(tmp_path, "validation")
    assert (len(train), len(validation)) == (11, 2) and not set(train) & set(validation)
    assert all(wet.split("_")[0] == clean.split("_")[0] for wet, clean in train)
    (tmp_path / "train/gt/5_clean.png").unlink()
    with pytest.raises(DataError, match="5_rain.png: its clean image 5_clean is not in"):
        pairs(tmp_path, "train")


def test_robotcar(tmp_path: Path) -> None:
    stamps = [1535201998046127 + 200_000 * n for n in range(11)]
    for stamp in stamps:
        write(
            tmp_path / f"left/left_{stamp}.png",
            tmp_path / f"right/right_{stamp}.png",
            tmp_path / f"mask/mask_{stamp}.png",
        )
    files = [(f"left_{stamp}.png", f"right_{stamp}.png") for stamp in stamps]
    assert names(tmp_path, "train") == files[:7]
    assert names(tmp_path, "validation") == files[7:9]
    assert names(tmp_path, "test") == files[9:]
    assert names(tmp_path, "test_b") == []
    (tmp_path / f"right/right_{stamps[3]}.png").unlink()
    with pytest.raises(DataError, match=f"left_{stamps[3]}.png: its clean image right_{stamps[3]} is not in"):
        pairs(tmp_path, "train")


def test_rainds(tmp_path: Path) -> None:
    synthetic, real = tmp_path / "RainDS_syn", tmp_path / "RainDS_real"
    for part in ("train_set", "test_set"):
        for stem in ("5", "pie-6"):
            lead, number = stem.rpartition("-")[0::2]
            lead = lead and lead + "-"
            write(
                synthetic / part / f"gt/{lead}norain-{number}.png",
                synthetic / part / f"raindrop/{lead}rd-{number}.png",
                synthetic / part / f"rainstreak/{lead}rain-{number}.png",
                synthetic / part / f"rainstreak_raindrop/{lead}rd-rain-{number}.png",
            )
        write(*(real / part / kind / "2.png" for kind in ("gt", "raindrop", "rainstreak", "rainstreak_raindrop")))
    assert names(synthetic, "test") == [
        ("pie-rd-6.png", "pie-norain-6.png"),
        ("rd-5.png", "norain-5.png"),
        ("pie-rain-6.png", "pie-norain-6.png"),
        ("rain-5.png", "norain-5.png"),
        ("pie-rd-rain-6.png", "pie-norain-6.png"),
        ("rd-rain-5.png", "norain-5.png"),
    ]
    assert names(real, "test") == [("2.png", "2.png")] * 3
    assert len(pairs(tmp_path, "test")) == 9 and len({p.wet for p in pairs(tmp_path, "test")}) == 9
    assert len(pairs(tmp_path, "train")) + len(pairs(tmp_path, "validation")) == 9
    assert pairs(tmp_path, "test_b") == []
    assert {p.wet.parent.name for p in pairs(tmp_path, "test", "rain")} == {"rainstreak"}


def test_rainds_as_its_archive_has_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in ("train", "test"):
        write(tmp_path / f"RainDS_syn/{part}/gt/norain-1.png", tmp_path / f"RainDS_syn/{part}/raindrop/rd-1.png")
        write(*(tmp_path / f"RainDS_real/{part}_set/{kind}/2.png" for kind in ("gt", "raindrop", "rainstreak")))
    write(tmp_path / "RainDS_real/test_set/rainstreak/IMG_7435.png")
    assert names(tmp_path, "test") == [("2.png", "2.png")] * 2 + [("rd-1.png", "norain-1.png")]
    assert "left out" in caplog.text and "IMG_7435.png: its clean image" in caplog.text
    assert names(tmp_path / "RainDS_syn", "test") == [("rd-1.png", "norain-1.png")]
    shutil.rmtree(tmp_path / "RainDS_syn/test")
    assert names(tmp_path / "RainDS_syn", "test") == [] and len(names(tmp_path / "RainDS_syn", "all")) == 1


@pytest.mark.parametrize(("wet", "clean"), [("rain", "clean"), ("anomaly", "clean"), ("rainy", "gt")])
def test_plain(wet: str, clean: str, tmp_path: Path) -> None:
    parts = {"train": "train", "val": "validation", "test": "test"}
    for part in parts:
        write(tmp_path / part / wet / f"{part}.png", tmp_path / part / clean / f"{part}.jpg")
    for part, split in parts.items():
        assert names(tmp_path, split) == [(f"{part}.png", f"{part}.jpg")]


def test_plain_without_parts(tmp_path: Path) -> None:
    for n in range(14):
        write(tmp_path / f"wet/{n:02}.png", tmp_path / f"dry/{n:02}.png")
    train, validation = names(tmp_path, "train"), names(tmp_path, "validation")
    assert [wet for wet, _ in validation] == ["00.png", "12.png"] and len(train) == 12
    assert names(tmp_path, "test") == validation, "what was trained on is no test"
    assert len(names(tmp_path, "all")) == 14


def test_the_project_s_own_data(data_folder: Path) -> None:
    assert {p.wet.name for p in pairs(data_folder, "validation")} == {"2400_80_1.png", "7200_240_3.png"}
    assert pairs(data_folder, "test") == pairs(data_folder, "validation")
    assert {p.wet.name for p in pairs(data_folder, "train")} == {"0_0_0.png", "800_26_1.png"}


def test_rain_is_held_out_as_from_the_detector(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    for split, theirs in (("train", "train"), ("validation", "calibration"), ("test", "evaluation")):
        ours = pairs(tmp_path, split, "rain")
        assert ours and [(p.wet, p.clean) for p in ours] == find_pictures(tmp_path, theirs).streaks
    assert pairs(tmp_path, "test_b", "rain") == []
    assert all(0.02 < (p.read().mask > 0).mean() < 0.8 for p in ours)
    found = TrainingFolders.find([tmp_path], "rain")
    kept_out = {p.clean for p in (*found.validation, *ours)}
    assert kept_out and not kept_out & set(found.photographs), "no rain is drawn on them either"
    assert kept_out <= set(TrainingFolders.find([tmp_path]).photographs)


def test_several_folders_together(data_folder: Path, tmp_path: Path) -> None:
    for n in range(2):
        write(tmp_path / f"plain/rain/{n}.png", tmp_path / f"plain/clean/{n}.png")
    found = TrainingFolders.find([data_folder, tmp_path / "plain"])
    assert (len(found.train), len(found.validation)) == (3, 3)
    # The clean side of the plain folder's one training pair, beside the photographs of the other.
    assert tmp_path / "plain/clean/1.png" in found.photographs and len(found.photographs) == 2 + 2 + 10 + 10 + 1
    assert tmp_path / "plain/clean/0.png" in found.validation_photographs
    write(tmp_path / "photographs/bsds500/train/a.png")
    assert TrainingFolders.find([tmp_path / "photographs"]).train == []


def test_an_unknown_layout_is_told(tmp_path: Path) -> None:
    for look in (lambda: pairs(tmp_path, "train"), lambda: TrainingFolders.find([tmp_path])):
        with pytest.raises(DataError, match="Looked for:") as told:
            look()
        assert "Qian" in str(told.value) and "RainDS" in str(told.value) and "anomaly" in str(told.value)
    with pytest.raises(ValueError, match="split 'dev' is none of train, validation"):
        pairs(tmp_path, "dev")
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        pairs(tmp_path / "nowhere", "train")


def test_pairs_and_photographs_of_one_s_own_in_the_project_s_layout(tmp_path: Path) -> None:
    for n in range(24):
        real = tmp_path / "raindrop_real/train"
        write(real / f"rain/walk_{n:02}.png", real / f"clean/walk_{n:02}.png")
        write(tmp_path / f"camvid/train/image/{n:02}.png")
    found = TrainingFolders.find([tmp_path])
    assert (len(found.train), len(found.validation), len(found.photographs)) == (22, 2, 24)
    assert found.validation == pairs(tmp_path, "test") and not set(found.validation) & set(found.train)
    assert {p.clean for p in found.validation} == set(found.validation_photographs)
    assert not found.are_ours
    assert found.described() == ["22 pairs in raindrop_real/train/rain", "24 photographs in camvid/train/image"]
    shutil.rmtree(tmp_path / "raindrop_real")
    alone = TrainingFolders.find([tmp_path])
    assert (len(alone.photographs), len(alone.validation_photographs)) == (22, 2)
    assert not set(alone.photographs) & set(alone.validation_photographs)


def test_files_are_kept_as_far_as_memory_goes(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = pairs(data_folder, "train")
    files = PairFiles(paths)
    assert len(files) == 2 and files[0] is files[0]
    assert files[1].wet.shape == (256, 256, 3) and files[1].mask.any()
    monkeypatch.setattr(datasets, "MEMORY", 256 * 256 * 7)
    files = PairFiles(paths)
    assert files[0] is files[0] and files[1] is not files[1]
