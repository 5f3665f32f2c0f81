"""A shower over street scenes, written as images with masks and labels, as a video, or as a bag."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from derain_ros.data.labelled import LabelledScene
from derain_ros.data.samples import DataError
from derain_ros.rain.shower import Shower

EPOCH_NS = 1_700_000_000_000_000_000
"""Stamp of a bag's first frame, in nanoseconds."""
CAMERA = "left"
"""Name of the camera in a bag, as the node names a single camera."""
WET, MASK = f"/{CAMERA}/image_raw", f"/{CAMERA}/anomaly_mask"
DRY, LABELS, CLASSES = (f"/truth/{CAMERA}/{name}" for name in ("image_raw", "labels", "classes"))
"""Topics of a bag: the camera's image and the mask of its occluded pixels; the dry image, its labels and their
names."""

Progress = Callable[[int, int], None]
"""Called with the number of frames done and the total number."""


@dataclass(frozen=True)
class Rainy:
    """One frame: `image`, `clean` (H, W, 3) uint8 RGB, `mask` (H, W) uint8 0 or 255, `label` (H, W) uint8 or None."""

    image: np.ndarray
    clean: np.ndarray
    mask: np.ndarray
    label: np.ndarray | None


def rain_over(scenes: Sequence[LabelledScene], frames: int, seed: int, rate: float) -> Iterator[Rainy]:
    """The frames of a shower over `scenes`, one scene a frame; with too few scenes it goes back and forth over them.

    `rate` is in frames a second. DataError if a scene cannot be read, is smaller than 16x16 pixels, or differs in size
    from the first.
    """
    shower: Shower | None = None
    for step in range(frames):
        scene = scenes[_there_and_back(step, len(scenes))]
        clean, label = scene.read()
        height, width = clean.shape[:2]
        if shower is None:
            if min(height, width) < 16:
                raise DataError(f"{scene.image}: {width}x{height} pixels are too few; 16x16 is the least")
            shower = Shower(height, width, seed, frames, rate)
        if (height, width) != (shower.height, shower.width):
            raise DataError(
                f"{scene.image}: is {width}x{height}, but {scenes[0].image} is {shower.width}x{shower.height}; the "
                "frames of a sequence are of one size"
            )
        wet = shower.wet(clean, step)
        yield Rainy(wet.image, clean, wet.mask, None if scene.label is None else label)


def write_pictures(rainy: Iterator[Rainy], total: int, folder: Path, progress: Progress) -> None:
    """Write `total` frames as PNG into {image,clean,mask,label} of `folder`; missing folders are made.

    Labels are class indices, 255 is void; scenes without labels get no label file. DataError if writing fails.
    """
    for step, frame in enumerate(rainy):
        parts = {"image": frame.image[..., ::-1], "clean": frame.clean[..., ::-1], "mask": frame.mask}
        if frame.label is not None:
            parts["label"] = frame.label
        try:
            for name, picture in parts.items():
                (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / name / f"{step:06}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
        progress(step + 1, total)


def write_video(rainy: Iterator[Rainy], total: int, file: Path, rate: float, progress: Progress) -> None:
    """Write the images of `total` frames as an MP4 video, `rate` frames a second; DataError if it cannot be opened."""
    writer: cv2.VideoWriter | None = None
    try:
        for step, frame in enumerate(rainy):
            if writer is None:
                writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), rate, frame.image.shape[1::-1])
                if not writer.isOpened():
                    raise DataError(f"{file}: cannot be written as a video; is this OpenCV made without FFmpeg?")
            writer.write(np.ascontiguousarray(frame.image[..., ::-1]))
            progress(step + 1, total)
    finally:
        # Also after Ctrl-C: a video cannot be played before it is released.
        if writer is not None:
            writer.release()


def write_bag(
    rainy: Iterator[Rainy], total: int, bag: Path, rate: float, progress: Progress, classes: Sequence[str] = ()
) -> None:
    """Write `total` frames, `rate` a second, as an MCAP bag; its directory must not exist yet.

    Images are on WET and DRY (rgb8), masks on MASK (mono8). Labels, if there are any, are on LABELS (mono8, 255 is
    void). The names in `classes` are on CLASSES (std_msgs/String, latched, a JSON list). ReplayError if the bag cannot
    be written.
    """
    from derain_ros.frame import Frame
    from derain_ros.replay.bag import BagWriter
    from derain_ros.replay.images import image_of
    from derain_ros.replay.records import Topic

    with BagWriter(bag) as out:
        if classes:
            out.add(Topic(CLASSES, "std_msgs/msg/String", 0, qos=(_latched(),)))
            out.put(CLASSES, EPOCH_NS, out.types.types["std_msgs/msg/String"](data=json.dumps(classes)))
        for step, frame in enumerate(rainy):
            stamp_ns = EPOCH_NS + round(step * 1e9 / rate)
            for topic, picture, encoding in (
                (WET, frame.image, "rgb8"),
                (MASK, frame.mask, "mono8"),
                (DRY, frame.clean, "rgb8"),
                (LABELS, frame.label, "mono8"),
            ):
                if picture is not None:
                    message = image_of(out.types, Frame(picture, encoding, stamp_ns, CAMERA))
                    out.put(topic, stamp_ns, message)
            progress(step + 1, total)


def _latched() -> Any:
    """The QoS of a latched topic, which late subscribers still receive, as an object of rosbags."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    reliability, durability = QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL
    ever = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, 1, reliability, durability, ever, ever, QosLiveliness.AUTOMATIC, ever, False)


def _there_and_back(step: int, count: int) -> int:
    """The index below `count` at `step`: it runs to the last, back to the first, and so on."""
    at = step % max(1, 2 * (count - 1))
    return at if at < count else 2 * (count - 1) - at
