"""Real images through the live node with the shipped models: nothing is lost, rain is seen, and it gets better."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from ros_bench import Bench, at_ms, image_message, pixels_of, wait_for

from derain_ros.frame import Frame
from derain_ros.manifest import Manifest, ManifestError
from derain_ros.rain.drops import LensDrops

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
KITTI = DATA / "kitti_stereo" / "sequence_1"
REAL = DATA / "raindrop_real" / "train"
PHOTOGRAPHS = DATA / "raindrop_real" / "inputs"
HELD_OUT = ("2400_", "7200_", "12000_")
"""Frames of the real pairs kept out of every training."""
START_MS = 1_000_000
PERIOD_MS = 1000
"""Slow enough for the shipped restorers to keep up with on any machine: each set is sent when the last is out."""
AS_SHIPPED = {"models": "", "on_hold_s": 0.2, "off_hold_s": 1.0}
SEEN = 0.9
"""Share of frames that the detector must judge rightly, each by itself."""

Start = Callable[..., Bench]


def unusable() -> str:
    """Why the shipped models cannot be used; empty where they can."""
    try:
        manifest = Manifest.load()
        for name in ("detect", "restore_mono", "restore_rgb"):
            manifest.verify(manifest.get(name))
    except ManifestError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(unusable()), reason=f"the shipped models cannot be used: {unusable()}")


def needs(folder: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not folder.is_dir(), reason=f"no data at {folder}; set DERAIN_DATA to the data folder")


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return cv2.PSNR(np.ascontiguousarray(image), np.ascontiguousarray(truth))


def judged(bench: Bench, camera: str, kinds: Callable[[str], bool]) -> float:
    """The share of a camera's frames whose kind of anomaly satisfies `kinds`."""
    found = [
        value.value
        for message in bench.got["/derain/status"]
        for status in message.status
        if status.name == camera
        for value in status.values
        if value.key == "kind"
    ]
    return sum(map(kinds, found)) / len(found)


def assert_accounted_for(bench: Bench, camera: str, sent: int) -> None:
    """All that was sent came out, each frame once and in order."""
    counts = bench.counts(camera)
    assert counts["received"] == counts["published"] == sent, counts
    stamps = [at_ms(image) for image in bench.wait_images(camera, sent)]
    assert stamps == [START_MS + k * PERIOD_MS for k in range(sent)]


