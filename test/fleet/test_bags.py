"""Which bags there are, and of which robots."""

from __future__ import annotations

from pathlib import Path

import pytest

from derain_ros.fleet import FleetError
from derain_ros.fleet.bags import find_bags, robot_of

IMAGE, IMU = "sensor_msgs/msg/Image", "sensor_msgs/msg/Imu"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_and_files_are_found_each_once(tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    touch(
        bags / "r1" / "drive" / "metadata.yaml",
        bags / "r1" / "drive" / "drive_0.mcap",
        bags / "r1" / "cut" / "cut_0.db3",
        bags / "r1" / "cut" / "cut_1.db3",
        bags / "r2" / "loose.mcap",
        bags / "r2" / "packed.mcap.zstd",
        bags / "r2" / "notes.txt",
        bags / "out" / "r1" / "drive" / "drive_0.mcap",
    )
    found = find_bags([f"{bags}/**", f"{bags}/r1/**"], bags / "out")
    assert [(bag.name, bag.path.name) for bag in found] == [
        ("r1/cut", "cut"),
        ("r1/drive", "drive"),
        ("r2/loose", "loose.mcap"),
        ("r2/packed", "packed.mcap.zstd"),
    ]
    assert [bag.name for bag in find_bags([str(bags / "r1" / "drive")], tmp_path / "out")] == ["drive"]
    assert [bag.name for bag in find_bags([f"{bags}/r1/**"], tmp_path)] == ["cut", "drive"]
    assert [bag.name for bag in find_bags([f"{bags}/r1/*"], tmp_path / "out")] == ["cut", "drive"]


def test_what_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no bag found"):
        find_bags([f"{tmp_path}/**"], tmp_path / "out")
    touch(tmp_path / "bags" / "drive.mcap", tmp_path / "bags" / "drive.db3")
    with pytest.raises(FleetError, match="both be restored as drive"):
        find_bags([f"{tmp_path}/bags/**"], tmp_path / "out")
    (tmp_path / "bags" / "drive.db3").unlink()
    touch(tmp_path / "bags" / "drive" / "more.mcap")
    with pytest.raises(FleetError, match="into the bag"):
        find_bags([f"{tmp_path}/bags/**"], tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "topics", "robot"),
    [
        ("r7/monday/drive", [("/r8/left/image_raw", IMAGE)], "r7"),
        ("drive", [("/r8/left/image_raw", IMAGE), ("/r8/imu", IMU), ("/tf_static", "tf2_msgs/msg/TFMessage")], "r8"),
        ("drive", [("/stereo/left/image_raw", IMAGE), ("/stereo/right/image_raw", IMAGE)], "drive"),
        ("drive", [("/left/image_raw", IMAGE), ("/imu", IMU)], "drive"),
        ("drive", [], "drive"),
    ],
)
def test_the_robot_is_a_folder_or_a_namespace(name: str, topics: list[tuple[str, str]], robot: str) -> None:
    assert robot_of(name, topics) == robot
