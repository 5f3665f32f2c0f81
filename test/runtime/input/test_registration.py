from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from derain_ros.rain.scene import Scene, rig
from derain_ros.runtime.input.registration import (
    Homography,
    Lens,
    Lenses,
    RegistrationError,
    Warp,
    places_of,
    pose_of,
)

LEFT, THERMAL = (120, 160), (60, 80)
DISTORTION = [-0.28, 0.07, 0.0002, 0.0003, 0.0]


def info(size: tuple[int, int], focal: float, distortion: Any = (), model: str = "plumb_bob", **other: Any) -> Any:
    """A CameraInfo's fields."""
    height, width = size
    k = [focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1]
    p = [focal, 0, (width - 1) / 2, 0, 0, focal, (height - 1) / 2, 0, 0, 0, 1, 0]
    fields = {
        "height": height,
        "width": width,
        "k": k,
        "d": list(distortion),
        "distortion_model": model,
        "r": np.eye(3).ravel(),
        "p": p,
    } | other
    return SimpleNamespace(**fields)


def lenses(left: Any, thermal: Any, pose: Any = (0,) * 6, distance_m: float = 5.0) -> Lenses:
    return Lenses(Lens.of(left, "left"), Lens.of(thermal, "thermal"), pose_of(pose), distance_m)


def test_a_homography_takes_thermal_pixels_to_left_ones() -> None:
    matrix = np.array([[2.1, 0.05, 7], [-0.03, 1.9, 3], [1e-4, -2e-4, 1]])
    places = places_of(Homography.of(matrix.ravel().tolist()), LEFT, THERMAL)
    assert places.shape == (*LEFT, 2) and places.dtype == np.float32
    for pixel in ((10.0, 20.0), (70.0, 50.0)):
        there = matrix @ (*pixel, 1)
        column, row = there[:2] / there[2]
        seen = (
            cv2.getRectSubPix(places[..., 0], (1, 1), (column, row)),
            cv2.getRectSubPix(places[..., 1], (1, 1), (column, row)),
        )
        assert (seen[0].item(), seen[1].item()) == pytest.approx(pixel, abs=0.02)


def test_what_lies_behind_a_steep_homography_is_nowhere() -> None:
    matrix = np.linalg.inv(np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.2]]))
    places = places_of(Homography.of(matrix.ravel().tolist()), LEFT, THERMAL)
    assert (places[:, 125:] < -1e5).all() and (places[:, :110] >= 0).all()


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([1.0] * 8, "thermal_homography has 8 numbers and needs nine"),
        ([1.0, 0, 0, 2, 0, 0, 0, 0, 1], "cannot be inverted; run `derain calibrate thermal BAG`"),
        ([float("nan")] + [0.0] * 8, "cannot be inverted"),
    ],
)
def test_numbers_that_are_no_homography_are_told(numbers: list[float], told: str) -> None:
    with pytest.raises(RegistrationError, match=told):
        Homography.of(numbers)


def test_a_camera_at_the_same_place_with_another_lens() -> None:
    places = places_of(lenses(info(LEFT, 100), info(THERMAL, 40)), LEFT, THERMAL)
    # A ray through a pixel of the left camera meets the other one as far from its middle as focal lengths have it.
    assert places[59, 79] == pytest.approx((39.5 - 0.5 * 0.4, 29.5 - 0.5 * 0.4), abs=1e-3)
    assert places[59, 129] == pytest.approx((39.5 + 49.5 * 0.4, 29.5 - 0.5 * 0.4), abs=1e-3)


def test_a_camera_beside_sees_what_is_near_further_away() -> None:
    beside = (0.1, 0, 0, 0, 0, 0)
    near, far = (
        places_of(lenses(info(LEFT, 100), info(LEFT, 100), beside, metres), LEFT, LEFT)[60, 80, 0]
        for metres in (2.0, 1000.0)
    )
    assert far == pytest.approx(80, abs=0.02) and near == pytest.approx(80 - 100 * 0.1 / 2, abs=0.02)


