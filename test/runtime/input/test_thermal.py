from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.runtime.input.geometry import Geometry
from derain_ros.runtime.input.registration import Lenses, RegistrationError
from derain_ros.runtime.input.thermal import LOOK_NS, Thermal

SECOND = 1_000_000_000
SIZE = (240, 320)
SAME = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
LEFT = Frame(np.zeros(SIZE, np.uint8), frame_id="left")


def scene(number: int) -> np.ndarray:
    """Rectangles of all greys, another set for each number."""
    rng = np.random.default_rng(number)
    image = np.full(SIZE, 120, np.uint8)
    for _ in range(40):
        x, y, w, h = (int(value) for value in rng.integers((0, 0, 15, 15), (310, 230, 80, 80)))
        cv2.rectangle(image, (x, y), (x + w, y + h), int(rng.integers(20, 240)), -1)
    return cv2.GaussianBlur(image, (0, 0), 1.2)


def moved(image: np.ndarray, columns: float) -> np.ndarray:
    """The negative of an image, so many pixels too far to the left: the thermal camera was knocked."""
    shift = np.array([[1, 0, -columns], [0, 1, 0]], np.float32)
    return 255 - cv2.warpAffine(image, shift, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)


def thermal(**settings: Any) -> Thermal:
    return Thermal(Config.from_mapping({"thermal": True, "thermal_homography": SAME} | settings))


def watch(camera: Thermal, columns: float, first: int, number: int = 12) -> list[str]:
    """What is said of so many instants, a look apart."""
    return [
        camera.look(Frame(moved(scene(k), columns)), LEFT, scene(k)[..., None], k * LOOK_NS)
        for k in range(first, first + number)
    ]


@pytest.mark.parametrize("columns", [0, 1, 2, 3, 4])
def test_what_is_a_little_off_is_moved_to_where_it_belongs(columns: int) -> None:
    camera = thermal()
    assert set(watch(camera, columns, 1)) == {""}
    apart = np.abs(camera.shown.astype(int) - (255 - scene(12)))[20:-20, 20:-20]
    unmoved = np.abs(moved(scene(12), columns).astype(int) - (255 - scene(12)))[20:-20, 20:-20]
    assert apart.mean() < 0.5 + 0.3 * unmoved.mean()


def test_further_off_it_is_not_fused_and_comes_back_by_itself() -> None:
    camera = thermal()
    assert watch(camera, 8, 1)[-1] == "thermal and left image are 8 px apart, more than 5; calibrate again"
    back = watch(camera, 0, 20)
    assert back[0] != "" and back[-1] == ""


def test_contours_that_have_nothing_in_common_move_nothing() -> None:
    camera = thermal()
    said = [camera.look(Frame(moved(scene(100 + k), 0)), LEFT, scene(k)[..., None], k * LOOK_NS) for k in range(1, 20)]
    assert set(said) == {""}
    flat = np.full((*SIZE, 3), 80, np.uint8)
    assert {camera.look(Frame(moved(scene(k), 0)), LEFT, flat, k * LOOK_NS) for k in range(20, 40)} == {""}
    assert np.array_equal(camera.shown, moved(scene(39), 0))


def test_the_range_of_sixteen_bits_is_steady_and_leaves_hot_pixels_out() -> None:
    camera = thermal()
    rng = np.random.default_rng(0)
    shown = []
    for k in range(1, 30):
        kelvin = (29_000 + 4 * (255 - scene(3).astype(np.uint16)) + rng.integers(0, 8, SIZE)).astype(np.uint16)
        kelvin[rng.integers(0, 240, 20), rng.integers(0, 320, 20)] = 65_535
        assert camera.look(Frame(kelvin, "mono16"), LEFT, scene(3)[..., None], k * 100_000_000) == ""
        shown.append(float(camera.shown.mean()))
    assert np.ptp(shown) < 3
    inner = camera.shown[40:-40, 40:-40].astype(float)
    assert np.corrcoef(inner.ravel(), 255.0 - scene(3)[40:-40, 40:-40].ravel())[0, 1] > 0.97 and np.ptp(inner) > 120


def test_the_same_frame_may_serve_several_sets_but_not_the_same_image_for_long() -> None:
    camera = thermal()
    frame = Frame(moved(scene(1), 0))
    assert {camera.look(frame, LEFT, scene(1)[..., None], SECOND + k * 100_000_000) for k in range(20)} == {""}
    again = [
        camera.look(Frame(frame.image.copy()), LEFT, scene(1)[..., None], 4 * SECOND + k * 100_000_000)
        for k in range(2)
    ]
    assert again[-1] == "the thermal image has been the same for 3.1 s"


def transform(parent: str, child: str, move: tuple[float, ...], turn: tuple[float, ...] = (0, 0, 0, 1)) -> Any:
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(**dict(zip("xyz", move, strict=True))),
            rotation=SimpleNamespace(**dict(zip("xyzw", turn, strict=True))),
        ),
    )


def info(focal: float) -> Any:
    return SimpleNamespace(
        width=320,
        height=240,
        k=[focal, 0, 160, 0, focal, 120, 0, 0, 1],
        d=[0.0] * 5,
        r=np.eye(3).ravel(),
        p=[focal, 0, 160, 0, 0, focal, 120, 0, 0, 0, 1, 0],
        distortion_model="plumb_bob",
    )


def test_transforms_that_stay_are_followed_through_the_robot() -> None:
    geometry = Geometry(Config(thermal=True))
    assert geometry.needs_info and geometry.needs_transform and "must be on /tf_static" in geometry.fault
    with pytest.raises(RegistrationError, match="/tf_static does not link 'warm' to 'left'; give thermal_homography"):
        geometry.registration("left", "/warm")
    # The body looks along x; optical frames are turned: z ahead, x right.
    optical = (-0.5, 0.5, -0.5, 0.5)
    geometry.take_transforms(
        [transform("base", "/mast", (0, 0, 1.0)), transform("mast", "left", (0.2, 0.05, 0), optical)]
    )
    geometry.take_transforms([transform("mast", "warm", (0.2, -0.05, 0.1), optical)])
    with pytest.raises(RegistrationError, match="no camera_info of the left camera has come"):
        geometry.registration("left", "warm")
    for camera in ("left", "thermal"):
        geometry.take_info(camera, info(200.0))
    found = geometry.registration("left", "warm")
    assert isinstance(found, Lenses) and np.allclose(found.pose[:3, 3], (0.1, -0.1, 0))
    assert np.allclose(found.pose[:3, :3], np.eye(3)) and geometry.registration("left", "warm") is found
    geometry.take_info("left", info(200.0))
    assert geometry.registration("left", "warm") is found, "the same camera_info changes nothing"
    geometry.take_info("thermal", info(0.0))
    with pytest.raises(RegistrationError, match="camera_info of thermal holds no calibration"):
        geometry.registration("left", "warm")


def test_a_turned_mount_is_turned_back() -> None:
    geometry = Geometry(Config(thermal=True))
    half = float(np.sqrt(0.5))
    geometry.take_transforms([transform("left", "warm", (0, 0, 0), (0, 0, half, half))])
    pose = geometry._between("left", "warm")
    assert np.allclose(pose[:3, :3] @ (1, 0, 0), (0, 1, 0))
