"""Returns the images as if the lens were clean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Frame
from derain_ros.runtime.encoding import CHANNELS, FrameError, check, from_network, to_network

Shape = tuple[int, int, int]


class Restorer:
    """The restoring networks, by the channels they take: 1 for grey, 3 for colour."""

    def __init__(self, engines: Mapping[int, Engine]) -> None:
        self.engines = dict(engines)
        self._warm: set[tuple[int, Shape]] = set()

    def restore(self, frames: Sequence[Frame]) -> list[tuple[Frame, np.ndarray]]:
        """Each frame restored, with its mask: (H, W) uint8, 255 where pixels were reconstructed.

        Frames of one size and colour go through the network in one batch. FrameError for a frame that is malformed or
        has no network, EngineError where the network fails; the frames are never altered.
        """
        restored: dict[int, tuple[Frame, np.ndarray]] = {}
        for shape, indices in self._batches(frames).items():
            batch = np.empty((len(indices), *shape), np.uint8)
            for slot, index in zip(batch, indices, strict=True):
                slot[...] = to_network(frames[index])
            outputs = self.engines[shape[2]].run(batch)
            images, masks = outputs["restored"], outputs["mask"]
            if images.shape != batch.shape or masks.shape != batch.shape[:3]:
                raise EngineError(f"{self.engines[shape[2]].model.name}: gave images {images.shape} and masks "
                                  f"{masks.shape} for images {batch.shape}")
            for image, mask, index in zip(images, masks, indices, strict=True):
                restored[index] = from_network(image, frames[index]), mask
        return [restored[index] for index in range(len(frames))]

    def warm_up(self, frames: Sequence[Frame]) -> bool:
        """Run the networks once for every batch of these frames whose size is new; whether there was any."""
        new = {(len(indices), shape) for shape, indices in self._batches(frames).items()} - self._warm
        for count, shape in new:
            self.engines[shape[2]].run(np.zeros((count, *shape), np.uint8))
        self._warm |= new
        return bool(new)

    def _batches(self, frames: Sequence[Frame]) -> dict[Shape, list[int]]:
        """Indices of the checked frames by the (H, W, C) that the network takes."""
        batches: dict[Shape, list[int]] = {}
        for index, frame in enumerate(frames):
            check(frame)
            channels = CHANNELS[frame.encoding]
            if channels not in self.engines:
                raise FrameError(f"there is no restorer for {frame.encoding} images; set restorer to auto")
            batches.setdefault((*frame.image.shape[:2], channels), []).append(index)
        return batches
