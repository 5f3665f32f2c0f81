"""Collects what the registration of the thermal camera needs: parameters, camera_info, transforms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from derain_ros.config import Config
from derain_ros.runtime.input.registration import (
    Homography,
    Lens,
    Lenses,
    Registration,
    RegistrationError,
    pose_of,
)

MEND = "; give thermal_homography, which `derain calibrate thermal BAG` finds, or thermal_extrinsic"


class Geometry:
    """Where the thermal camera is and what both lenses are like, as far as that is known. Thread-safe.

    `fault` says what is wrong with the parameters, or that the pose must come from /tf_static. It is empty where the
    parameters suffice.
    """

    def __init__(self, config: Config) -> None:
        self._distance_m = config.thermal_distance
        self._lenses: dict[str, Lens] = {}
        self._told: dict[str, tuple[Any, ...]] = {}
        self._faults: dict[str, str] = {}
        self._transforms: dict[str, tuple[str, np.ndarray]] = {}
        self._made: tuple[object, Lenses] | None = None
        self._homography: Homography | None = None
        self._pose: np.ndarray | None = None
        self.fault = ""
        self._wrong = False
        try:
            if any(config.thermal_homography):
                self._homography = Homography.of(config.thermal_homography)
            elif any(config.thermal_extrinsic):
                self._pose = pose_of(config.thermal_extrinsic)
            else:
                self.fault = f"the thermal camera's pose must be on /tf_static{MEND}"
        except RegistrationError as error:
            self.fault, self._wrong = str(error), True

    @property
    def needs_info(self) -> bool:
        """Whether camera_info is needed."""
        return self._homography is None and not self._wrong

    @property
    def needs_transform(self) -> bool:
        """Whether transforms are needed."""
        return self.needs_info and self._pose is None

    def take_info(self, camera: str, info: Any, rectified: bool = False) -> None:
        """Store a sensor_msgs/CameraInfo of `left` or `thermal`; `rectified` says whether its images are rectified."""
        told = (info.width, info.height, info.distortion_model, *map(tuple, (info.k, info.d, info.r, info.p)))
        if self._told.get(camera) == told:
            return
        self._told[camera] = told
        try:
            self._lenses[camera] = Lens.of(info, camera, rectified)
            self._faults.pop(camera, None)
        except (RegistrationError, ValueError) as error:
            self._lenses.pop(camera, None)
            self._faults[camera] = str(error)

    def take_transforms(self, transforms: Iterable[Any]) -> None:
        """Store static transforms (geometry_msgs/TransformStamped)."""
        for each in transforms:
            move, turn = each.transform.translation, each.transform.rotation
            pose = np.eye(4)
            pose[:3, :3] = _rotation(turn.x, turn.y, turn.z, turn.w)
            pose[:3, 3] = move.x, move.y, move.z
            self._transforms = {
                **self._transforms,
                each.child_frame_id.lstrip("/"): (each.header.frame_id.lstrip("/"), pose),
            }

    def registration(self, left: str, thermal: str) -> Registration:
        """The registration of the cameras with these frame ids. RegistrationError says what is wrong or missing."""
        if self._wrong:
            raise RegistrationError(self.fault)
        if self._homography is not None:
            return self._homography
        pose = self._pose if self._pose is not None else self._between(left.lstrip("/"), thermal.lstrip("/"))
        lenses = dict(self._lenses)
        for camera in ("left", "thermal"):
            if camera not in lenses:
                raise RegistrationError(
                    self._faults.get(camera)
                    or f"no camera_info of the {camera} camera has come; "
                    "publish it, or give thermal_homography, which needs none"
                )
        key = lenses["left"], lenses["thermal"], pose.tobytes()
        if self._made is None or self._made[0] != key:
            self._made = key, Lenses(lenses["left"], lenses["thermal"], pose, self._distance_m)
        return self._made[1]

    def _between(self, left: str, thermal: str) -> np.ndarray:
        """The pose of the thermal camera's frame in the left camera's frame."""
        transforms = self._transforms
        roots = []
        for frame in (left, thermal):
            chain, pose = [frame], np.eye(4)
            while chain[-1] in transforms and len(chain) <= len(transforms):
                parent, step = transforms[chain[-1]]
                pose = step @ pose
                chain.append(parent)
            roots.append((chain[-1], pose))
        if roots[0][0] != roots[1][0]:
            raise RegistrationError(f"/tf_static does not link {thermal!r} to {left!r}{MEND}")
        return np.linalg.inv(roots[0][1]) @ roots[1][1]


def is_rectified(topic: str) -> bool:
    """Whether a topic's images are rectified: image_proc writes `rect` in the last part of the topic's name."""
    return "rect" in topic.removesuffix("/compressed").rpartition("/")[2]


def _rotation(x: float, y: float, z: float, w: float) -> np.ndarray:
    """The (3, 3) rotation of a quaternion."""
    axis = np.array((x, y, z))
    length = float(np.linalg.norm(axis))
    angle = 2 * np.arctan2(length, w)
    return cv2.Rodrigues(axis / length * angle if length > 1e-12 else np.zeros(3))[0]
