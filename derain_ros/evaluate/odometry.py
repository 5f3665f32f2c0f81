"""Measures the effect of wet glass and of restoring on visual odometry.

The odometry is a plain stereo odometry like the front end of a SLAM system. Corners are tracked into the other eye and
into the next frame, which gives 3-D points and their movement. The motion that most points agree on is the camera's.
There is no map and no loop closure, so that errors come from the images alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from derain_ros.engine import Engine
from derain_ros.evaluate.restoration import EvaluationError, read
from derain_ros.evaluate.sequence import joined
from derain_ros.files import read_file
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.motion import camera_pose
from derain_ros.rain.scene import Scene, rig
from derain_ros.rain.style import DropStyle
from derain_ros.runtime.stages.restore import restore_image

CORNERS, APART = 600, 8
"""Largest number of corners in a frame, and their least distance in pixels."""
WINDOW = 21
"""Side in pixels of the patches that are tracked."""
BACK = 1.0
"""Largest distance in pixels between a corner and its position after tracking forth and back."""
LEVEL = 1.5
"""Largest difference in rows between a corner's positions in both eyes: the images are rectified."""
NEAREST, FARTHEST = 200.0, 1.0
"""Disparities in pixels between which a distance is accepted."""
MISSES = 1.5
"""Largest reprojection error in pixels of a point that agrees with a motion."""
ENOUGH = 8
"""Least number of points that must agree on a motion."""
MOST_BYTES = 1 << 28
"""Largest size of a file of poses or of a calibration."""

Views = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
"""Images (H, W) uint8 of the left and of the right eye."""


@dataclass(frozen=True)
class StereoSequence:
    """Rectified grey stereo frames with their true `poses` (N, 4, 4), from the left camera to the world.

    `focal` and `centre` (column, row) are in pixels, `baseline` in metres, `rate` in frames a second.
    """

    name: str
    eyes: Views
    poses: np.ndarray
    focal: float
    centre: tuple[float, float]
    baseline: float
    rate: float


@dataclass(frozen=True)
class OdometryFigures:
    """How well the motion was found.

    `error_m` is the root mean square error of a step in metres; `points` is the median number of points that agreed on
    the motion. In `lost` of the `steps` no motion was found: such a step counts as a standstill with 0 points.
    """

    error_m: float
    points: float
    lost: int
    steps: int


@dataclass(frozen=True)
class OdometryRow:
    """Figures of one sequence behind one kind of drops, by the name of what was tracked."""

    sequence: str
    drops: str
    coverage: float
    figures: dict[str, OdometryFigures]