@needs(KITTI)
def test_a_stereo_drive_with_drops_on_the_left_lens(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed: pip install '.[replay]'")
    dry = {
        camera: [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted((KITTI / folder).iterdir())]
        for camera, folder in (("left", "image_l"), ("right", "image_r"))
    }
    drops = LensDrops(*dry["left"][0].shape, np.random.default_rng(9), 0.25)
    wet = [drops.apply(image)[0] for image in dry["left"]]
    bag = write_bag(tmp_path / "kitti", {"left": wet, "right": dry["right"]})

    bench = start(**AS_SHIPPED).ready()
    infos = play(bench, bag)

    for camera in bench.cameras:
        assert_accounted_for(bench, camera, len(wet))
        assert (
            wait_for(lambda c=camera: len(bench.camera_infos(c)) == len(wet) and bench.camera_infos(c), "camera_info")
            == infos[camera]
        )
    assert judged(bench, "left", lambda kind: kind != "clean") >= SEEN
    assert judged(bench, "right", lambda kind: kind == "clean") >= SEEN
    assert bench.got["/derain/anomaly"][-1].data is True
    restored = [pixels_of(image) for image in bench.restored("left")]
    gains = [
        psnr(after, truth) - psnr(before, truth)
        for after, before, truth in zip(restored, wet, dry["left"], strict=True)
    ]
    assert np.mean(gains) > 0.5 and np.mean(np.array(gains) > 0) >= SEEN
    # The dry eye goes the same way, and is hardly touched.
    kept = [psnr(pixels_of(image), truth) for image, truth in zip(bench.restored("right"), dry["right"], strict=True)]
    assert np.mean(kept) >= 33


def held_out(folder: str) -> list[np.ndarray]:
    """Real crops that no shipped model was trained on, bgr8."""
    return [cv2.imread(str(path)) for path in sorted((REAL / folder).iterdir()) if path.name.startswith(HELD_OUT)]


@needs(REAL)
def test_real_drops_are_seen_and_restored(start: Start) -> None:
    wet, dry = held_out("rain"), held_out("clean")
    bench = start(cameras=["front"], **AS_SHIPPED).ready()
    stream(bench, wet)
    assert_accounted_for(bench, "front", len(wet))
    assert judged(bench, "front", lambda kind: kind != "clean") >= SEEN
    restored = [pixels_of(image) for image in bench.restored("front")]
    gains = [psnr(after, truth) - psnr(before, truth) for after, before, truth in zip(restored, wet, dry, strict=True)]
    assert np.mean(gains) > 3.0 and np.mean(np.array(gains) > 0) >= SEEN


@needs(REAL)
def test_a_real_dry_lens_is_left_alone(start: Start) -> None:
    dry = held_out("clean")
    bench = start(cameras=["front"], **AS_SHIPPED).ready()
    stream(bench, dry)
    assert_accounted_for(bench, "front", len(dry))
    assert judged(bench, "front", lambda kind: kind == "clean") >= SEEN


@needs(PHOTOGRAPHS)
def test_photographs_through_wet_glass_are_seen(start: Start) -> None:
    photographs = [cv2.imread(str(path)) for path in sorted(PHOTOGRAPHS.iterdir())]
    bench = start(cameras=["front"], **AS_SHIPPED).ready()
    stream(bench, photographs)
    assert_accounted_for(bench, "front", len(photographs))
    # Half of them show many small sharp drops, which are a pixel or two at the detector's size: its card says so.
    assert judged(bench, "front", lambda kind: kind != "clean") >= 0.5


def stream(bench: Bench, images: list[np.ndarray]) -> None:
    """Send images of one camera, each when the one before has come out."""
    for k, image in enumerate(images):
        bench.send("front", image_message(image, "bgr8", START_MS + k * PERIOD_MS))
        bench.wait_images("front", k + 1)
        bench.wait_status(START_MS + k * PERIOD_MS)


def write_bag(path: Path, images: dict[str, list[np.ndarray]]) -> Path:
    """A bag of grey cameras with the camera_info of KITTI."""
    from derain_ros.replay.bag import BagWriter
    from derain_ros.replay.images import camera_info, image_of

    projections = np.loadtxt(KITTI / "calib.txt").reshape(-1, 3, 4)
    with BagWriter(path) as writer:
        for k in range(len(images["left"])):
            stamp = (START_MS + k * PERIOD_MS) * 1_000_000
            for (camera, sequence), projection in zip(images.items(), projections, strict=True):
                image, frame_id = sequence[k], f"{camera}_optical"
                info = camera_info(
                    writer.types,
                    stamp,
                    frame_id,
                    image.shape[1],
                    image.shape[0],
                    projection[:, :3],
                    -projection[0, 3] / projection[0, 0],
                )
                frame = Frame(image, "mono8", stamp, frame_id)
                writer.put(f"/{camera}/camera_info", stamp, info)
                writer.put(f"/{camera}/image_raw", stamp, image_of(writer.types, frame))
    return path


def play(bench: Bench, bag: Path) -> dict[str, list[object]]:
    """Publish a bag as it is, a pair when the one before has come out; returns the camera_info sent."""
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import CameraInfo

    from derain_ros.replay.bag import BagReader

    infos: dict[str, list[object]] = {camera: [] for camera in bench.cameras}
    with BagReader(bag) as reader:
        for message in reader.messages():
            _, camera, kind = message.topic.split("/")
            if kind == "camera_info":
                infos[camera].append(deserialize_message(message.data, CameraInfo))
                bench.infos[camera].publish(message.data)
            else:
                bench.send(camera, message.data)
                if camera == bench.cameras[-1]:
                    bench.wait_status(message.stamp_ns / 1e6)
    return infos
