"""`derain calibrate thermal` on bags of a camera and a thermal one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from derain_ros.cli.main import app
from derain_ros.config import Config, read_parameters
from derain_ros.frame import Frame
from derain_ros.replay.bag import BagWriter
from derain_ros.replay.homography import corners
from derain_ros.replay.images import image_of

TRUE = np.array([[1.6, 0.0, 10.0], [0.0, 1.6, -4.0], [0, 0, 1.0]])
SIZE, THERMAL = (180, 240), (96, 128)


def scenes(number: int) -> list[np.ndarray]:
    """Rectangles of all greys, another set each time."""
    rng = np.random.default_rng(3)
    images = []
    for _ in range(number):
        image = np.full(SIZE, 120, np.uint8)
        for _ in range(30):
            x, y, w, h = (int(value) for value in rng.integers((0, 0, 15, 15), (230, 170, 70, 70)))
            cv2.rectangle(image, (x, y), (x + w, y + h), int(rng.integers(20, 240)), -1)
        images.append(cv2.GaussianBlur(image, (0, 0), 1.2))
    return images


def write(bag: Path, late_s: float = 0.0, number: int = 12, thermal: str = "/thermal/image_raw") -> Path:
    """A bag of a camera and of one that sees the negative in 16 bits, every second time."""
    with BagWriter(bag) as out:
        for k, scene in enumerate(scenes(number)):
            stamp_ns = 10**9 + k * 10**8
            out.put("/left/image_raw", stamp_ns, image_of(out.types, Frame(scene, "mono8", stamp_ns, "left")))
            warm = cv2.warpPerspective(
                scene, TRUE, THERMAL[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
            )
            kelvin = 29000 + 6 * (255 - warm.astype(np.uint16))
            frame = Frame(kelvin, "mono16", stamp_ns + round(late_s * 1e9), "warm")
            out.put(thermal, stamp_ns + 1, image_of(out.types, frame))
    return bag


def test_the_parameter_is_found_and_the_picture_drawn(tmp_path: Path) -> None:
    output = tmp_path / "robot.yaml"
    result = CliRunner().invoke(app, ["calibrate", "thermal", str(write(tmp_path / "bag")), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert "/left/image_raw and /thermal/image_raw" in result.output and "cells of the view agree" in result.output
    config = Config.from_mapping(read_parameters(output))
    found = np.array(config.thermal_homography).reshape(3, 3)
    apart = corners(found, *THERMAL[::-1]) - corners(TRUE, *THERMAL[::-1])
    assert config.thermal and np.hypot(*apart.T).mean() < 2.0
    assert all(
        type(value) is float
        for value in yaml.safe_load(output.read_text())["/**"]["ros__parameters"]["thermal_homography"]
    ), "ROS 2 takes no list of whole numbers among others"
    picture = cv2.imread(str(tmp_path / "robot.png"))
    assert picture.shape == (4 * SIZE[0], 3 * SIZE[1], 3)
    assert (picture == (0, 0, 255)).all(axis=2)[:, 2 * SIZE[1] :].mean() > 0.02


@pytest.mark.parametrize(
    ("bag", "told"),
    [
        ({"thermal": "/depth/image_raw"}, "no thermal camera found in the bag; name its topic with --thermal"),
        ({"number": 3}, "3 pairs of left"),
        ({"late_s": 60.0}, "the nearest stamps are 59.9 s apart: check that both cameras use the same clock"),
    ],
)
def test_what_a_bag_lacks_is_told(tmp_path: Path, bag: dict[str, object], told: str) -> None:
    result = CliRunner().invoke(
        app,
        [
            "calibrate",
            "thermal",
            str(write(tmp_path / "bag", **bag)),  # type: ignore[arg-type]
            "--output",
            str(tmp_path / "out.yaml"),
        ],
    )
    assert result.exit_code == 1 and told in result.output and not (tmp_path / "out.yaml").exists()
