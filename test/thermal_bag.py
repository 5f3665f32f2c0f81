"""A small bag with a thermal camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from derain_ros.frame import Frame
from derain_ros.replay.bag import BagWriter
from derain_ros.replay.images import camera_info, header_of, image_of

TYPES = get_typestore(Stores.ROS2_JAZZY)
SIZE, FOCAL = (96, 128), 100.0
MATRIX = np.array([[FOCAL, 0, 63.5], [0, FOCAL, 47.5], [0, 0, 1]])
HALF = np.array([[FOCAL / 2, 0, 31.5], [0, FOCAL / 2, 23.5], [0, 0, 1]])


def write_thermal_bag(
    path: Path, static: bool = True, infos: bool = True, frames: int = 12, start_ns: int = 10**9
) -> Path:
    """A stereo pair and a thermal camera of half the size that sends every second time, 0.2 m right of the left one,
    which /tf_static says at 1 ns; 5 m ahead that is 4 pixels."""
    make = TYPES.types
    with BagWriter(path) as out:
        if static:
            transforms = [
                make["geometry_msgs/msg/TransformStamped"](
                    header=header_of(TYPES, 0, "mast"),
                    child_frame_id=child,
                    transform=make["geometry_msgs/msg/Transform"](
                        translation=make["geometry_msgs/msg/Vector3"](x=x, y=0.0, z=0.0),
                        rotation=make["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
                    ),
                )
                for child, x in (("eye", 0.1), ("warm", 0.3))
            ]
            out.put("/tf_static", 1, make["tf2_msgs/msg/TFMessage"](transforms=transforms))
        rng = np.random.default_rng(1)
        scene = np.kron(rng.integers(40, 80, (12, 16)), np.ones((8, 8))).astype(np.uint8)
        for k in range(frames):
            stamp = start_ns + k * 50_000_000
            for camera in ("left", "right"):
                if infos:
                    out.put(f"/{camera}/camera_info", stamp, camera_info(TYPES, stamp, "eye", 128, 96, MATRIX))
                out.put(f"/{camera}/image_raw", stamp, image_of(TYPES, Frame(scene, "mono8", stamp, "eye")))
            if k % 2 == 0:
                # What is 5 m ahead is 0.2 m further left for the thermal camera.
                seen = cv2.warpAffine(scene, np.float32([[1, 0, -4], [0, 1, 0]]), SIZE[::-1])
                heat = 29_000 + 20 * cv2.resize(seen, (64, 48), interpolation=cv2.INTER_AREA).astype(np.uint16)
                heat[20:28, 26:38] = 29_000 + 20 * 230
                heat += rng.integers(0, 9, heat.shape, np.uint16)
                out.put("/thermal/camera_info", stamp, camera_info(TYPES, stamp, "warm", 64, 48, HALF))
                out.put("/thermal/image_raw", stamp, image_of(TYPES, Frame(heat, "mono16", stamp, "warm")))
    return path
