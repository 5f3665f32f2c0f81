"""The true motion of the procedural drive: where its pixels were before."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from derain_ros.rain.scene import Camera, pose


@dataclass(frozen=True)
class Step:
    """The motion from one frame to the next.

    `column` and `row`, (H, W) float32, say where each pixel was before. `known`, (H, W) bool, is true if the pixel is
    visible in both frames and its motion is certain.
    """

    column: np.ndarray
    row: np.ndarray
    known: np.ndarray


def motion(camera: Camera, depth: np.ndarray, before: np.ndarray, now: float, then: float) -> Step:
    """Where the pixels of `depth`, (H, W) in metres at time `now`, were at time `then`, when the depth was `before`.

    Times are in seconds.
    """
    height, width = depth.shape
    (eye, turn), (eye_then, turn_then) = (camera_pose(camera, t) for t in (now, then))
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    far = ~np.isfinite(depth)
    # The sky is so far away that only rotations move it.
    distance = np.where(far, 1e6, depth).astype(np.float64)
    rays = np.stack([(x - (width - 1) / 2) / camera.focal, (y - (height - 1) / 2) / camera.focal, np.ones_like(x)], -1)
    world = (rays * distance[..., None]) @ turn + eye
    seen = (world - eye_then) @ turn_then.T
    column = (seen[..., 0] / seen[..., 2] * camera.focal + (width - 1) / 2).astype(np.float32)
    row = (seen[..., 1] / seen[..., 2] * camera.focal + (height - 1) / 2).astype(np.float32)
    was = cv2.remap(
        np.where(np.isfinite(before), before, 1e6).astype(np.float32),
        column,
        row,
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1.0,
    )
    return Step(column, row, (np.abs(was - seen[..., 2]) < 0.02 * seen[..., 2]) | (far & (was > 1e5)))


def camera_pose(camera: Camera, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Position of the camera in the world, (3,) in metres, and its rotation (3, 3) from world to optical axes."""
    place, turn = pose(seconds)
    return place + turn[2] * camera.offset[0] - turn[0] * camera.offset[1] - turn[1] * camera.offset[2], turn
