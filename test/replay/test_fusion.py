"""A bag with a thermal camera through the pipeline: registered by what the bag tells, fused, and accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest
from thermal_bag import write_thermal_bag
from tiny_models import write_models

from derain_ros.config import Config
from derain_ros.manifest import Manifest
from derain_ros.replay import offline
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader
from derain_ros.replay.drive import Drive, thermal_place
from derain_ros.replay.shown import fused_pictures
from derain_ros.replay.topics import choose
from derain_ros.runtime.input.messages import frame_of
from derain_ros.runtime.pipeline import Pipeline


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Manifest.load(write_models(tmp_path_factory.mktemp("models"), with_fuser=True))


def run(bag: Path, output: Path, manifest: Manifest, **settings: object) -> Account:
    with BagReader(bag) as reader:
        cameras = choose(reader.topics)
        assert cameras.info["thermal"] == "/thermal/camera_info"
        config = Config(cameras=list(cameras.images), thermal=True, thermal_distance=5.0, **settings)
        pipeline = Pipeline(config, manifest)
        pipeline.load()
        return offline.replay(reader, output, cameras, pipeline)


def test_what_the_bag_tells_registers_the_thermal_camera(tmp_path: Path, manifest: Manifest) -> None:
    account = run(write_thermal_bag(tmp_path / "bag"), tmp_path / "out", manifest)
    # The first camera_info of the thermal camera comes after the first pair.
    assert account.fusion["fused"] == 11 and sum(account.fusion.values()) == 12
    assert account.total()["in"] == account.total()["out"] == 24
    with BagReader(tmp_path / "out") as reader:
        assert reader.topics["/derained/fused/image_raw"].count == 11
        assert reader.topics["/derained/fused/camera_info"].count == 12
        assert "/derained/thermal/camera_info" not in reader.topics
        last = [
            frame_of(reader.decode(message))
            for message in reader.messages()
            if message.topic == "/derained/fused/image_raw"
        ][-1]
        cameras = choose(BagReader(tmp_path / "bag").topics)
    assert last.frame_id == "eye"
    # The warm spot, columns 52 to 76 of a thermal image as large as the left one, is 4 pixels further right in it.
    row = last.image[48].astype(int)
    assert row[60:76].min() > 180 and row[:54].max() < 150 and row[82:].max() < 150
    pictures = fused_pictures(tmp_path / "out", cameras)
    assert [list(each.images) for each in pictures] == [["seen", "thermal", "published", "fused"]] * 3


def test_what_lacks_is_in_the_account(tmp_path: Path, manifest: Manifest) -> None:
    account = run(write_thermal_bag(tmp_path / "bag", static=False), tmp_path / "out", manifest)
    told = "/tf_static does not link 'warm' to 'eye'; give thermal_homography, which `derain calibrate"
    assert [reason.startswith(told) for reason in account.fusion if "thermal frame" not in reason] == [True]
    account = run(write_thermal_bag(tmp_path / "other", infos=False), tmp_path / "two", manifest)
    assert any("no camera_info of the left camera" in reason for reason in account.fusion)
    wrong = run(tmp_path / "bag", tmp_path / "three", manifest, thermal_homography=[1.0] * 4)
    assert "fusion is off: thermal_homography has 4 numbers and needs nine" in wrong.notes[0]


def test_the_drive_says_where_its_thermal_camera_is() -> None:
    assert thermal_place(Drive()) == pytest.approx([0.055, -0.05, 0, 0, 0, 0])
