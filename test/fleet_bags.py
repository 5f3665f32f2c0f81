"""Small bags of a fleet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from derain_ros.fleet.bags import FoundBag
from derain_ros.fleet.segments import BagTask
from derain_ros.frame import Frame
from derain_ros.replay.bag import BagWriter
from derain_ros.replay.images import image_of

START_NS = 1_800_000_000_000_000_000
SETTINGS = {"engine": "onnxruntime", "threads": 1}
SEGMENT_S = 2.0


def write_bag(path: Path, frames: int = 50, wet: range = range(0), period_ns: int = 100_000_000) -> Path:
    """Write a bag of a stereo pair, at 10 Hz, the right eye 3 ms later; both lenses are wet in frames of `wet`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with BagWriter(path) as writer:
        for k in range(frames):
            noise = np.random.default_rng(k).integers(-20, 21, (48, 64))
            for number, camera in enumerate(("left", "right")):
                stamp = START_NS + k * period_ns + number * 3_000_000
                image = (noise + (150 if k in wet else 60) + number).astype(np.uint8)
                writer.put(f"/{camera}/image_raw", stamp, image_of(writer.types, Frame(image, "mono8", stamp, camera)))
    return path


def task_of(bag: Path, output: Path, models: Path, segment_s: float = SEGMENT_S) -> BagTask:
    """How to restore a bag into a folder of its name below `output`."""
    return BagTask(FoundBag(bag, bag.name), output / bag.name, SETTINGS, models, segment_s=segment_s)
