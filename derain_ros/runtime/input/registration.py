"""Maps the thermal camera's image into the left camera's view: lens, size and place of the two differ.

Both kinds of registration give the place in the thermal image of every pixel of the left one. A homography comes from
`derain calibrate thermal`. Lenses and the pose of the thermal camera hold for one distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

LEAST_COVERED = 0.05
"""Share of the left view that the thermal image must cover: less means that the numbers are wrong."""
FEATHER = 32.0
"""Pixels from the border of the thermal image inwards, over which it fades in."""
GRID = 8
"""Spacing in pixels of the places that are computed. To compute all of them would make frames late."""
NOWHERE = -1e6
"""Place in the thermal image of what that camera does not see: it is behind it, or far outside its view."""
FISHEYE = ("equidistant", "fisheye")
"""Distortion models of camera_info that OpenCV calls fisheye."""
LENGTHS, FISHEYE_LENGTHS = (0, 4, 5, 8, 12, 14), (4, 5, 8, 12, 14)
"""Numbers of distortion coefficients that OpenCV takes; of a fisheye the first four count."""
MOST = 1e6
"""No value of a calibration in pixels, metres or coefficients is as large."""

Size = tuple[int, int]
"""Height and width."""


class RegistrationError(ValueError):
    """The thermal camera cannot be registered; the message says what is wrong or missing, and how to fix it."""


class Registration(Protocol):
    """Where the left camera's pixels are in the thermal image."""

    def find(self, pixels: np.ndarray, left: Size, thermal: Size) -> np.ndarray:
        """Columns and rows (N, 2) in thermal images of size `thermal` of `pixels`, (N, 1, 2) float64 columns and rows
        in left images of size `left`. Far outside the thermal image where it does not show them."""


@dataclass(frozen=True, eq=False)
class Homography:
    """`matrix` (3, 3) maps thermal pixels to left pixels, for images of the sizes that it was found with."""

    matrix: np.ndarray

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Homography:
        """The homography of nine numbers, row by row. RegistrationError where they do not make one."""
        mend = "; run `derain calibrate thermal BAG`, which writes it"
        if len(numbers) != 9:
            raise RegistrationError(f"thermal_homography has {len(numbers)} numbers and needs nine, row by row{mend}")
        matrix = np.array(numbers, np.float64).reshape(3, 3)
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix / max(np.abs(matrix).max(), 1e-12))) < 1e-12:
            raise RegistrationError(f"thermal_homography {list(numbers)} cannot be inverted{mend}")
        return cls(matrix)

    def find(self, pixels: np.ndarray, left: Size, thermal: Size) -> np.ndarray:
        """See `Registration.find`."""
        back = np.linalg.inv(self.matrix)
        back = back * np.sign(back[2] @ (left[1] / 2, left[0] / 2, 1.0))
        column, row, depth = np.moveaxis(cv2.transform(pixels, back)[:, 0], -1, 0)
        ahead = np.maximum(depth, 1e-9)
        return np.where(depth > 1e-9, (column / ahead, row / ahead), NOWHERE).T


