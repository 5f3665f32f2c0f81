"""Reads a bag for ORB-SLAM3: grey stereo views, rectified if they are raw, and the ground truth if it was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.slam.run import Stereo, Tapes
from derain_ros.evaluate.slam.study import without_detail
from derain_ros.replay.bag import BagReader
from derain_ros.replay.records import ReplayError
from derain_ros.replay.topics import NONE, Cameras
from derain_ros.runtime.input.encoding import FrameError, to_grey
from derain_ros.runtime.input.geometry import is_rectified
from derain_ros.runtime.input.messages import ImageError, frame_of
from derain_ros.runtime.input.registration import Lens, RegistrationError

POSES = {
    "geometry_msgs/msg/PoseStamped": ("pose", "position"),
    "geometry_msgs/msg/PoseWithCovarianceStamped": ("pose", "pose", "position"),
    "geometry_msgs/msg/TransformStamped": ("transform", "translation"),
    "nav_msgs/msg/Odometry": ("pose", "pose", "position"),
}
"""Message types that state the robot's position, and the path of its field."""
WAITING = 50
"""Largest number of images that wait for their masks."""
Maps = tuple[np.ndarray, np.ndarray]
"""For each pixel of a rectified image its column and row in the raw image."""


def lenses(reader: BagReader, cameras: Cameras) -> tuple[Stereo, dict[str, Maps]]:
    """Return the rectified stereo camera of a bag, and by name the maps of the cameras whose images are not rectified.

    Raises EvaluationError unless there are two calibrated cameras, one beside the other.
    """
    names = list(cameras.images)
    lacking = [name for name in names if name not in cameras.info]
    if len(names) != 2 or lacking:
        raise EvaluationError(
            f"{reader.path}: SLAM needs two cameras with camera_info, but the bag has {', '.join(names)}"
            + (f", without camera_info: {', '.join(lacking)}" if lacking else "")
        )
    wanted = {cameras.info[name]: name for name in names}
    infos: dict[str, Any] = {}
    for message in reader.messages():
        if message.topic in wanted:
            infos.setdefault(wanted[message.topic], reader.decode(message))
        if len(infos) == len(names):
            break
    else:
        raise EvaluationError(f"{reader.path}: camera_info of {' and '.join(set(names) - set(infos))} has no messages")
    maps, found = {}, {}
    for name in names:
        try:
            found[name] = Lens.of(infos[name], name)
        except RegistrationError as error:
            raise EvaluationError(f"{reader.path}: {error}") from error
        if not is_rectified(cameras.images[name].name) and not _is_flat(found[name]):
            maps[name] = _maps(found[name])
    left = found[names[0]].projection
    right = np.array(infos[names[1]].p, float).reshape(3, 4)
    if left[0, 0] <= 0 or right[0, 3] >= 0:
        raise EvaluationError(
            f"{reader.path}: camera_info of {names[1]} has no baseline (the fourth number of P is {right[0, 3]:g}, "
            "but must be below 0): calibrate both cameras together"
        )
    return Stereo(float(left[0, 0]), (float(left[0, 2]), float(left[1, 2])), float(-right[0, 3] / right[0, 0])), maps


def views(
    bag: Path, folder: Path, images: Mapping[str, str], maps: Mapping[str, Maps], masks: Mapping[str, str] | None = None
) -> Tapes:
    """Write the rectified views of two cameras of a bag to tapes in the new `folder`.

    `images` are topics by camera, the left one first. With `masks`, also topics by camera, the pixels under the mask
    have no detail. Images that cannot be read are left out.
    """
    tapes = Tapes.in_folder(folder)
    of_camera = dict(zip(images, (tapes.left, tapes.right), strict=True))
    camera_of = {topic: (camera, 0) for camera, topic in images.items()}
    camera_of |= {topic: (camera, 1) for camera, topic in (masks or {}).items()}
    waiting: dict[tuple[str, int], dict[int, np.ndarray]] = {}
    with BagReader(bag) as reader:
        for message in reader.messages():
            if message.topic not in camera_of:
                continue
            try:
                frame = frame_of(reader.decode(message))
                image = to_grey(frame)
            except (ImageError, ReplayError, FrameError):
                continue
            camera, part = camera_of[message.topic]
            key = camera, frame.stamp_ns
            if masks is not None:
                parts = waiting.setdefault(key, {})
                parts[part] = image
                if len(parts) < 2:
                    while len(waiting) > WAITING:
                        del waiting[next(iter(waiting))]
                    continue
                image = without_detail(parts[0], parts[1])
                del waiting[key]
            if camera in maps:
                image = cv2.remap(image, *maps[camera], cv2.INTER_LINEAR)
            of_camera[camera].add(image, frame.stamp_ns)
    return tapes


def truth(reader: BagReader, topic: str, stamps_ns: Sequence[int]) -> tuple[str, np.ndarray | None]:
    """Return the topic with the ground truth, and the positions (N, 3) in metres at `stamps_ns`.

    Positions are interpolated, and NaN outside of the recorded time. Without a `topic` the first one by name with a
    type of POSES is taken. Returns an empty name and None if there is no such topic, or `topic` is NONE. Raises
    EvaluationError if the named topic is missing, empty or of another type.
    """
    known = sorted(name for name, of in reader.topics.items() if of.msgtype in POSES and of.count)
    if topic == NONE or not (topic or known):
        return "", None
    if topic and topic not in known:
        raise EvaluationError(
            f"{topic}: has no poses; topics of {', '.join(POSES)} in the bag: {', '.join(known) or 'none'}"
        )
    chosen = topic or known[0]
    times, places = [], []
    for message in reader.messages():
        if message.topic == chosen:
            value = reader.decode(message)
            stamp = value.header.stamp
            for part in POSES[reader.topics[chosen].msgtype]:
                value = getattr(value, part)
            times.append(stamp.sec * 1_000_000_000 + stamp.nanosec)
            places.append((value.x, value.y, value.z))
    if not times:
        return "", None
    order = np.argsort(times, kind="stable")
    # A double does not hold nanoseconds since 1970 exactly, but those since the first stamp.
    when, at = np.array(times)[order] - times[order[0]], np.array(places, float)[order]
    asked = np.array(stamps_ns) - times[order[0]]
    return chosen, np.stack([np.interp(asked, when, at[:, k], np.nan, np.nan) for k in range(3)], axis=1)


def _is_flat(lens: Lens) -> bool:
    """Whether raw images of this lens are rectified already."""
    return (
        not lens.distortion.any()
        and np.allclose(lens.rotation, np.eye(3))
        and np.allclose(lens.matrix, lens.projection, rtol=1e-6)
    )


def _maps(lens: Lens) -> Maps:
    size = lens.size[1], lens.size[0]
    if lens.fisheye:
        found = cv2.fisheye.initUndistortRectifyMap(
            lens.matrix, lens.distortion[:4], lens.rotation, lens.projection, size, cv2.CV_32FC1
        )
    else:
        found = cv2.initUndistortRectifyMap(
            lens.matrix, lens.distortion, lens.rotation, lens.projection, size, cv2.CV_32FC1
        )
    return np.asarray(found[0]), np.asarray(found[1])
