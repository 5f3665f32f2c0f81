"""Frames of the procedural drive, as a stereo camera with drops on its lenses takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from derain_ros.engine import Shape
from derain_ros.manifest import Model
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.scene import Scene, rig
from derain_ros.runtime.stages.temporal import half_size
from derain_ros.tasks import TASKS

SEED = 7
COVERAGE = 0.16
TINTS = (1.0, 0.95, 0.85)
"""Factors of red, green and blue for models that take colour: the scene is grey."""


def shape_for(model: Model, batch: int, height: int, width: int) -> Shape:
    """The shape (N, H, W) of the batch that a model is run on for frames of this size.

    A model with a fixed size, such as a detector, keeps it. A temporal filter gets half the size. A fuser gets one
    image, that of the first camera.
    """
    images = 1 if model.task == "fuse" else batch
    return (images, *(model.size or (half_size(height, width) if model.task == "temporal" else (height, width))))


def wet_frames(model: Model, shape: Shape, seconds: float = 1.0) -> dict[str, np.ndarray]:
    """Images (N, H, W, C) uint8 for each input of a model, by name: left and right eye in turn, drops on each lens.

    All channels of a temporal filter get the same picture, except for the tint. All inputs of a fuser get the same one.
    """
    batch, height, width = shape
    # Detectors look at whole frames that are scaled down.
    larger = 1 if model.size is None else 4
    images = np.empty((batch, height, width, model.channels), np.uint8)
    for image, wet in zip(images, wet_views(batch, larger * height, larger * width, seconds), strict=True):
        small = cv2.resize(wet, (width, height), interpolation=cv2.INTER_AREA)
        image[...] = small[..., None] * np.resize(np.array(TINTS, np.float32), model.channels)
    return dict.fromkeys(TASKS[model.task].inputs, images)


def lenses(height: int, width: int) -> list[LensDrops]:
    """The drops on the left and on the right lens."""
    return [LensDrops(height, width, np.random.default_rng([SEED, k]), COVERAGE) for k in range(2)]


def wet_views(number: int, height: int, width: int, seconds: float = 1.0) -> Iterator[np.ndarray]:
    """`number` grey images (H, W) uint8: left and right eye in turn, a second of driving from pair to pair."""
    scene, cameras = Scene(SEED), rig(width, height)
    drops = lenses(height, width)
    for k in range(number):
        dry = scene.render(cameras[("left", "right")[k % 2]], seconds + k // 2)[0]
        yield drops[k % 2].apply(dry)[0]


def precisions(models: Sequence[Model]) -> list[list[Model]]:
    """The models in groups that differ only in precision, the best precision first."""
    groups: dict[object, list[Model]] = {}
    for model in models:
        # Restorers and fusers belong together by what they are made for, other models by their names.
        alone = {"restore": "", "temporal": model.name.removesuffix("_int8"), "fuse": ""}.get(model.task, model.name)
        groups.setdefault((model.task, alone, model.channels, model.plan, model.serves), []).append(model)
    return [sorted(group, key=lambda model: model.precision == "int8") for group in groups.values()]
