"""Small bags."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from derain_ros.frame import Frame
from derain_ros.replay.images import camera_info, header_of, image_of

TYPES = get_typestore(Stores.ROS2_JAZZY)
PERIOD_NS = 50_000_000
START_NS = 1_000_000_000_000

# Modules beside the tests, here and one folder above.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


def picture(index: int, level: int = 60, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A grey picture of this mean level, another one for each index."""
    noise = np.random.default_rng(index).integers(-20, 21, size[::-1])
    return (level + noise - noise.mean()).clip(0, 255).astype(np.uint8)


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """Write a bag with two cameras, their camera_info and a text topic; returns its directory."""

    def write(
        name: str = "bag",
        frames: int = 10,
        storage: str = "mcap",
        compressed: bool = False,
        wet: range = range(0),
        cameras: tuple[str, ...] = ("/left/image_raw", "/right/image_raw"),
        size: tuple[int, int] = (64, 48),
    ) -> Path:
        path = tmp_path / name
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        with Writer(path, version=9, storage_plugin=plugin) as writer:
            kind = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
            images = [
                writer.add_connection(topic + ("/compressed" if compressed else ""), kind, typestore=TYPES)
                for topic in cameras
            ]
            infos = [
                writer.add_connection(
                    topic.rpartition("/")[0] + "/camera_info", "sensor_msgs/msg/CameraInfo", typestore=TYPES
                )
                for topic in cameras
            ]
            text = writer.add_connection("/notes", "std_msgs/msg/String", typestore=TYPES)

            def put(connection: object, stamp: int, message: object) -> None:
                writer.write(connection, stamp, TYPES.serialize_cdr(message, connection.msgtype))

            for k in range(frames):
                stamp = START_NS + k * PERIOD_NS
                image = picture(k, 190 if k in wet else 60, size)
                for number, (images_to, info_to) in enumerate(zip(images, infos, strict=True)):
                    if compressed:
                        jpeg = cv2.imencode(".png", image)[1].ravel()
                        message = TYPES.types[kind](
                            header=header_of(TYPES, stamp, f"eye{number}"), format="png", data=jpeg
                        )
                    else:
                        message = image_of(TYPES, Frame(image, "mono8", stamp, f"eye{number}"))
                    put(info_to, stamp, camera_info(TYPES, stamp, f"eye{number}", *size, np.eye(3)))
                    put(images_to, stamp + number, message)
                put(text, stamp + 5, TYPES.types["std_msgs/msg/String"](data=f"note {k}"))
        return path

    return write
