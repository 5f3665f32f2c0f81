"""A shower over street scenes, as pictures, as a video and as a bag."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_scenes import write_camvid

from derain_ros.data.labelled import VOID, labelled_scenes, street_scenes
from derain_ros.data.rain_sequence import (
    CLASSES,
    DRY,
    EPOCH_NS,
    LABELS,
    MASK,
    WET,
    rain_over,
    write_bag,
    write_pictures,
    write_video,
)
from derain_ros.data.samples import DataError

FRAMES = 12


def no_progress(done: int, total: int) -> None:
    assert 0 < done <= total == FRAMES


def test_a_scene_a_frame_there_and_back_again(tmp_path: Path) -> None:
    scenes = labelled_scenes(write_camvid(tmp_path), "train")
    rainy = list(rain_over(scenes, FRAMES, 3, 10.0))
    shown = [int(frame.clean[0, 0, 2]) for frame in rainy]
    assert shown == [0, 1, 2, 1] * 3
    for frame, n in zip(rainy, shown, strict=True):
        clean, label = scenes[n].read()
        np.testing.assert_array_equal(frame.clean, clean)
        assert frame.label is not None
        np.testing.assert_array_equal(frame.label, label)
        assert frame.image.shape == clean.shape and frame.mask.shape == label.shape
    np.testing.assert_array_equal(rainy[0].image, rainy[0].clean)
    assert not np.array_equal(rainy[6].image, rainy[6].clean) and rainy[6].mask.any()
    again = list(rain_over(scenes, FRAMES, 3, 10.0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(rainy, again, strict=True))
    assert [int(frame.clean[0, 0, 2]) for frame in rain_over(scenes[1:2], 3, 0, 10.0)] == [1, 1, 1]


def test_pictures_have_masks_and_labels(tmp_path: Path) -> None:
    scenes = labelled_scenes(write_camvid(tmp_path / "camvid"), "train")
    expected = list(rain_over(scenes, FRAMES, 3, 10.0))
    write_pictures(iter(expected), FRAMES, tmp_path / "out", no_progress)
    names = [f"{step:06}.png" for step in range(FRAMES)]
    for part in ("image", "clean", "mask", "label"):
        assert sorted(path.name for path in (tmp_path / "out" / part).iterdir()) == names
    for name, frame in zip(names, expected, strict=True):
        read = {
            part: cv2.imread(str(tmp_path / "out" / part / name), cv2.IMREAD_UNCHANGED)
            for part in ("image", "clean", "mask", "label")
        }
        np.testing.assert_array_equal(read["image"][..., ::-1], frame.image)
        np.testing.assert_array_equal(read["clean"][..., ::-1], frame.clean)
        np.testing.assert_array_equal(read["mask"], frame.mask)
        np.testing.assert_array_equal(read["label"], frame.label)
        assert read["label"].max() == VOID
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file: cannot be written"):
        write_pictures(iter(expected), FRAMES, tmp_path / "file", no_progress)


def test_images_without_labels_have_none_then(tmp_path: Path) -> None:
    scenes = street_scenes(write_camvid(tmp_path) / "train/image", "train")
    write_pictures(rain_over(scenes, FRAMES, 0, 10.0), FRAMES, tmp_path / "out", no_progress)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clean", "image", "mask"]


def test_a_video_shows_the_frames(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 96, 3), (40, 90, 200), np.uint8))
    rainy = list(rain_over(street_scenes(tmp_path, "train"), FRAMES, 1, 10.0))
    write_video(iter(rainy), FRAMES, tmp_path / "out.mp4", 10.0, no_progress)
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    for frame in rainy:
        there, image = video.read()
        assert there and image.shape == (64, 96, 3)
        assert np.abs(image[..., ::-1].mean(axis=(0, 1)) - frame.image.mean(axis=(0, 1))).max() < 8
    assert not video.read()[0]
    with pytest.raises(DataError, match="cannot be written as a video"):
        write_video(iter(rainy), FRAMES, tmp_path / "no/such/out.mp4", 10.0, no_progress)


def test_a_bag_is_read_by_the_replay(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    from rosbags.interfaces import QosDurability

    from derain_ros.replay import topics
    from derain_ros.replay.bag import BagReader
    from derain_ros.runtime.input.messages import frame_of

    scenes = labelled_scenes(write_camvid(tmp_path / "camvid"), "train")
    rainy = list(rain_over(scenes, FRAMES, 3, 20.0))
    write_bag(iter(rainy), FRAMES, tmp_path / "bag", 20.0, no_progress, scenes[0].classes)
    parts = {WET: ("image", "rgb8"), MASK: ("mask", "mono8"), DRY: ("clean", "rgb8"), LABELS: ("label", "mono8")}
    frames: dict[str, list] = {topic: [] for topic in (*parts, CLASSES)}
    with BagReader(tmp_path / "bag") as reader:
        cameras = topics.choose(reader.topics)
        assert {name: topic.name for name, topic in cameras.images.items()} == {"left": "/left/image_raw"}
        assert reader.topics.keys() == frames.keys()
        assert reader.topics[CLASSES].qos[0].durability is QosDurability.TRANSIENT_LOCAL
        for message in reader.messages():
            value = reader.decode(message)
            frames[message.topic].append(frame_of(value) if message.topic in parts else value)
        assert not reader.damage
    for name, (part, encoding) in parts.items():
        for step, (frame, expected) in enumerate(zip(frames[name], rainy, strict=True)):
            np.testing.assert_array_equal(frame.image, getattr(expected, part))
            assert frame.stamp_ns == EPOCH_NS + step * 50_000_000
            assert frame.frame_id == "left" and frame.encoding == encoding
    (names,) = frames[CLASSES]
    assert tuple(json.loads(names.data)) == scenes[0].classes


def test_a_bag_of_scenes_without_labels_has_none(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    from derain_ros.replay.bag import BagReader

    cv2.imwrite(str(tmp_path / "a.png"), np.full((24, 32, 3), 90, np.uint8))
    scenes = street_scenes(tmp_path, "train")
    write_bag(rain_over(scenes, FRAMES, 3, 20.0), FRAMES, tmp_path / "bag", 20.0, no_progress, scenes[0].classes)
    with BagReader(tmp_path / "bag") as reader:
        assert reader.topics.keys() == {WET, MASK, DRY}


def test_scenes_that_do_not_fit_are_told(tmp_path: Path) -> None:
    for name, size in (("a.png", (24, 32)), ("b.png", (24, 33))):
        cv2.imwrite(str(tmp_path / name), np.zeros((*size, 3), np.uint8))
    with pytest.raises(DataError, match=r"b.png: is 33x24, but .*a.png is 32x24"):
        list(rain_over(street_scenes(tmp_path, "train"), 4, 0, 10.0))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((24, 12, 3), np.uint8))
    with pytest.raises(DataError, match=r"a.png: 12x24 pixels are too few"):
        list(rain_over(street_scenes(tmp_path, "train"), 4, 0, 10.0))
