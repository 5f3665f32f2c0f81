"""Restores images as if the lens were clean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from derain_ros.engine import Engine, EngineError
from derain_ros.manifest import Model
from derain_ros.runtime.loading.loader import Loader, Wanted
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.stages import BatchShape, Images, NetworkStage, mask_of
from derain_ros.runtime.stages.scale import compose, fitting_scale, reduce, small_size


class Restore(NetworkStage):
    """One restorer: its network for grey images and its network for colour."""

    def __init__(self, networks: Mapping[int, Network], loader: Loader, serves: frozenset[str] | None = None) -> None:
        network = next(iter(networks.values()))
        self.rung = network.plan
        self.serves = frozenset(network.serves) if serves is None else serves
        """The kinds of anomaly that it is made for; empty where it serves all."""
        self.not_for = frozenset(network.not_for)
        """The kinds of anomaly that it leaves trackers worse off behind."""
        super().__init__(network.name if self.serves else self.rung, networks, loader)

    def wanted(self, batch: BatchShape) -> Wanted:
        """The network for a batch, and the shape of what it gets."""
        network = self.networks[batch[3]]
        return Wanted(network, (batch[0], *small_size(*batch[1:3], fitting_scale(network.scale, *batch[1:3]))))

    def run(self, images: Images) -> None:
        """Restore what an earlier restorer gave, or else what was seen; masks are joined."""
        before = images.restored or images.seen
        restored, masks = list(before), list(images.masks or before)
        names = []
        for batch, indices in images.batches.items():
            engine = self.engine_for(batch)
            names.append(engine.model.name)
            outputs = restore(engine, np.stack([before[index] for index in indices]))
            for index, image, mask in zip(indices, *outputs, strict=True):
                restored[index] = image
                masks[index] = mask if images.masks is None else np.maximum(images.masks[index], mask)
        images.restored, images.masks = restored, masks
        images.models += dict.fromkeys(names)


def restore(engine: Engine, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run a batch (N, H, W, C) uint8 through a restorer. Returns the restored images, of that form, and masks (N, H, W)
    uint8: probabilities in 255ths.

    A network that works at a fraction of the size gets reduced images, and its changes are brought to the full size.
    EngineError where it fails; `batch` is never changed.
    """
    model: Model = engine.model
    scale = fitting_scale(model.scale, *batch.shape[1:3])
    small = reduce(batch, scale)
    outputs = engine.run(image=small)
    restored, masks = outputs["restored"], outputs["mask"]
    if restored.shape != small.shape or masks.shape != small.shape[:3]:
        raise EngineError(
            f"{model.name}: gave images {restored.shape} and masks {masks.shape} for images {small.shape}"
        )
    return (restored, masks) if scale == 1 else compose(batch, small, restored, masks)


def restore_image(engine: Engine, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run one image (H, W) grey or (H, W, 3) RGB through a restorer. Returns the restored image, of the same shape, and
    the mask (H, W) of 0 and 255; all uint8.

    A colour model gets a grey image as three equal channels; the luminance of its result is returned.
    """
    as_colour = image.ndim == 2 and engine.model.channels == 3
    given = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if as_colour else image.reshape(*image.shape[:2], -1)
    restored, masks = restore(engine, given[None])
    same = cv2.cvtColor(restored[0], cv2.COLOR_RGB2GRAY) if as_colour else restored[0].reshape(image.shape)
    return same, mask_of(masks[0])


def restorers(networks: Sequence[Network], loader: Loader) -> list[Restore]:
    """The stages made of `networks`: grey and colour networks of one name are one stage. A single network serves all
    kinds of anomaly."""
    alone = len(networks) == 1
    groups: dict[str, dict[int, Network]] = {}
    for network in networks:
        groups.setdefault(network.name, {})[network.channels] = network
    return [Restore(group, loader, frozenset() if alone else None) for group in groups.values()]
