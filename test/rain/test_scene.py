"""The procedural drive: its geometry is checked against its own depth, its pictures against what photographs are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.rain import scene as scenes
from derain_ros.rain.scene import Camera, Scene, pose, rig

SIZE = (360, 270)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(seed=3)


def seen_from(scene: Scene, camera: Camera, seconds: float, other: Camera, later: float) -> tuple[np.ndarray, ...]:
    """What `camera` sees, and the picture of `other` at another time moved there through depth and poses."""
    here, depth = scene.render(camera, seconds)
    there, other_depth = scene.render(other, later)
    (place, turn), (place2, turn2) = pose(seconds), pose(later)
    eye = place - turn[0] * camera.offset[1]
    eye2 = place2 - turn2[0] * other.offset[1]
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    known = np.isfinite(depth)
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.matrix).T
    world = (rays * np.where(known, depth, 1.0)[..., None]) @ turn + eye
    points = (world - eye2) @ turn2.T
    pixels = points @ other.matrix.T
    x, y = (pixels[..., :2] / pixels[..., 2:]).astype(np.float32).transpose(2, 0, 1)
    inside = known & (x > 1) & (x < camera.width - 2) & (y > 1) & (y < camera.height - 2)
    # What is hidden there shows another depth.
    inside &= np.abs(cv2.remap(other_depth, x, y, cv2.INTER_NEAREST) - points[..., 2]) < 0.05 * points[..., 2]
    return here, cv2.remap(there, x, y, cv2.INTER_LINEAR), there, inside


def difference(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float32) - b)[where].mean())


def test_same_seed_same_pictures(scene: Scene) -> None:
    camera = rig(*SIZE)["left"]
    scenes._street.cache_clear()
    again, depth = Scene(seed=3).render(camera, 1.2)
    np.testing.assert_array_equal(again, scene.render(camera, 1.2)[0])
    assert again.dtype == np.uint8 and again.shape == (270, 360)
    assert depth.dtype == np.float32 and depth.shape == again.shape
    other = Scene(seed=4).render(camera, 1.2)[0]
    assert np.abs(again.astype(int) - other).mean() > 10


def test_stereo_pair_fits_depth_and_baseline(scene: Scene) -> None:
    cameras = rig(*SIZE, baseline=0.3)
    left, moved, right, inside = seen_from(scene, cameras["left"], 2.0, cameras["right"], 2.0)
    assert inside.mean() > 0.6
    assert difference(left, moved, inside) < 0.25 * difference(left, right, inside)
    assert difference(left, moved, inside) < 4


def test_frames_fit_depth_and_motion(scene: Scene) -> None:
    camera = rig(*SIZE)["left"]
    now, moved, later, inside = seen_from(scene, camera, 2.0, camera, 2.1)
    assert inside.mean() > 0.4
    assert difference(now, moved, inside) < 0.35 * difference(now, later, inside)


def test_depth_grows_towards_the_horizon_and_ends_in_the_sky(scene: Scene) -> None:
    depth = scene.render(rig(*SIZE)["left"], 2.0)[1]
    road = depth[-60:, 150]
    assert (np.diff(road) < 0).all() and 1.5 < road[-1] < 4.0
    assert np.isinf(depth[0]).any() and np.isfinite(depth[-1]).all()


def test_pictures_are_textured_everywhere(scene: Scene) -> None:
    picture = scene.render(rig(*SIZE)["left"], 3.0)[0].astype(np.float32)
    blocks = picture[:264, :352].reshape(33, 8, 44, 8).std(axis=(1, 3))
    assert np.quantile(blocks, 0.02) > 1.2, "flat areas"
    assert 60 < picture.mean() < 180 and picture.std() > 35
    spectrum = np.abs(np.fft.fft2((picture - picture.mean())[:256, :256])) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256))).ravel()
    rings = [np.log(spectrum.ravel()[(radius > r) & (radius < 1.3 * r)].mean()) for r in (0.02, 0.05, 0.1, 0.2)]
    slope = np.polyfit(np.log([0.02, 0.05, 0.1, 0.2]), rings, 1)[0]
    assert -4.0 < slope < -1.2, "photographs fall with about the square of the frequency"


def test_thermal_shows_what_is_warm(scene: Scene) -> None:
    camera = rig(*SIZE)["thermal"]
    counts, depth = scene.render(camera, 2.0)
    assert counts.dtype == np.uint16 and counts.shape == (camera.height, camera.width) == (120, 160)
    celsius = counts / 100.0 - 273.15
    assert celsius[np.isinf(depth)].mean() < -5.0
    assert 8.0 < np.median(celsius[np.isfinite(depth)]) < 20.0
    assert celsius.max() > 25.0


@pytest.mark.parametrize("size", [(97, 61), (64, 200)])
def test_any_size(scene: Scene, size: tuple[int, int]) -> None:
    picture, depth = scene.render(rig(*size)["right"], 0.0)
    assert picture.shape == depth.shape == size[::-1]
    assert picture.std() > 15