@dataclass(frozen=True, eq=False)
class Lens:
    """What camera_info says of a camera, for images of `size`.

    `matrix` is K, `distortion` D, `rotation` R, and `projection` the left three columns of P. `rectified` images follow
    R and P, others K and D.
    """

    size: Size
    matrix: np.ndarray
    distortion: np.ndarray
    fisheye: bool
    rotation: np.ndarray
    projection: np.ndarray
    rectified: bool = False

    @classmethod
    def of(cls, info: Any, camera: str, rectified: bool = False) -> Lens:
        """The lens that a sensor_msgs/CameraInfo describes. RegistrationError where the `camera` was not calibrated."""
        matrix, projection = np.array(info.k, float).reshape(3, 3), np.array(info.p, float).reshape(3, 4)[:, :3]
        rotation = np.array(info.r, float).reshape(3, 3)
        used = projection if rectified else matrix
        if used[0, 0] <= 0 or used[1, 1] <= 0 or info.width < 1 or info.height < 1:
            raise RegistrationError(
                f"camera_info of {camera} holds no calibration ({'P' if rectified else 'K'} is "
                "zero); calibrate that camera, or give thermal_homography"
            )
        rotation = rotation if rotation.any() else np.eye(3)
        distortion, fisheye = np.array(info.d, float), info.distortion_model in FISHEYE
        wrong = [
            name
            for name, fits in (
                ("P" if rectified else "K", _is_projective(used)),
                ("R", not rectified or _is_rotation(rotation)),
                ("D", rectified or len(distortion) in (FISHEYE_LENGTHS if fisheye else LENGTHS)),
                ("D", rectified or bool((np.abs(distortion) < MOST).all())),
            )
            if not fits
        ]
        if wrong:
            raise RegistrationError(
                f"camera_info of {camera} is wrong in {wrong[0]}: no lens has such values; calibrate that camera, or "
                "give thermal_homography"
            )
        return cls((int(info.height), int(info.width)), matrix, distortion, fisheye, rotation, projection, rectified)

    def rays(self, pixels: np.ndarray, size: Size) -> np.ndarray:
        """Directions (N, 3), of any length, in the camera's optical frame of pixels (N, 1, 2) of images of `size`."""
        pixels = _scaled(pixels, size, self.size)
        if self.rectified:
            flat = cv2.undistortPoints(pixels, self.projection, None)
        elif self.fisheye:
            flat = cv2.fisheye.undistortPoints(pixels, self.matrix, self.distortion[:4])
        else:
            flat = cv2.undistortPoints(pixels, self.matrix, self.distortion)
        rays = np.concatenate((flat.reshape(-1, 2), np.ones((len(pixels), 1))), axis=1)
        return rays @ self.rotation if self.rectified else rays

    def places(self, points: np.ndarray, size: Size) -> np.ndarray:
        """Columns and rows (N, 2) in images of `size` of points (N, 3) in the optical frame; NOWHERE for points that
        the camera does not see."""
        points = points @ self.rotation.T if self.rectified else points
        seen = points[:, 2] > 1e-6
        ahead = np.where(seen[:, None], points, (0.0, 0.0, 1.0)).reshape(-1, 1, 3)
        matrix = self.projection if self.rectified else self.matrix
        none = np.zeros(3)
        if self.fisheye and not self.rectified:
            found = cv2.fisheye.projectPoints(ahead, none, none, matrix, self.distortion[:4])[0]
        else:
            found = cv2.projectPoints(ahead, none, none, matrix, None if self.rectified else self.distortion)[0]
        # The polynomial of the distortion may bring points from far outside back into the view.
        limit = 2 * np.hypot(self.size[1] / matrix[0, 0], self.size[0] / matrix[1, 1])
        seen &= np.hypot(points[:, 0], points[:, 1]) < limit * np.maximum(points[:, 2], 1e-6)
        return np.where(seen[:, None], _scaled(found.reshape(-1, 1, 2), self.size, size).reshape(-1, 2), NOWHERE)


@dataclass(frozen=True, eq=False)
class Lenses:
    """Both lenses and the pose of the thermal camera: `pose` (4, 4) maps points of its optical frame to that of the
    left camera, in metres. The registration holds for what is `distance_m` ahead of the left camera."""

    left: Lens
    thermal: Lens
    pose: np.ndarray
    distance_m: float

    def find(self, pixels: np.ndarray, left: Size, thermal: Size) -> np.ndarray:
        """See `Registration.find`."""
        points = self.left.rays(pixels, left)
        points = points / np.maximum(points[:, 2:], 1e-6) * self.distance_m
        # The inverse of the pose: first the shift, then the rotation.
        points = (points - self.pose[:3, 3]) @ self.pose[:3, :3]
        return self.thermal.places(points, thermal)


def pose_of(numbers: Sequence[float]) -> np.ndarray:
    """The (4, 4) pose of x, y, z in metres and roll, pitch, yaw in radians about fixed axes, as in tf.
    RegistrationError unless these are six finite numbers."""
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise RegistrationError(
            f"thermal_extrinsic is {list(numbers)} and must be six numbers: x, y, z of the thermal "
            "camera in the left one's optical frame in metres, then roll, pitch, yaw in radians"
        )
    about_x, about_y, about_z = (cv2.Rodrigues(np.eye(3)[k] * numbers[3 + k])[0] for k in range(3))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = about_z @ about_y @ about_x, numbers[:3]
    return pose


