"""The steps that run networks on a frame set: restore, temporal, fuse.

A stage knows its networks, says what must be loaded for some images, whether that is ready and what it takes, and runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import LAYOUTS, check, size_of, to_network
from derain_ros.runtime.loading.loader import Loader, Wanted
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.plan.budget import Times

RECONSTRUCTED = 76
"""Probability in 255th above which a pixel counts as occluded or reconstructed. On photographs trained on, IoU is
highest there behind drops over a third of the view."""

Batch = tuple[int, int, int, int]
"""Images that go through a network at once: how many, height, width, channels."""


@dataclass
class Images:
    """What the stages of one frame set work on.

    `frames` are those of the cameras, in their order, at a time that only rises; `seen` are what they show as networks
    take it, (H, W, C) uint8. A stage replaces `restored`, images of the same form, and `masks`, (H, W) uint8 with the
    probability in 255th that a pixel is occluded or was reconstructed; both are None until a restorer has run. `models`
    are the names of those that ran.

    For the fuser, `infrared` is what the thermal camera shows of the first camera's view, (H, W) uint8, and how far it
    does, 255 where it does and 0 where not; `hidden`, (H, W) uint8, 255 where the detector finds that view hidden.
    `fused` is what it makes of all that, of the form of `seen`.
    """

    cameras: Sequence[str]
    frames: Sequence[Frame]
    now_ns: int = 0
    seen: list[np.ndarray] = field(init=False)
    batches: dict[Batch, list[int]] = field(init=False)
    """Indices of the images that go through a network together, those of one size and colour."""
    restored: list[np.ndarray] | None = None
    masks: list[np.ndarray] | None = None
    models: list[str] = field(default_factory=list)
    infrared: tuple[np.ndarray, np.ndarray] | None = None
    hidden: np.ndarray | None = None
    fused: np.ndarray | None = None

    def __post_init__(self) -> None:
        """FrameError for a frame that is malformed."""
        sizes: dict[tuple[int, int, int], list[int]] = {}
        for index, frame in enumerate(self.frames):
            check(frame)
            sizes.setdefault((*size_of(frame), LAYOUTS[frame.encoding].channels), []).append(index)
        self.batches = {(len(indices), *size): indices for size, indices in sizes.items()}
        self.seen = [to_network(frame) for frame in self.frames]


class Stage(Protocol):
    """One step of a plan. Not thread-safe."""

    name: str
    """As plans are named by."""

    def load(self, batches: Collection[Batch]) -> list[Wanted]:
        """What must be loaded for such images."""

    def can(self, batches: Collection[Batch]) -> bool:
        """Whether there are networks for such images, loaded or not."""

    def ready(self, batches: Collection[Batch]) -> bool:
        """Whether it can run on such images just now."""

    def cost_ms(self, batches: Collection[Batch]) -> float:
        """What it takes, going by the last runs, or else by what was measured as it was loaded; 0: not known."""

    def learn(self, batches: Collection[Batch], ms: float) -> None:
        """Take in what a run took."""

    def forget(self, batches: Collection[Batch]) -> None:
        """Forget what runs took: it speaks of another load of the machine."""

    def run(self, images: Images) -> None:
        """Change `images`; EngineError where that fails, and nothing is changed then."""

    def fail(self, error: EngineError) -> None:
        """The engines that ran last fail, or hang: take others."""

    def close(self) -> None:
        """Forget all that was seen."""


class NetworkStage:
    """What stages with one network for each number of channels have in common."""

    def __init__(self, name: str, networks: Mapping[int, Network], loader: Loader) -> None:
        self.name = name
        self.networks = networks
        self._loader = loader
        self._times = Times()
        self._ran: list[tuple[Wanted, Engine]] = []

    def wanted(self, batch: Batch) -> Wanted:
        """The network for a batch, and the shape that it gets."""
        return Wanted(self.networks[batch[3]], batch[:3])

    def of(self, batches: Collection[Batch]) -> Collection[Batch]:
        """What of such images goes through the networks."""
        return batches

    def can(self, batches: Collection[Batch]) -> bool:
        """See `Stage.can`."""
        return all(
            batch[3] in self.networks and not self._loader.is_out(self.networks[batch[3]]) for batch in self.of(batches)
        )

    def load(self, batches: Collection[Batch]) -> list[Wanted]:
        """See `Stage.load`."""
        return [self.wanted(batch) for batch in self.of(batches)]

    def ready(self, batches: Collection[Batch]) -> bool:
        """See `Stage.ready`."""
        return self.can(batches) and all(engine is not None for engine in map(self._loader.engine, self.load(batches)))

    def cost_ms(self, batches: Collection[Batch]) -> float:
        """See `Stage.cost_ms`."""
        measured = sum(map(self._loader.measured_ms, self.load(batches)))
        return self._times.usual(self._key(batches)) or measured

    def learn(self, batches: Collection[Batch], ms: float) -> None:
        """See `Stage.learn`."""
        self._times.learn(self._key(batches), ms)

    def forget(self, batches: Collection[Batch]) -> None:
        """See `Stage.forget`."""
        self._times.forget(self._key(batches))

    def fail(self, error: EngineError) -> None:
        """See `Stage.fail`."""
        for wanted, engine in self._ran:
            self._loader.retire(wanted, engine, error)

    def close(self) -> None:
        """See `Stage.close`."""

    def engine_for(self, batch: Batch) -> Engine:
        """The engine for a batch, which is to run now; EngineError where there is none any more."""
        wanted = self.wanted(batch)
        engine = self._loader.engine(wanted)
        if engine is None:
            raise EngineError(f"{wanted.network.name}: not loaded")
        self._ran = [(wanted, engine)]
        return engine

    def _key(self, batches: Collection[Batch]) -> object:
        """All that the time of a run depends on."""
        engines = [(batch, self._loader.engine(self.wanted(batch))) for batch in self.of(batches)]
        return tuple((batch, e and (e.name, e.device, e.streams, e.model.name)) for batch, e in engines)
