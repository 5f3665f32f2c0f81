"""The temporal filter in the pipeline: its networks, what it takes, and what to do where it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

import numpy as np

from derain_ros.engine import Engine, EngineError, Shape
from derain_ros.engine.background import Preparation
from derain_ros.frame import Frame
from derain_ros.runtime.dispatch import Choice
from derain_ros.runtime.plan.budget import MARGIN, RETRY_NS
from derain_ros.runtime.stages.restore import Batch, Restored
from derain_ros.runtime.stages.temporal import TemporalFilter, half_size

SHARES = {"quality": 0.3, "balanced": 1.2, "fast": 3.0}
"""How many times as long as restoring by a plan joining takes, until that is measured: as on a processor of two cores.
A trial that does not fit costs frames, and joining by a plan that would have fitted is only begun later."""
FOLLOW = 0.2
"""How far the share follows a new measurement."""

logger = logging.getLogger(__name__)


class Joiner:
    """Joins restored frames with those before them; `prepare` begins to load the temporal network for a shape.

    Not thread-safe, but for `engines`, `state` and the `Joining`s it gives.
    """

    def __init__(self, prepare: Callable[[Shape], Preparation]) -> None:
        self._prepare = prepare
        self._preparations: dict[Shape, Preparation] = {}
        self._filter = TemporalFilter()
        self._shares: dict[Hashable, float] = {}
        self._withdrawn: dict[Hashable, int] = {}

    @property
    def engines(self) -> list[Engine]:
        """Those that are loaded."""
        return [p.engine for p in list(self._preparations.values()) if p.engine is not None]

    @property
    def state(self) -> str:
        """What is being loaded, or what has failed, in words; empty where there is nothing to tell."""
        return "; ".join(f"temporal: {p.state}" for p in list(self._preparations.values())
                         if not p.ready or p.engine is None)

    def tend(self, shapes: Collection[Batch], wait: bool) -> None:
        """Begin to load what such batches want, one after another, and give up what they do not; `wait` for it."""
        wanted = [_shape(shape) for shape in shapes]
        for shape in wanted:
            if not wait and any(not (p.ready or p.failed) for p in self._preparations.values()):
                return
            if shape not in self._preparations:
                self._preparations = {known: p for known, p in self._preparations.items() if known in wanted}
                self._preparations[shape] = self._prepare(shape)
            if wait:
                self._preparations[shape].wait()

    def of(self, shapes: Collection[Batch]) -> dict[Batch, Engine]:
        """The engines for such batches; none at all where one of them cannot be used just now."""
        found = {shape: p.engine for shape in shapes if (p := self._preparations.get(_shape(shape))) and p.engine}
        return found if len(found) == len(shapes) else {}

    def fits(self, choice: Choice, alone_ms: float, limit_ms: float, now_ns: int) -> bool:
        """Whether restoring, which alone takes `alone_ms`, and joining fit `limit_ms`; not while the former is unknown.

        What did not fit must fit with a margin, and not before a while has passed: plans are not to change from frame
        to frame.
        """
        if not alone_ms:
            return False
        plan, expected_ms = choice.key, alone_ms * (1 + self._shares.get(choice.key, SHARES[choice.plan]))
        since_ns = self._withdrawn.get(plan)
        if expected_ms > limit_ms:
            self._withdrawn[plan] = now_ns
        elif since_ns is not None and now_ns - since_ns >= RETRY_NS and expected_ms <= MARGIN * limit_ms:
            del self._withdrawn[plan]
        return plan not in self._withdrawn

    def learn(self, choice: Choice, alone_ms: float, joining_ms: float) -> None:
        """Take in what restoring and joining a frame set by this joined choice took."""
        if alone_ms > 0:
            share = joining_ms / alone_ms
            self._shares[choice.alone] = share + (1 - FOLLOW) * (self._shares.get(choice.alone, share) - share)

    def joining(self, cameras: Sequence[str], frames: Sequence[Frame], engines: Mapping[Batch, Engine],
                clock: Callable[[], int]) -> Joining:
        """The joining of one frame set; `clock` gives monotonic nanoseconds."""
        return Joining(self, self._filter, cameras, frames, engines, clock)

    def failed(self, engine: Engine, error: Exception) -> None:
        """Forget what was seen after a failure, and take a slower engine where it was this one's, or else none."""
        self._filter = TemporalFilter()
        for preparation in list(self._preparations.values()):
            if isinstance(error, EngineError) and preparation.engine is engine:
                logger.error("frames are not joined with those before them: %s", error)
                preparation.retire(error)
                if preparation.engine is engine:
                    preparation.engine = None

    def forget(self) -> None:
        """Load the networks anew, and leave what was seen to the frame set at work: it may never end."""
        self._preparations, self._filter = {}, TemporalFilter()

    def close(self, timeout_s: float) -> bool:
        """Wait for what is being loaded; whether that has ended in time."""
        return all([p.wait(timeout_s) for p in list(self._preparations.values())])


class Joining:
    """Joins the batches of one frame set, all or none; says afterwards what became of it.

    `ms` is what it took, `failure` why the frames stay as they were restored, empty where they do not, and `had_past`
    whether there were frames to join them with: the first takes less time than the others.
    """

    def __init__(self, joiner: Joiner, temporal: TemporalFilter, cameras: Sequence[str], frames: Sequence[Frame],
                 engines: Mapping[Batch, Engine], clock: Callable[[], int]) -> None:
        self.ms, self.failure, self.had_past = 0.0, "", False
        self._joiner, self._temporal, self._engines, self._clock = joiner, temporal, engines, clock
        # An eight-bit image of other bits is another image of the same scene.
        self._keys: list[Hashable] = [(camera, frame.encoding, frame.bits)
                                      for camera, frame in zip(cameras, frames, strict=True)]
        self._stamps = [frame.stamp_ns for frame in frames]

    def __call__(self, batches: Sequence[Restored]) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """Images and masks of each batch, joined, or as they were restored where that fails."""
        started = self._clock()
        engine = next(iter(self._engines.values()))
        try:
            joined = []
            for batch in batches:
                engine = self._engines[batch.images.shape]
                joined.append(self._temporal.apply(engine, [self._keys[n] for n in batch.indices],
                                                   [self._stamps[n] for n in batch.indices], batch.frames,
                                                   batch.images, batch.masks))
            self.had_past = self._temporal.had_past
            return joined
        except Exception as error:
            # What is restored is at hand; nothing that goes wrong here may cost it.
            self.failure = f"not joined with the frames before: {str(error) or type(error).__name__}"
            self._joiner.failed(engine, error)
            return [list(zip(batch.images, batch.masks, strict=True)) for batch in batches]
        finally:
            self.ms = (self._clock() - started) / 1e6

    def learn(self, choice: Choice, alone_ms: float) -> None:
        """Let the joiner know what this took beside `alone_ms` of restoring by a choice; a first frame tells nothing.
        """
        if self.had_past:
            self._joiner.learn(choice, alone_ms, self.ms)


def _shape(batch: Batch) -> Shape:
    """What the network gets for such a batch."""
    return batch[0], *half_size(*batch[1:3])