def places_of(registration: Registration, left: Size, thermal: Size) -> np.ndarray:
    """Columns and rows (H, W, 2) float32 in the thermal image of every pixel of the left one.

    They are computed at every GRID-th pixel and interpolated between these.
    """
    rows, columns = (np.arange(0.0, side + GRID, GRID) for side in left)
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1)
    found = registration.find(pixels.reshape(-1, 1, 2), left, thermal).reshape(pixels.shape)
    # Neither infinite nor not a number: these would spread to what is interpolated.
    found = np.nan_to_num(np.clip(found, NOWHERE, -NOWHERE), nan=NOWHERE).astype(np.float32)
    row, column = np.mgrid[: left[0], : left[1]].astype(np.float32) / GRID
    return cv2.remap(found, column, row, cv2.INTER_LINEAR)


class Warp:
    """Warps thermal images of one size into the left view.

    `inside` (H, W) uint8 is 255 where they show it, less towards their border and 0 beyond it. RegistrationError where
    they cover less than LEAST_COVERED of it.
    """

    def __init__(self, registration: Registration, left: Size, thermal: Size) -> None:
        places = places_of(registration, left, thermal)
        height, width = thermal
        column, row = places[..., 0], places[..., 1]
        seen = ((column >= 0) & (row >= 0) & (column <= width - 1) & (row <= height - 1)).view(np.uint8)
        covered = float(seen.mean())
        if covered < LEAST_COVERED:
            raise RegistrationError(
                f"the thermal image shows {covered:.0%} of the left view: check "
                "thermal_homography, which maps thermal pixels to left pixels, or "
                "thermal_extrinsic, which is in metres and radians of optical frames"
            )
        self._places = places
        # Where the view shows no border, the distance to it has no bound.
        depth = np.minimum(cv2.distanceTransform(seen, cv2.DIST_L2, 3), FEATHER)
        self.inside: np.ndarray = cv2.convertScaleAbs(depth, alpha=255 / FEATHER)
        self._unmoved = self._maps = _in_fractions(places)

    def move(self, columns: float, rows: float) -> None:
        """Show the thermal image so many pixels further to the right, and further down, than the registration says."""
        height, width = self._places.shape[:2]
        back = np.array([[1, 0, -columns], [0, 1, -rows]], np.float64)
        self._maps = _in_fractions(
            cv2.warpAffine(
                self._places,
                back,
                (width, height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """A thermal image (h, w) uint8 in the left view, (H, W) uint8. Beyond its border the border pixels repeat."""
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def unmoved(self, image: np.ndarray) -> np.ndarray:
        """The same by the registration alone, without `move`."""
        return cv2.remap(image, *self._unmoved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _is_projective(matrix: np.ndarray) -> bool:
    """Whether a (3, 3) camera matrix is finite, small enough and ends in 0, 0, 1."""
    return bool((np.abs(matrix) < MOST).all() and (matrix[2] == (0, 0, 1)).all() and matrix[1, 0] == 0)


def _is_rotation(matrix: np.ndarray) -> bool:
    return bool((np.abs(matrix) < MOST).all() and np.abs(matrix @ matrix.T - np.eye(3)).max() < 0.01)


def _in_fractions(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (H, W, 2) float32 as whole pixels and fractions, a form that OpenCV looks up faster."""
    whole, fractions = cv2.convertMaps(places, None, cv2.CV_16SC2)  # type: ignore[call-overload]
    return whole, fractions


def _scaled(places: np.ndarray, size: Size, other: Size) -> np.ndarray:
    """Places (..., 2) in images of one size, converted to images of another size of the same view."""
    scale = np.array((other[1] / size[1], other[0] / size[0]))
    # Coordinates are those of pixel centres, and the edges of both images coincide.
    return (places + 0.5) * scale - 0.5
