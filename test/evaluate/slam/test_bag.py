"""The views of a bag for SLAM: which cameras, rectified how, masked, and the truth at their stamps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.slam.bag import lenses, truth, views
from derain_ros.frame import Frame
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.images import camera_info, header_of, image_of
from derain_ros.replay.topics import choose

MATRIX = np.array([[100.0, 0, 39.5], [0, 100, 29.5], [0, 0, 1]])
STAMPS = [1_000_000_000 + k * 100_000_000 for k in range(4)]
IMAGES = {"left": "/left/image_raw", "right": "/right/image_raw"}


def picture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (15, 20), dtype=np.uint8)
    return cv2.resize(noise, (80, 60), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """Write a stereo bag of four pairs, with masks of the right half and poses 10 m a second ahead."""

    def write(baseline: float = 0.2, distortion: float = 0.0, infos: bool = True) -> Path:
        with BagWriter(tmp_path / "bag") as out:
            for n, stamp_ns in enumerate(STAMPS):
                for k, eye in enumerate(IMAGES):
                    if infos:
                        info = camera_info(out.types, stamp_ns, eye, 80, 60, MATRIX, baseline * k)
                        info.d[0] = distortion
                        out.put(f"/{eye}/camera_info", stamp_ns, info)
                    mask = np.zeros((60, 80), np.uint8)
                    mask[:, 40:] = 255
                    for topic, image in ((IMAGES[eye], picture(2 * n + k)), (f"/derained/{eye}/anomaly_mask", mask)):
                        out.put(topic, stamp_ns, image_of(out.types, Frame(image, "mono8", stamp_ns, eye)))
                make = out.types.types
                pose = make["geometry_msgs/msg/Pose"](
                    position=make["geometry_msgs/msg/Point"](x=10.0 * n, y=1.0, z=0.0),
                    orientation=make["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
                )
                # Between the images: places are interpolated.
                header = header_of(out.types, stamp_ns - 50_000_000, "map")
                out.put("/pose", stamp_ns, make["geometry_msgs/msg/PoseStamped"](header=header, pose=pose))
        return tmp_path / "bag"

    return write


def test_rectified_views_are_taken_as_they_are(write_bag: Callable[..., Path], tmp_path: Path) -> None:
    bag = write_bag()
    with BagReader(bag) as reader:
        camera, maps = lenses(reader, choose(reader.topics))
    assert (camera.focal, *camera.centre, camera.baseline) == pytest.approx((100, 39.5, 29.5, 0.2)) and not maps
    tapes = views(bag, tmp_path / "tapes", IMAGES, maps)
    assert tapes.pairs(0) == [(stamp_ns, n, n) for n, stamp_ns in enumerate(STAMPS)]
    assert all(np.array_equal(tapes.left.images()[n], picture(2 * n)) for n in range(4))
    assert all(np.array_equal(tapes.right.images()[n], picture(2 * n + 1)) for n in range(4))


def test_distorted_views_are_rectified(write_bag: Callable[..., Path], tmp_path: Path) -> None:
    bag = write_bag(distortion=-0.3)
    with BagReader(bag) as reader:
        _, maps = lenses(reader, choose(reader.topics))
    tapes = views(bag, tmp_path / "tapes", IMAGES, maps)
    straight = cv2.undistort(picture(0), MATRIX, np.array([-0.3, 0, 0, 0, 0]))
    assert np.abs(tapes.left.images()[0].astype(int) - straight)[8:-8, 8:-8].mean() < 1.0
    assert np.abs(tapes.left.images()[0].astype(int) - picture(0)).mean() > 5.0


def test_what_is_masked_has_no_detail(write_bag: Callable[..., Path], tmp_path: Path) -> None:
    masks = {eye: f"/derained/{eye}/anomaly_mask" for eye in IMAGES}
    tapes = views(write_bag(), tmp_path / "tapes", IMAGES, {}, masks)
    assert len(tapes.left.stamps_ns) == len(tapes.right.stamps_ns) == 4
    seen = tapes.left.images()[1]
    assert np.array_equal(seen[:, :36], picture(2)[:, :36])
    sharp = picture(2)[:, 44:]
    assert cv2.Laplacian(seen[:, 44:], cv2.CV_64F).std() < 0.4 * cv2.Laplacian(sharp, cv2.CV_64F).std()


def test_the_truth_is_interpolated_at_the_stamps(write_bag: Callable[..., Path]) -> None:
    with BagReader(write_bag()) as reader:
        topic, places = truth(reader, "", STAMPS)
        assert topic == "/pose" and places is not None
        assert np.allclose(places[:3], [[5, 1, 0], [15, 1, 0], [25, 1, 0]]) and np.isnan(places[3]).all()
        assert truth(reader, "none", STAMPS) == ("", None)
        with pytest.raises(EvaluationError, match="/left/image_raw: has no poses; .*: /pose"):
            truth(reader, "/left/image_raw", STAMPS)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"baseline": 0.0}, "has no baseline"),
        ({"infos": False}, "without camera_info: left, right"),
    ],
)
def test_cameras_that_are_no_stereo_are_told(write_bag: Callable[..., Path], how: dict, told: str) -> None:
    with BagReader(write_bag(**how)) as reader, pytest.raises(EvaluationError, match=told):
        lenses(reader, choose(reader.topics))
