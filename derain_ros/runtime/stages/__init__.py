"""The steps that run networks on a frame set: restore, temporal, fuse.

A stage knows its networks and runs them. It says what must be loaded for given images, whether that is ready, and how
long a run takes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import LAYOUTS, check, size_of, to_network
from derain_ros.runtime.loading.loader import Loader, Wanted
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.plan.budget import Times

RECONSTRUCTED = 76
"""Probability in 255ths above which a pixel counts as occluded or reconstructed. On training photographs IoU is highest
there, where drops cover more than a third of the view."""

BatchShape = tuple[int, int, int, int]
"""Images that go through a network together: number, height, width, channels."""


def mask_of(probability: np.ndarray) -> np.ndarray:
    """The mask (H, W), 255 above RECONSTRUCTED and 0 elsewhere, of a probability (H, W) in 255ths; both uint8."""
    return cv2.threshold(probability, RECONSTRUCTED, 255, cv2.THRESH_BINARY)[1]


@dataclass
class Images:
    """What the stages of one frame set work on.

    `frames` are those of `cameras`, in that order; `now_ns` is a time that only rises. `seen` are the frames' images as
    networks take them, (H, W, C) uint8. A stage replaces `restored`, images of the same form, and `masks`, (H, W)
    uint8: the probability in 255ths that a pixel is occluded or was reconstructed. Both are None until a restorer has
    run. `models` names the models that ran.

    The others are for the fuser. `infrared` has two (H, W) uint8 images: what the thermal camera shows of the first
    camera's view, and where it shows it: 255, less towards its border, 0 beyond it. `hidden` (H, W) uint8 is 255 where
    the detector finds that view hidden. `fused` is the result, of the form of `seen`.
    """

    cameras: Sequence[str]
    frames: Sequence[Frame]
    now_ns: int = 0
    seen: list[np.ndarray] = field(init=False)
    batches: dict[BatchShape, list[int]] = field(init=False)
    """Indices of the images that go through a network together: those of one size with one number of channels."""
    restored: list[np.ndarray] | None = None
    masks: list[np.ndarray] | None = None
    models: list[str] = field(default_factory=list)
    infrared: tuple[np.ndarray, np.ndarray] | None = None
    hidden: np.ndarray | None = None
    fused: np.ndarray | None = None

    def __post_init__(self) -> None:
        """FrameError for a malformed frame."""
        sizes: dict[tuple[int, int, int], list[int]] = {}
        for index, frame in enumerate(self.frames):
            check(frame)
            sizes.setdefault((*size_of(frame), LAYOUTS[frame.encoding].channels), []).append(index)
        self.batches = {(len(indices), *size): indices for size, indices in sizes.items()}
        self.seen = [to_network(frame) for frame in self.frames]


class Stage(Protocol):
    """One step of a plan. Not thread-safe."""

    name: str
    """Its part of a plan's name."""

    def load(self, batches: Collection[BatchShape]) -> list[Wanted]:
        """What must be loaded for such images."""

    def can(self, batches: Collection[BatchShape]) -> bool:
        """Whether there are networks for such images, loaded or not."""

    def ready(self, batches: Collection[BatchShape]) -> bool:
        """Whether it can run on such images now."""

    def cost_ms(self, batches: Collection[BatchShape]) -> float:
        """Milliseconds of a run, by the last runs or else as measured when it was loaded; 0 where not known."""

    def learn(self, batches: Collection[BatchShape], ms: float) -> None:
        """Add the milliseconds of a run."""

    def forget(self, batches: Collection[BatchShape]) -> None:
        """Forget the times of runs: they were measured under another load of the machine."""

    def run(self, images: Images) -> None:
        """Change `images`. EngineError where that fails; nothing is changed then."""

    def fail(self, error: EngineError) -> None:
        """Replace the engines that ran last: they fail or hang."""

    def close(self) -> None:
        """Forget all earlier frames."""


class NetworkStage:
    """What is common to stages with one network for each number of channels."""

    def __init__(self, name: str, networks: Mapping[int, Network], loader: Loader) -> None:
        self.name = name
        self.networks = networks
        self._loader = loader
        self._times = Times()
        self._ran: list[tuple[Wanted, Engine]] = []

    def wanted(self, batch: BatchShape) -> Wanted:
        """The network for a batch, and the shape that it gets."""
        return Wanted(self.networks[batch[3]], batch[:3])

    def of(self, batches: Collection[BatchShape]) -> Collection[BatchShape]:
        """The batches that go through the networks, for such images."""
        return batches

    def can(self, batches: Collection[BatchShape]) -> bool:
        """See `Stage.can`."""
        return all(
            batch[3] in self.networks and not self._loader.is_out(self.networks[batch[3]]) for batch in self.of(batches)
        )

    def load(self, batches: Collection[BatchShape]) -> list[Wanted]:
        """See `Stage.load`."""
        return [self.wanted(batch) for batch in self.of(batches)]

    def ready(self, batches: Collection[BatchShape]) -> bool:
        """See `Stage.ready`."""
        return self.can(batches) and all(engine is not None for engine in map(self._loader.engine, self.load(batches)))

    def cost_ms(self, batches: Collection[BatchShape]) -> float:
        """See `Stage.cost_ms`."""
        measured = sum(map(self._loader.measured_ms, self.load(batches)))
        return self._times.usual(self._key(batches)) or measured

    def learn(self, batches: Collection[BatchShape], ms: float) -> None:
        """See `Stage.learn`."""
        self._times.learn(self._key(batches), ms)

    def forget(self, batches: Collection[BatchShape]) -> None:
        """See `Stage.forget`."""
        self._times.forget(self._key(batches))

    def fail(self, error: EngineError) -> None:
        """See `Stage.fail`."""
        for wanted, engine in self._ran:
            self._loader.retire(wanted, engine, error)

    def close(self) -> None:
        """See `Stage.close`."""

    def engine_for(self, batch: BatchShape) -> Engine:
        """The engine that is to run a batch now; EngineError where it is no longer loaded."""
        wanted = self.wanted(batch)
        engine = self._loader.engine(wanted)
        if engine is None:
            raise EngineError(f"{wanted.network.name}: not loaded")
        self._ran = [(wanted, engine)]
        return engine

    def _key(self, batches: Collection[BatchShape]) -> object:
        """All that the time of a run depends on."""
        engines = [(batch, self._loader.engine(self.wanted(batch))) for batch in self.of(batches)]
        return tuple((batch, e and (e.name, e.device, e.streams, e.model.name)) for batch, e in engines)
