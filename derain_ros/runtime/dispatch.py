"""Which restorer serves which anomaly under which plan; loads them ahead as far as the memory goes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from derain_ros.engine import Engine, EngineError
from derain_ros.engine.background import Preparation
from derain_ros.manifest import PLANS, PRECISIONS, Model
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.stages.restore import Batch

LOADED_FIRST = ("balanced", "fast", "quality")
"""The plans in the order in which their restorers are loaded."""
QUALITY_TAKES, ON_PROCESSOR = 5.0, 8.0
"""How many times as long as `balanced` the restorer of `quality` is taken to take, and on a processor, where it is 6 by
OpenVINO and 9 by ONNX Runtime. Loading, measuring and trying in vain costs a second of frames."""
MEMORY_PER_BYTE = 8
"""What a restorer is taken to need for each byte of its file until that is measured, and at the least once another one
was given up: the process keeps what that had, so that it grows by less than the next one takes."""

logger = logging.getLogger(__name__)

Prepare = Callable[[tuple[Model, ...], Batch], Preparation]
"""Begins to load one restorer, given in its precisions, the finest first, for batches of a shape."""


@dataclass(frozen=True, eq=False)
class _Group:
    """One restorer in its precisions, the finest first."""

    plan: str
    channels: int
    serves: tuple[str, ...]
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.models[0].name

    @property
    def size_mb(self) -> float:
        return max(model.file.stat().st_size for model in self.models) / 1e6


_Key = tuple[_Group, Batch]


@dataclass(frozen=True)
class Choice:
    """Engines that restore a frame set under one plan; `key` says all that their time depends on.

    `temporal` are those of the filter that comes after them, none where each frame is restored by itself; `alone` is
    the key without it.
    """

    plan: str
    key: Hashable
    engines: dict[Batch, Engine]
    temporal: dict[Batch, Engine] = field(default_factory=dict)
    alone: Hashable = None

    @property
    def name(self) -> str:
        """The stages of the plan."""
        return f"{self.plan} + temporal" if self.temporal else self.plan

    @property
    def models(self) -> str:
        """The names of the networks, in the order in which they run."""
        return ", ".join(name for engines in (self.engines, self.temporal)
                         for name in sorted({engine.model.name for engine in engines.values()}))


@dataclass
class _Slot:
    """One restorer that is loaded or being loaded for one shape."""

    preparation: Preparation
    before_mb: float
    memory_mb: float = 0.0
    used_ns: int = 0

    @property
    def done(self) -> bool:
        return self.preparation.ready or self.preparation.failed


class Dispatch:
    """The restorers of `models`: those of one plan and channels that serve the same anomalies differ in precision only.

    `prepare` begins to load one of them; they are loaded one after another, those that serve the anomaly at hand first,
    within `memory_mb`. The first that serves all kinds is loaded whatever it takes. Not thread-safe.
    """

    def __init__(self, models: Iterable[Model], prepare: Prepare, memory_mb: float) -> None:
        groups: dict[tuple[str, int, tuple[str, ...]], list[Model]] = {}
        for model in models:
            groups.setdefault((model.plan, model.channels, model.serves), []).append(model)
        self._groups = [_Group(*key, tuple(sorted(group, key=lambda model: PRECISIONS.index(model.precision))))
                        for key, group in groups.items()]
        self._prepare, self._memory_mb = prepare, memory_mb
        self._slots: dict[_Key, _Slot] = {}
        self._needs_mb: dict[_Key, float] = {}
        self._gave_up = False
        self._told: set[str] = set()
        self.began = False
        """Whether the last `choices` began to load a restorer."""
        self.time_for_quality = False
        """Whether restorers of `quality` are loaded beside those of `balanced`: where they could never meet the budget,
        loading and measuring them would only take time from the stream."""

    @property
    def engines(self) -> list[Engine]:
        """Those that frames can be run on."""
        return [slot.preparation.engine for slot in list(self._slots.values()) if slot.preparation.engine is not None]

    @property
    def state(self) -> str:
        """What is being loaded, or what has failed, in words; empty where there is nothing to tell."""
        return "; ".join(f"{group.name}: {slot.preparation.state}"
                         for (group, _), slot in list(self._slots.items()) if not slot.preparation.ready)

    @property
    def idle(self) -> bool:
        """Whether nothing is being loaded."""
        return all(slot.done for slot in list(self._slots.values()))

    def choices(self, shapes: Collection[Batch], kind: str) -> list[Choice]:
        """What can restore such batches of this kind of anomaly just now, the best plan first.

        Each plan has the restorer that serves the kind where that is loaded, or else the general one. General ones of
        better plans than one that serves the kind are left out. FrameError where no model takes such images.
        """
        for shape in shapes:
            if not any(self._fitting(plan, shape, kind) for plan in PLANS):
                raise FrameError(f"there is no restorer for {'grey' if shape[3] == 1 else 'colour'} images; set "
                                 "restorer to auto")
        known = set(self._slots)
        self._tend(shapes, kind)
        self.began = not self._slots.keys() <= known
        found = []
        for plan in PLANS:
            engines = {shape: engine for shape in shapes if (engine := self._engine(plan, shape, kind)) is not None}
            if engines and len(engines) == len(shapes):
                key = tuple((shape, e.name, e.device, e.streams, e.model.name) for shape, e in engines.items())
                found.append(Choice(plan, key, engines))
        special = [n for n, choice in enumerate(found)
                   if all(kind in engine.model.serves for engine in choice.engines.values())]
        return [choice for n, choice in enumerate(found) if n in special or n > max(special, default=-1)]

    def wait(self, shapes: Collection[Batch], kind: str, timeout_s: float | None = None) -> None:
        """Wait until something can restore such batches, for `timeout_s`; where that is None, until all that could
        restore this kind is loaded."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while (key := self._tend(shapes, kind)) is not None:
            left = None if until is None else until - time.monotonic()
            if left is None and key[0].serves and kind not in key[0].serves:
                return
            if left is not None and (left <= 0 or self.choices(shapes, kind)):
                return
            self._slots[key].preparation.wait(left)

    def close(self, timeout_s: float) -> bool:
        """Begin to load nothing more and wait for what is being loaded; whether that has ended in time."""
        self._groups = []
        return all(slot.done or slot.preparation.wait(timeout_s) for slot in list(self._slots.values()))

    def retire(self, choice: Choice, error: EngineError) -> None:
        """Take the slower engine, where there is one, in place of those that failed as they ran."""
        for slot in self._slots.values():
            if slot.preparation.engine in choice.engines.values():
                slot.preparation.retire(error)

    def forget(self, choice: Choice) -> None:
        """Give up engines that hang, so that they are loaded anew."""
        self._slots = {key: slot for key, slot in self._slots.items()
                       if slot.preparation.engine not in choice.engines.values()}

    def _engine(self, plan: str, shape: Batch, kind: str) -> Engine | None:
        for group in self._fitting(plan, shape, kind):
            slot = self._slots.get((group, shape))
            if slot is not None and (engine := slot.preparation.engine) is not None:
                slot.used_ns = time.monotonic_ns()
                return engine
        return None

    def _fitting(self, plan: str, shape: Batch, kind: str) -> list[_Group]:
        """The groups of a plan that take such a batch and serve the kind, the special before the general."""
        groups = [group for group in self._groups if (group.plan, group.channels) == (plan, shape[3])]
        special = [group for group in groups if kind in group.serves]
        return special + [group for group in groups if not group.serves]

    def _tend(self, shapes: Collection[Batch], kind: str) -> _Key | None:
        """Begin to load the next restorer that is wanted and has room; the one that is being loaded, if any."""
        for key, slot in self._slots.items():
            if not slot.done:
                return key
            if not slot.memory_mb:
                least = key[0].size_mb * (MEMORY_PER_BYTE if self._gave_up else 1)
                slot.memory_mb = max(least, resident_mb() - slot.before_mb, self._needs_mb.get(key, 0.0))
                self._needs_mb[key] = slot.memory_mb
            preparation = slot.preparation
            self._tell(f"{key[0].name}: {preparation.state}", logging.ERROR if preparation.failed else logging.INFO)
        wanted = self._wanted(shapes, kind)
        for key in wanted:
            if key not in self._slots and self._make_room(key, wanted):
                self._slots[key] = _Slot(self._prepare(key[0].models, key[1]), resident_mb())
                return key
        return None

    def _wanted(self, shapes: Collection[Batch], kind: str) -> list[_Key]:
        """All restorers that such batches may ask for, the most urgent first."""
        at_hand: list[_Key] = []
        general: list[_Key] = []
        ahead: list[_Key] = []
        balanced = {group.channels for group in self._groups if group.plan == "balanced" and not group.serves}
        for plan in LOADED_FIRST:
            for shape in shapes:
                if plan == "quality" and shape[3] in balanced and not self.time_for_quality:
                    continue
                for group in self._groups:
                    if (group.plan, group.channels) == (plan, shape[3]):
                        serves = group.serves
                        (general if not serves else at_hand if kind in serves else ahead).append((group, shape))
        first = len(shapes)
        return general[:first] + at_hand + general[first:] + ahead

    def _make_room(self, key: _Key, wanted: Sequence[_Key]) -> bool:
        """Whether there is room for one more restorer, after those that are less wanted were given up for it."""
        needs = self._needs(key)
        whatever_it_takes = key in wanted[:len({shape for _, shape in wanted})]
        rank = {wanted_key: -n for n, wanted_key in enumerate(wanted)}
        while sum(map(self._needs, self._slots)) + needs > self._memory_mb:
            spare = [k for k in self._slots
                     if rank.get(k, -len(rank)) < rank[key] and (k[0].serves or k not in rank)]
            if whatever_it_takes and not spare:
                return True
            if not whatever_it_takes and (needs > self._memory_mb or not spare):
                self._tell(f"{key[0].name} is not loaded: it takes {needs:.0f} MB, and memory_mb is "
                           f"{self._memory_mb:g} for all", logging.WARNING)
                return False
            self._gave_up = True
            del self._slots[min(spare, key=lambda k: (rank.get(k, -len(rank)), self._slots[k].used_ns))]
        return True

    def _needs(self, key: _Key) -> float:
        return self._needs_mb.get(key) or key[0].size_mb * MEMORY_PER_BYTE

    def _tell(self, what: str, level: int) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.log(level, "%s", what)


def resident_mb(process: Path = Path("/proc/self/statm")) -> float:
    """Memory that this process holds, in MB; 0 where the system does not tell."""
    try:
        return int(process.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError, IndexError):
        return 0.0