def test_roll_pitch_and_yaw_are_about_fixed_axes_as_tf_has_them() -> None:
    x, y, z = 0.2, -0.3, 0.4
    turns = [
        np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]),
        np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]),
        np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]),
    ]
    pose = pose_of((1, 2, 3, x, y, z))
    assert np.allclose(pose[:3, :3], turns[2] @ turns[1] @ turns[0]) and np.allclose(pose[:, 3], (1, 2, 3, 1))
    with pytest.raises(RegistrationError, match="thermal_extrinsic is .1, 2. and must be six numbers"):
        pose_of((1, 2))


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", DISTORTION),
        ("equidistant", [0.02, -0.01, 0.003, 0.0]),
        ("rational_polynomial", [*DISTORTION, 0.01, 0.02, 0.0]),
    ],
)
def test_lenses_that_bend_lines_are_followed(model: str, distortion: list[float]) -> None:
    """Both ways: a point of the scene is where OpenCV projects it, in the left image and in the thermal one."""
    bent = [info(size, focal, distortion, model) for size, focal in ((LEFT, 90), (THERMAL, 50))]
    pose = (0.05, -0.02, 0.01, 0.01, -0.02, 0.03)
    places = places_of(lenses(*bent, pose, 5.0), LEFT, THERMAL)
    points = np.array([[-1.5, -1, 5], [1.8, 1.2, 5], [0.2, 0.1, 5]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    there = (points - pose[:3]) @ pose_of(pose)[:3, :3]
    seen = [
        project(
            each.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), np.array(camera.k).reshape(3, 3), np.array(distortion)
        )[0].reshape(-1, 2)
        for each, camera in zip((points, there), bent, strict=True)
    ]
    for left, thermal in zip(*seen, strict=True):
        found = [cv2.getRectSubPix(places[..., k], (1, 1), left.tolist()).item() for k in range(2)]
        assert found == pytest.approx(thermal, abs=0.05)


def test_rectified_images_are_seen_through_r_and_p() -> None:
    turned = cv2.Rodrigues(np.array([0.0, 0.1, 0.0]))[0]
    left = info(LEFT, 100, DISTORTION, r=turned.ravel())
    found = Lenses(Lens.of(left, "left", rectified=True), Lens.of(info(LEFT, 100), "thermal"), np.eye(4), 5.0)
    places = places_of(found, LEFT, LEFT)
    # R turns what the camera sees into the rectified image.
    ray = turned.T @ (0, 0, 1)
    assert places[59, 79] == pytest.approx((79.5 + 100 * ray[0] / ray[2] - 0.5, 59.5 - 0.5), abs=0.1)


def test_images_of_another_size_than_camera_info_says_are_of_the_same_view() -> None:
    whole = lenses(info(LEFT, 100), info(THERMAL, 40))
    half = places_of(whole, (60, 80), THERMAL)
    assert half[30, 40] == pytest.approx(places_of(whole, LEFT, THERMAL)[60:62, 80:82].mean((0, 1)), abs=0.01)


def test_a_camera_without_a_calibration_is_told() -> None:
    with pytest.raises(RegistrationError, match="camera_info of thermal holds no calibration .K is zero"):
        Lens.of(info(THERMAL, 0.0), "thermal")


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"distortion": [0.1, 0.2], "model": "equidistant"}, "D"),
        ({"distortion": [0.1] * 7}, "D"),
        ({"distortion": [float("nan")] * 5}, "D"),
        ({"k": [100, 0, 80, 0, 100, 60, 0, 0, 0]}, "K"),
        ({"k": [float("inf"), 0, 80, 0, 100, 60, 0, 0, 1]}, "K"),
    ],
)
def test_values_that_no_lens_has_are_told(wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(RegistrationError, match=f"camera_info of left is wrong in {where}: no lens"):
        Lens.of(info(LEFT, 100, **wrong), "left")
    turned = info(LEFT, 100, r=np.full(9, 0.5))
    assert not Lens.of(turned, "left").rectified
    with pytest.raises(RegistrationError, match="wrong in R"):
        Lens.of(turned, "left", rectified=True)


def test_what_looks_elsewhere_is_told() -> None:
    aside = lenses(info(LEFT, 100), info(THERMAL, 40), (0, 0, 0, 0, 2.5, 0))
    with pytest.raises(RegistrationError, match="the thermal image shows 0% of the left view"):
        Warp(aside, LEFT, THERMAL)


def test_images_are_brought_over_and_fade_in_at_their_border() -> None:
    warp = Warp(Homography.of([1.5, 0, 20, 0, 1.5, 10, 0, 0, 1]), LEFT, THERMAL)
    image = np.random.default_rng(0).integers(0, 256, THERMAL, np.uint8)
    shown = warp(image)
    # Every second pixel falls on every third one.
    assert shown.shape == LEFT and np.array_equal(shown[10:98:3, 20:138:3], image[::2, ::2])
    assert warp.inside[:, :19].max() == 0 and warp.inside[60, 80] == 255 and 0 < warp.inside[60, 22] < 255
    assert (shown[:, :19] == shown[:, 19:20]).all()
    before = shown.copy()
    warp.move(3.0, -2.0)
    assert np.array_equal(warp(image)[:-2, 3:], before[2:, :-3])


def test_the_rendered_drive_is_registered_at_its_distance() -> None:
    """What is ten metres ahead in both pictures of the procedural scene lies on itself."""
    cameras = rig(360, 270)
    left, thermal = cameras["left"], cameras["thermal"]
    seen, depth = Scene(7).render(left, 1.0)
    warm = Scene(7).render(thermal, 1.0)[1]
    at = [info((camera.height, camera.width), camera.focal) for camera in (left, thermal)]
    # In the left optical frame the thermal camera is half a baseline to the right and 5 cm up.
    places = places_of(lenses(*at, (left.offset[1], -thermal.offset[2], 0, 0, 0, 0), 10.0), seen.shape, warm.shape)
    there = cv2.remap(warm, places, None, cv2.INTER_NEAREST, borderValue=-1)
    near = (np.abs(depth - 10) < 1) & (there > 0)
    # But for contours, behind which lies something else.
    assert near.sum() > 5000 and np.median(np.abs(there[near] - depth[near])) < 0.1
    off = cv2.remap(warm, places + np.float32(8), None, cv2.INTER_NEAREST, borderValue=-1)
    assert np.median(np.abs(off[near] - depth[near])) > 0.5


def test_a_thermal_image_that_shows_all_of_the_left_view_fades_nowhere() -> None:
    assert Warp(Homography.of([1.0, 0, 0, 0, 1.0, 0, 0, 0, 1]), LEFT, LEFT).inside.min() == 255
