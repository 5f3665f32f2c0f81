"""`derain frames`: pictures of a bag for the folders that are trained on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from derain_ros.cli.main import app

pytest.importorskip("rosbags")

from derain_ros.frame import Frame  # noqa: E402
from derain_ros.replay.bag import BagWriter  # noqa: E402
from derain_ros.replay.images import image_of  # noqa: E402

PERIOD_NS = 100_000_000


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Two seconds of a grey left camera, and of a right one in 16 bits that are all but four of them empty."""
    path = tmp_path / "drive"
    with BagWriter(path) as writer:
        for k in range(20):
            left = Frame(np.full((48, 64), 10 * k, np.uint8), "mono8")
            right = Frame(np.full((48, 64), 160 * k, np.uint16), "mono16")
            right.image[:4], right.image[4:8] = 0, 4095
            for camera, frame in (("left", left), ("right", right)):
                writer.put(f"/{camera}/image_raw", 1 + k * PERIOD_NS, image_of(writer.types, frame))
        writer.put("/left/image_raw", 1 + 20 * PERIOD_NS, image_of(writer.types, Frame(left.image, "32FC1")))
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["frames", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_picture_of_each_camera_every_half_a_second(bag: Path, tmp_path: Path) -> None:
    code, output = run(bag, tmp_path / "pictures/clean", "--every", 0.5)
    assert code == 0 and "8 pictures of left /left/image_raw, right /right/image_raw" in output
    assert "1 images could not be read" in output, "what cannot be told the colour of is no picture"
    files = sorted(path.name for path in (tmp_path / "pictures/clean").iterdir())
    assert files == sorted(
        f"drive_{camera}_{1 + k * PERIOD_NS}.png" for camera in ("left", "right") for k in (0, 5, 10, 15)
    )
    left, right = (
        cv2.imread(str(tmp_path / f"pictures/clean/drive_{camera}_{1 + 15 * PERIOD_NS}.png"), cv2.IMREAD_UNCHANGED)
        for camera in ("left", "right")
    )
    assert left.dtype == right.dtype == np.uint8 and (left == 150).all() and (right[8:] == 150).all()


def test_every_image_of_one_camera(bag: Path, tmp_path: Path) -> None:
    code, output = run(bag, tmp_path / "all", "--every", 0, "--camera", "front=/right/image_raw")
    assert code == 0 and "20 pictures of front /right/image_raw" in output
    assert run(bag, tmp_path / "all", "--camera", "front")[0] == 2
    (tmp_path / "file").write_text("no folder")
    code, output = run(bag, tmp_path / "file/below")
    assert code == 1 and "cannot be written" in output


def test_images_of_one_time_are_all_written(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "drive") as writer:
        for level in (10, 20, 30):
            writer.put("/left/image_raw", 7, image_of(writer.types, Frame(np.full((48, 64), level, np.uint8), "mono8")))
    code, output = run(tmp_path / "drive", tmp_path / "all", "--every", 0)
    assert code == 0 and "3 pictures" in output
    written = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[0, 0] for path in (tmp_path / "all").iterdir()}
    assert written == {"drive_left_7.png": 10, "drive_left_7_2.png": 20, "drive_left_7_3.png": 30}
