"""The images of a bag as picture files, to train on."""

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
"""Is told how many messages are done, of how many."""


def write_pictures(
    reader: BagReader, cameras: Cameras, folder: Path, every_s: float, progress: Progress | None = None
) -> tuple[int, int]:
    """Write an image of each camera as PNG into `folder`, made where needed, whenever `every_s` seconds have gone by.

    Names are those of bag and camera and the stamp in nanoseconds, and where one comes again, a number. Images come as
    networks see them: grey or colour, in eight bits. Returns how many were written, and how many could not be read;
    ReplayError where the folder cannot be written.
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
    """The frame as OpenCV writes it: grey, or blue, green and red, in eight bits."""
    seen = to_network(frame)
    return seen[..., ::-1] if seen.shape[2] == 3 else seen
