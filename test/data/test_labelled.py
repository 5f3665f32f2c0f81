"""Labelled street scenes: CamVid's and Cityscapes's layouts, images without labels, and what is wrong with folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_scenes import write_camvid, write_cityscapes

from derain_ros.data.labelled import CAMVID, CITYSCAPES, LABEL_IDS, VOID, labelled_scenes, street_scenes
from derain_ros.data.samples import DataError


def test_camvid_is_read(tmp_path: Path) -> None:
    write_camvid(tmp_path / "camvid")
    for root in (tmp_path, tmp_path / "camvid"):
        scenes = labelled_scenes(root, "train")
        assert [scene.image.name for scene in scenes] == [f"0001TP_{n:03}.png" for n in range(3)]
        image, labels = scenes[1].read()
        assert image.shape == (24, 32, 3) and image.dtype == labels.dtype == np.uint8 and scenes[1].classes == CAMVID
        assert tuple(image[0, 0]) == (200, 100, 1)  # red, green, blue; the blue counts
        assert list(labels[0, :14]) == [*range(11), VOID, VOID, VOID]
    assert len(CAMVID) == 11 and len(labelled_scenes(tmp_path, "validation") + labelled_scenes(tmp_path, "test")) > 5


def test_cityscapes_is_read(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "cityscapes")
    for root in (tmp_path, tmp_path / "cityscapes"):
        full, train_ids = labelled_scenes(root, "train")
        assert full.classes == train_ids.classes == CITYSCAPES and len(CITYSCAPES) == len(LABEL_IDS) == 19
        # 7 is road, 26 car and 33 bicycle; 0, 9 and the number plates' -1 are not evaluated.
        assert list(full.read()[1][0, :6]) == [0, 13, 18, VOID, VOID, VOID]
        assert list(train_ids.read()[1][0, :6]) == [0, 13, 18, VOID, VOID, VOID]
        assert train_ids.label is not None and train_ids.label.name.endswith("_gtFine_labelTrainIds.png")
    assert {scene.image.parent.name for scene in labelled_scenes(tmp_path, "validation")} == {"frankfurt"}
    assert {scene.image.parent.name for scene in labelled_scenes(tmp_path, "test")} == {"lindau", "munster"}


def test_images_without_labels_are_scenes_too(tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        cv2.imwrite(str(tmp_path / name), np.full((24, 32, 3), 90, np.uint8))
    scenes = street_scenes(tmp_path, "train")
    assert [scene.image.name for scene in scenes] == ["a.png", "b.png"] and scenes[0].label is None
    assert scenes[0].classes == () and (scenes[0].read()[1] == VOID).all()
    write_camvid(tmp_path / "camvid")
    assert street_scenes(tmp_path, "train") == labelled_scenes(tmp_path, "train")


def test_wrong_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        labelled_scenes(tmp_path / "nowhere", "train")
    for find in (labelled_scenes, street_scenes):
        with pytest.raises(DataError, match=r"holds no street scenes for test .*\n.*CamVid(.*\n)*.*Cityscapes"):
            find(tmp_path, "test")
    with pytest.raises(ValueError, match="'val' is none of train, validation, test"):
        labelled_scenes(tmp_path, "val")
    (tmp_path / "leftImg8bit/train/aachen").mkdir(parents=True)
    with pytest.raises(DataError, match="train: holds no images CITY/NAME_leftImg8bit.png"):
        labelled_scenes(tmp_path, "train")


def test_one_scene_cannot_be_divided(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    for path in sorted((tmp_path / "val/image").iterdir())[1:]:
        path.unlink()
    assert len(labelled_scenes(tmp_path, "test")) == 1
    with pytest.raises(DataError, match="val/image: 1 scene cannot be divided; none is left for validation"):
        labelled_scenes(tmp_path, "validation")


def test_an_image_without_its_label_is_told(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    (tmp_path / "train/label/0001TP_001.png").unlink()
    with pytest.raises(DataError, match=r"0001TP_001.png: has no labels; looked for .*label/0001TP_001.png"):
        labelled_scenes(tmp_path, "train")
    write_cityscapes(tmp_path / "cs")
    for path in (tmp_path / "cs/gtFine/train").rglob("*_000_*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"looked for .*_gtFine_labelTrainIds.png and .*_gtFine_labelIds.png"):
        labelled_scenes(tmp_path / "cs", "train")


def test_wrong_labels_are_told(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    scene = labelled_scenes(tmp_path, "train")[0]
    assert scene.label is not None
    for wrong, told in (
        (np.full((24, 32), 12, np.uint8), "label id 12; its layout knows 0 to 11, and 255"),
        (np.zeros((24, 31), np.uint8), r"differ in size: \(24, 32\) and \(24, 31\)"),
        (np.zeros((24, 32, 3), np.uint8), "label ids are expected"),
        (np.zeros((24, 32), np.uint16), "label ids are expected"),
    ):
        cv2.imwrite(str(scene.label), wrong)
        with pytest.raises(DataError, match=told):
            scene.read()
    scene.label.write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read as an image"):
        scene.read()
