"""Writes the images of a bag as image files for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from derain_ros.frame import Frame
from derain_ros.replay.bag import BagReader
from derain_ros.replay.records import ReplayError
from derain_ros.replay.topics import Cameras
from derain_ros.runtime.input.encoding import to_network
from derain_ros.runtime.input.messages import ImageError, frame_of

Progress = Callable[[int, int], None]
"""A function that is called with the number of messages done and in total."""


def write_pictures(
    reader: BagReader, cameras: Cameras, folder: Path, every_s: float, progress: Progress | None = None
) -> tuple[int, int]:
    """Write one image of each camera every `every_s` seconds as PNG into `folder`, which is made if needed.

    A file name has the names of bag and camera, the recording time in nanoseconds, and a number if it would occur
    again. Images are as networks see them: grey or colour, 8-bit. Returns how many were written, and how many could
    not be read. Raises ReplayError if the folder cannot be written.
    """
    wanted = {topic.name: camera for camera, topic in cameras.images.items()}
    total = sum(topic.count for topic in reader.topics.values())
    last_ns: dict[str, int] = {}
    names: Counter[str] = Counter()
    written = unreadable = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for done, message in enumerate(reader.messages(), 1):
            if progress is not None:
                progress(done, max(total, done))
            camera = wanted.get(message.topic)
            if camera is None or camera in last_ns and message.stamp_ns - last_ns[camera] < every_s * 1e9:
                continue
            try:
                frame = frame_of(reader.decode(message))
            except (ImageError, ReplayError):
                unreadable += 1
                continue
            last_ns[camera] = message.stamp_ns
            name = f"{reader.path.stem}_{camera}_{message.stamp_ns}"
            names[name] += 1
            path = folder / (f"{name}_{names[name]}.png" if names[name] > 1 else f"{name}.png")
            path.write_bytes(cv2.imencode(".png", _picture(frame))[1].tobytes())
            written += 1
    except OSError as error:
        raise ReplayError(f"{folder}: cannot be written: {error.strerror}") from error
    return written, unreadable


def _picture(frame: Frame) -> np.ndarray:
    """Return the frame as OpenCV writes it: grey or BGR, uint8."""
    seen = to_network(frame)
    return seen[..., ::-1] if seen.shape[2] == 3 else seen