def from_kitti(folder: Path, count: int, rate: float = 10.0) -> StereoSequence:
    """The first `count` frames of a rectified sequence in KITTI's format.

    `folder` has `image_l`, `image_r`, `calib.txt` with the projections of both eyes, and `poses.txt`. EvaluationError
    if something is missing or has another format.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: there is no such folder")
    eyes = [
        [read(path, 1) for path in sorted((folder / name).glob("*")) if path.suffix.lower() in (".png", ".jpg")][:count]
        for name in ("image_l", "image_r")
    ]
    projections = _numbers(folder / "calib.txt", 12)
    if len(projections) < 2:
        raise EvaluationError(f"{folder / 'calib.txt'}: must have lines of 12 numbers, one for each camera")
    left, right = projections[:2]
    poses = _numbers(folder / "poses.txt", 12)[:count].reshape(-1, 3, 4)
    if not len(eyes[0]) == len(eyes[1]) == len(poses) or len(poses) < 2:
        raise EvaluationError(
            f"{folder}: has {len(eyes[0])} left and {len(eyes[1])} right images and {len(poses)} "
            "poses; there must be as many of each, and at least two"
        )
    below = np.tile(np.array([[[0.0, 0.0, 0.0, 1.0]]]), (len(poses), 1, 1))
    return StereoSequence(
        folder.name,
        (eyes[0], eyes[1]),
        np.concatenate([poses, below], 1),
        float(left[0]),
        (float(left[2]), float(left[6])),
        float(left[3] - right[3]) / float(left[0]),
        rate,
    )


def _numbers(path: Path, columns: int) -> np.ndarray:
    """The rows of `columns` numbers in a text file, (N, columns); a row may begin with a name and a colon.

    EvaluationError if the file cannot be read or has another format.
    """
    try:
        lines = read_file(path, MOST_BYTES).decode().splitlines()
        rows = [line.split(":")[-1].split() for line in lines if line.strip()]
        return np.array(rows, float).reshape(-1, columns)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: must have lines of {columns} numbers: {error}") from error


def drive(
    count: int, rate: float = 10.0, seed: int = 7, width: int = 720, height: int = 540, begin: float = 0.0
) -> StereoSequence:
    """`count` frames of the procedural drive from second `begin` on, at `rate` frames a second."""
    cameras, scene = rig(width, height), Scene(seed)
    eyes = tuple([scene.render(cameras[eye], begin + n / rate)[0] for n in range(count)] for eye in ("left", "right"))
    poses = np.tile(np.eye(4), (count, 1, 1))
    for n in range(count):
        poses[n, :3, 3], turn = camera_pose(cameras["left"], begin + n / rate)
        poses[n, :3, :3] = turn.T
    left, right = cameras["left"], cameras["right"]
    return StereoSequence(
        "drive",
        (eyes[0], eyes[1]),
        poses,
        left.focal,
        ((width - 1) / 2, (height - 1) / 2),
        left.offset[1] - right.offset[1],
        rate,
    )


def evaluate(
    engine: Engine,
    sequence: StereoSequence,
    kind: str,
    coverage: float | None = None,
    temporal: Engine | None = None,
    seed: int = 7,
) -> OdometryRow:
    """Figures of a sequence behind drops of one of `rain.style.KINDS`, with different drops on each eye.

    The drops cover the share `coverage`, or by default as much as is typical of their kind. Tracked are the clean, the
    wet and the restored frames, and the frames after the `temporal` filter if one is given. The wet and the restored
    frames are also tracked without the corners under the restorer's mask.
    """
    rng = np.random.default_rng(seed)
    height, width = sequence.eyes[0][0].shape
    glasses = [LensDrops(height, width, rng, coverage, DropStyle.draw(rng, kind)) for _ in range(2)]
    wet = [[glass.apply(frame)[0] for frame in frames] for glass, frames in zip(glasses, sequence.eyes, strict=True)]
    restored = [[restore_image(engine, frame) for frame in frames] for frames in wet]
    images, masks = ([[of[k] for of in eye] for eye in restored] for k in range(2))
    name = engine.model.name
    tracked: dict[str, tuple[Views, Views | None]] = {
        "clean": (sequence.eyes, None),
        "wet": ((wet[0], wet[1]), None),
        "wet, masked": ((wet[0], wet[1]), (masks[0], masks[1])),
        name: ((images[0], images[1]), None),
        f"{name}, masked": ((images[0], images[1]), (masks[0], masks[1])),
    }
    if temporal is not None:
        steady = [
            [image for image, _ in joined(temporal, frames, eye, sequence.rate)]
            for frames, eye in zip(wet, restored, strict=True)
        ]
        tracked[f"{name} + {temporal.model.name}"] = (steady[0], steady[1]), None
    return OdometryRow(
        sequence.name,
        kind,
        float(np.mean([(glass.alpha > 0.3).mean() for glass in glasses])),
        {what: measure(sequence, *of) for what, of in tracked.items()},
    )


def measure(sequence: StereoSequence, eyes: Views, masks: Views | None = None) -> OdometryFigures:
    """Figures of the odometry on the images `eyes` of `sequence`, without corners where `masks` are above 0."""
    errors, points = errors_and_points(sequence, eyes, masks)
    return OdometryFigures(
        float(np.sqrt(np.mean(np.square(errors)))), float(np.median(points)), points.count(0), len(points)
    )


def errors_and_points(
    sequence: StereoSequence, eyes: Views, masks: Views | None = None
) -> tuple[list[float], list[int]]:
    """For each step, its error in metres and the number of points that agreed on the motion; 0 if none was found.

    The arguments are those of `measure`.
    """
    errors: list[float] = []
    points: list[int] = []
    for n in range(len(eyes[0]) - 1):
        step = motion(
            sequence,
            (eyes[0][n], eyes[1][n], eyes[0][n + 1]),
            None if masks is None else (masks[0][n], masks[1][n], masks[0][n + 1]),
        )
        true = np.linalg.inv(sequence.poses[n + 1]) @ sequence.poses[n]
        errors.append(float(np.linalg.norm((true @ np.linalg.inv(step[0] if step else np.eye(4)))[:3, 3])))
        points.append(step[1] if step else 0)
    return errors, points


def motion(
    sequence: StereoSequence, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None = None
) -> tuple[np.ndarray, int] | None:
    """The motion (4, 4) that takes points of one frame to the next, and the number of points that agree on it.

    None if fewer than ENOUGH agree. `images` are the left, the right and the next left image; pixels where `masks` are
    above 0 are not used.
    """
    corners = cv2.goodFeaturesToTrack(images[0], CORNERS, 0.01, APART, mask=None if masks is None else 255 - masks[0])
    if corners is None:  # for a blank image; the type stubs do not know this
        return None  # type: ignore[unreachable]
    places = [corners, *(_track(images[0], other, corners) for other in images[1:])]
    here, right, after, back = (place.reshape(-1, 2) for place in (*places, _track(images[2], images[0], places[2])))
    disparity = here[:, 0] - right[:, 0]
    good = (
        (disparity > FARTHEST)
        & (disparity < NEAREST)
        & (np.abs(here[:, 1] - right[:, 1]) < LEVEL)
        & (np.hypot(*(back - here).T) < BACK)
    )
    for mask, place in zip(masks or (), (here, right, after), strict=False):
        column, row = (np.clip(np.nan_to_num(place[:, k]), 0, mask.shape[1 - k] - 1).astype(int) for k in range(2))
        good &= mask[row, column] == 0
    if good.sum() < ENOUGH:
        return None
    here, after, disparity = here[good], after[good], disparity[good]
    rays = np.column_stack([(here - sequence.centre) / sequence.focal, np.ones(len(here))])
    there = rays * (sequence.focal * sequence.baseline / disparity)[:, None]
    camera = np.array([[sequence.focal, 0, sequence.centre[0]], [0, sequence.focal, sequence.centre[1]], [0, 0, 1]])
    cv2.setRNGSeed(1)  # so that RANSAC draws the same samples each time
    found, turn, shift, agree = cv2.solvePnPRansac(
        there, after.astype(float), camera, None, iterationsCount=200, reprojectionError=MISSES, confidence=0.999
    )
    if not found or agree is None or len(agree) < ENOUGH:
        return None
    chosen = agree[:, 0]
    turn, shift = cv2.solvePnPRefineLM(there[chosen], after[chosen].astype(float), camera, None, turn, shift)
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    return step, len(chosen)


def _track(here: np.ndarray, there: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The positions in image `there` of the `places` (N, 1, 2) in image `here`; nan where tracking fails."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        here,
        there,
        places,
        None,  # type: ignore[call-overload]
        winSize=(WINDOW, WINDOW),
        maxLevel=3,
    )
    found[status == 0] = np.nan
    return np.asarray(found)


def markdown(rows: Sequence[OdometryRow]) -> str:
    """Markdown tables of the figures, with an explanation."""
    lines = [
        "Stereo odometry from frame to frame: root mean square of its error in centimetres per step, in brackets the "
        "median number of points that agree on the motion. Lost: steps in which no motion was found, which count as "
        "standstill. Masked: without corners under the restorer's mask.",
        "",
    ]
    for names in dict.fromkeys(tuple(row.figures) for row in rows):
        lines += ["", "| sequence | drops | cover | " + " | ".join(names) + " |", "| --- " * (3 + len(names)) + "|"]
        lines += [
            f"| {row.sequence} | {row.drops} | {row.coverage:.0%} | "
            + " | ".join(_told(figures) for figures in row.figures.values())
            + " |"
            for row in rows
            if tuple(row.figures) == names
        ]
        means = [
            np.exp(
                np.mean([np.log(max(row.figures[name].error_m, 1e-6)) for row in rows if tuple(row.figures) == names])
            )
            for name in names
        ]
        lines.append("| geometric mean | | | " + " | ".join(f"{100 * mean:.1f}" for mean in means) + " |")
    return "\n".join(lines) + "\n"


def _told(figures: OdometryFigures) -> str:
    lost = f", lost {figures.lost} of {figures.steps}" if figures.lost else ""
    return f"{100 * figures.error_m:.1f} ({figures.points:.0f}){lost}"
