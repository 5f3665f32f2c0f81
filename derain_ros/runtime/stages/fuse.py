"""Fuses the left camera's image with the thermal one, so that warm and cold things show in it, day and night."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np

from derain_ros.engine import EngineError
from derain_ros.runtime.loading.loader import Loader
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.stages import BatchShape, Images, NetworkStage, mask_of


class Fuse(NetworkStage):
    """The fuser, on the first camera's image. The masks and images of the cameras stay as they are."""

    def __init__(self, network: Network, loader: Loader) -> None:
        super().__init__("fuse", {1: network}, loader)

    def of(self, batches: Collection[BatchShape]) -> list[BatchShape]:
        """See `NetworkStage.of`: the luminance of one image, the first camera's."""
        _, height, width, _ = next(iter(batches))
        return [(1, height, width, 1)]

    def run(self, images: Images) -> None:
        """Make `images.fused` from `images.infrared` and what was restored, or else seen."""
        assert images.infrared is not None
        infrared, inside = images.infrared
        seen = (images.restored or images.seen)[0]
        grey = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY) if seen.shape[2] == 3 else np.ascontiguousarray(seen[..., 0])
        hidden = images.hidden
        if images.masks is not None:
            hidden = mask_of(images.masks[0])
        # Outside its view the thermal camera cannot help.
        mask = np.zeros_like(grey) if hidden is None else np.where(inside > 127, hidden, np.uint8(0))
        (batch,) = self.of(images.batches)
        engine = self.engine_for(batch)
        fused = engine.run(
            **{
                name: plane[None, ..., None]
                for name, plane in (("visible", grey), ("infrared", infrared), ("mask", mask))
            }
        )["fused"]
        if fused.shape != batch:
            raise EngineError(f"{engine.model.name}: gave an image {fused.shape} for images {batch}")
        images.fused = coloured(_within(inside, fused[0, ..., 0], grey), seen)
        images.models.append(engine.model.name)


def coloured(luminance: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """An image (H, W, 1 or 3) with the colours of `seen` and another luminance (H, W); all uint8."""
    if seen.shape[2] == 1:
        return luminance[..., None]
    parts = cv2.cvtColor(seen, cv2.COLOR_RGB2YCrCb)
    parts[..., 0] = luminance
    return cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB)


def _within(inside: np.ndarray, image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`image` where `inside` is 255, `other` where it is 0; all (H, W) uint8."""
    if inside.min() == 255:
        return image
    share = inside.astype(np.float32) / 255
    return cv2.blendLinear(np.ascontiguousarray(image), other, share, 1 - share)
