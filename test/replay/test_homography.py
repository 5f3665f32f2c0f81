"""The homography that is found, on pairs that are warped by a known one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.rain.scene import Scene, rig
from derain_ros.replay.calibrate import told
from derain_ros.replay.homography import Found, HomographyError, ThermalPair, corners, find

TRUE = np.array([[1.35, 0.03, 12.0], [-0.02, 1.32, -6.0], [2e-5, -3e-5, 1.0]])
THERMAL = (192, 256)
DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).parents[2].parent / "shared/data"))


def seen_through(thermal: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What a thermal camera sees that `matrix` takes to the visible one."""
    return cv2.warpPerspective(
        thermal, matrix, THERMAL[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )


def apart(matrix: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of the corners of the thermal image, in pixels of the visible one."""
    height, width = THERMAL
    return float(np.hypot(*(corners(matrix, width, height) - corners(true, width, height)).T).mean())


@pytest.fixture(scope="module")
def drive() -> list[ThermalPair]:
    """Instants of the procedural drive in light and in warmth, by one lens at one place."""
    camera = rig(360, 270)["left"]
    scene = Scene(7)
    pairs = []
    for k in range(8):
        visible = scene.render(camera, 0.6 * k)[0]
        warmth = scene.render(replace(camera, layer="thermal"), 0.6 * k)
        grey = cv2.normalize(warmth[0], None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
        pairs.append((visible, seen_through(grey, TRUE)))
    return pairs


def test_the_homography_of_the_drive_is_found_and_how_sure_it_is_is_told(drive: list[ThermalPair]) -> None:
    found = find(drive)
    assert apart(found.matrix, TRUE) < 3.0
    assert found.matrix[2, 2] == 1 and found.cells > found.of // 2 and found.rms_px < 3 and found.apart_px < 6
    assert np.array_equal(find(drive).matrix, found.matrix), "the same pairs give the same numbers"


def test_images_that_have_nothing_in_common_are_told(drive: list[ThermalPair]) -> None:
    rng = np.random.default_rng(0)
    noise = [(visible, rng.integers(0, 256, THERMAL, np.uint8)) for visible, _ in drive]
    with pytest.raises(HomographyError, match="record some seconds of driving by day|cells of the view disagree"):
        find(noise)


@pytest.mark.skipif(not (DATA / "roadscene_rain").is_dir(), reason="needs shared/data/roadscene_rain")
def test_road_scenes_of_real_cameras_are_registered() -> None:
    pairs = []
    for path in sorted((DATA / "roadscene_rain/train/clean").iterdir())[::8]:
        visible = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        thermal = cv2.imread(str(next((DATA / "roadscene_rain/train/infrared").glob(f"{path.stem}.*"))), 0)
        visible, thermal = (cv2.resize(image, (480, 270), interpolation=cv2.INTER_AREA) for image in (visible, thermal))
        pairs.append((visible, seen_through(thermal, TRUE)))
    # The pairs themselves are aligned to 1.3 pixels.
    assert apart(find(pairs).matrix, TRUE) < 3.0


def test_a_homography_that_is_uncertain_says_so() -> None:
    sure = Found(np.eye(3), 40, 48, 1.0, 4.9)
    assert told(sure).endswith("the corners differ by 4.9 px")
    assert told(replace(sure, apart_px=5.1)).endswith("5.1 px: more than 5 px are too many, record a longer drive")
