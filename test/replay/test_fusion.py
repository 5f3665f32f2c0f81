"""A bag with a thermal camera through the pipeline: registered by what the bag tells, fused, and accounted for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from tiny_models import write_models

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.replay import offline
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.drive import Drive, thermal_place
from derain_ros.replay.images import camera_info, header_of, image_of
from derain_ros.replay.shown import fused_pictures
from derain_ros.replay.topics import choose
from derain_ros.runtime.input.messages import frame_of
from derain_ros.runtime.pipeline import Pipeline

TYPES = get_typestore(Stores.ROS2_JAZZY)
SIZE, FOCAL = (96, 128), 100.0
MATRIX = np.array([[FOCAL, 0, 63.5], [0, FOCAL, 47.5], [0, 0, 1]])
HALF = np.array([[FOCAL / 2, 0, 31.5], [0, FOCAL / 2, 23.5], [0, 0, 1]])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Manifest.load(write_models(tmp_path_factory.mktemp("models"), with_fuser=True))


def write(path: Path, static: bool = True, infos: bool = True, frames: int = 12) -> Path:
    """A stereo pair and a thermal camera of half the size that sends every second time, 0.2 m right of the left one,
    which /tf_static says; 5 m ahead that is 4 pixels."""
    make = TYPES.types
    with BagWriter(path) as out:
        if static:
            transforms = [
                make["geometry_msgs/msg/TransformStamped"](
                    header=header_of(TYPES, 0, "mast"),
                    child_frame_id=child,
                    transform=make["geometry_msgs/msg/Transform"](
                        translation=make["geometry_msgs/msg/Vector3"](x=x, y=0.0, z=0.0),
                        rotation=make["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
                    ),
                )
                for child, x in (("eye", 0.1), ("warm", 0.3))
            ]
            out.put("/tf_static", 1, make["tf2_msgs/msg/TFMessage"](transforms=transforms))
        rng = np.random.default_rng(1)
        scene = np.kron(rng.integers(40, 80, (12, 16)), np.ones((8, 8))).astype(np.uint8)
        for k in range(frames):
            stamp = 10**9 + k * 50_000_000
            for camera in ("left", "right"):
                if infos:
                    out.put(f"/{camera}/camera_info", stamp, camera_info(TYPES, stamp, "eye", 128, 96, MATRIX))
                out.put(f"/{camera}/image_raw", stamp, image_of(TYPES, Frame(scene, "mono8", stamp, "eye")))
            if k % 2 == 0:
                # What is 5 m ahead is 0.2 m further left for the thermal camera.
                seen = cv2.warpAffine(scene, np.float32([[1, 0, -4], [0, 1, 0]]), SIZE[::-1])
                heat = 29_000 + 20 * cv2.resize(seen, (64, 48), interpolation=cv2.INTER_AREA).astype(np.uint16)
                heat[20:28, 26:38] = 29_000 + 20 * 230
                heat += rng.integers(0, 9, heat.shape, np.uint16)
                out.put("/thermal/camera_info", stamp, camera_info(TYPES, stamp, "warm", 64, 48, HALF))
                out.put("/thermal/image_raw", stamp, image_of(TYPES, Frame(heat, "mono16", stamp, "warm")))
    return path


def run(bag: Path, output: Path, manifest: Manifest, **settings: object) -> Account:
    with BagReader(bag) as reader:
        cameras = choose(reader.topics)
        assert cameras.info["thermal"] == "/thermal/camera_info"
        config = Config(cameras=list(cameras.images), thermal=True, thermal_distance=5.0, **settings)
        pipeline = Pipeline(config, manifest)
        pipeline.load()
        return offline.replay(reader, output, cameras, pipeline)


def test_what_the_bag_tells_registers_the_thermal_camera(tmp_path: Path, manifest: Manifest) -> None:
    account = run(write(tmp_path / "bag"), tmp_path / "out", manifest)
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
    account = run(write(tmp_path / "bag", static=False), tmp_path / "out", manifest)
    told = "/tf_static does not link 'warm' to 'eye'; give thermal_homography, which `derain calibrate"
    assert [reason.startswith(told) for reason in account.fusion if "thermal frame" not in reason] == [True]
    account = run(write(tmp_path / "other", infos=False), tmp_path / "two", manifest)
    assert any("no camera_info of the left camera" in reason for reason in account.fusion)
    wrong = run(tmp_path / "bag", tmp_path / "three", manifest, thermal_homography=[1.0] * 4)
    assert "fusion is off: thermal_homography has 4 numbers and needs nine" in wrong.notes[0]


def test_the_drive_says_where_its_thermal_camera_is() -> None:
    assert thermal_place(Drive()) == pytest.approx([0.055, -0.05, 0, 0, 0, 0])
