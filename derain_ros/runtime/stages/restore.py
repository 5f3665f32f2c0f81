"""Returns the images as if the lens were clean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import CHANNELS, check, from_network, to_network

Batch = tuple[int, int, int, int]
"""Shape of what goes through a network at once: frames, height, width, channels."""


def batches(frames: Sequence[Frame]) -> dict[Batch, list[int]]:
    """Indices of the frames that go through a network together, those of one size and colour, by the batch's shape.

    FrameError for a frame that is malformed.
    """
    found: dict[tuple[int, int, int], list[int]] = {}
    for index, frame in enumerate(frames):
        check(frame)
        found.setdefault((*frame.image.shape[:2], CHANNELS[frame.encoding]), []).append(index)
    return {(len(indices), *shape): indices for shape, indices in found.items()}


class Restored(NamedTuple):
    """A batch: the `indices` of its frames, what the network got and gave: `frames`, `images` (N, H, W, C), `masks`
    (N, H, W), all uint8."""

    indices: Sequence[int]
    frames: np.ndarray
    images: np.ndarray
    masks: np.ndarray


Join = Callable[[Sequence[Restored]], Sequence[Iterable[tuple[np.ndarray, np.ndarray]]]]
"""Makes the final images and masks of each of some restored batches."""


def restore(frames: Sequence[Frame], engines: Mapping[Batch, Engine],
            join: Join | None = None) -> list[tuple[Frame, np.ndarray]]:
    """Each frame restored, with its mask: (H, W) uint8, 255 where pixels were reconstructed.

    `engines` has the network for each of the frames' `batches`; `join`, where it is given, what comes after it.
    EngineError where it fails; frames are never altered.
    """
    done = []
    for shape, indices in batches(frames).items():
        batch = np.empty(shape, np.uint8)
        for slot, index in zip(batch, indices, strict=True):
            slot[...] = to_network(frames[index])
        engine = engines[shape]
        outputs = engine.run(batch)
        images, masks = outputs["restored"], outputs["mask"]
        if images.shape != shape or masks.shape != shape[:3]:
            raise EngineError(f"{engine.model.name}: gave images {images.shape} and masks {masks.shape} for images "
                              f"{shape}")
        done.append(Restored(indices, batch, images, masks))
    joined = [zip(part.images, part.masks, strict=True) for part in done] if join is None else join(done)
    restored: dict[int, tuple[Frame, np.ndarray]] = {}
    for part, pairs in zip(done, joined, strict=True):
        for (image, mask), index in zip(pairs, part.indices, strict=True):
            restored[index] = from_network(image, frames[index]), mask
    return [restored[index] for index in range(len(frames))]
