"""Loads the engines of networks one at a time, in a thread beside the stream."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakSet

from derain_ros.config import Config
from derain_ros.engine import Engine, EngineError, Shape, load
from derain_ros.engine.auto import Choice, choose, forget, label
from derain_ros.engine.images import blank
from derain_ros.engine.machine import physical_cores
from derain_ros.manifest import ManifestError, Model
from derain_ros.runtime.loading.failures import Failures, Hang
from derain_ros.runtime.loading.models import Network

FAILURES = 3
"""After this many failures or hangs in a row a network is out."""
MEMORY_PER_BYTE, MEMORY_PER_PIXEL = 8, 100
"""Assumed memory of an engine for each byte of its file, and for each pixel that its network gets. ONNX Runtime holds
only the former. Measured: 2 to 6 and 25 to 99, for networks that are not tiny."""
ENDS_S = 20.0
"""How long the end of the program waits for loading to end."""

logger = logging.getLogger(__name__)

Verify = Callable[[Model], None]


@dataclass(frozen=True)
class Wanted:
    """A network, and the shape (images, height, width) of the batches that it gets."""

    network: Network
    shape: Shape


class Loader:
    """Loads what is wanted, the most urgent first, and holds it within the setting `memory_mb`. Thread-safe.

    ONNX Runtime loads every network first, in its last precision. This takes a moment, and serves images of any size.
    Then the fastest engine for the wanted shape is chosen, or built, for one network at a time, while ONNX Runtime
    serves. `verify` raises ManifestError for a damaged model, which is left out.

    In the `background` of a stream, measuring pauses after each run for as long as that took: the stream goes first.
    Elsewhere nothing is measured: ONNX Runtime runs a network unless the settings name another engine.
    """

    def __init__(
        self, verify: Verify, config: Config, background: bool, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._verify, self._engine, self._threads = verify, config.engine, config.threads
        self._streams = max(1, min(len(config.cameras), config.threads or len(physical_cores())))
        self._memory_mb, self._background = config.memory_mb, background
        self._chooses = background or config.engine not in ("auto", "onnxruntime")
        self._changed = threading.Condition()
        self._wanted: list[Wanted] = []
        self._expected: list[Wanted] = []
        self._first: dict[Network, Engine | None] = {}  # By ONNX Runtime; None where that fails.
        self._pace: dict[Network, float] = {}  # Milliseconds per pixel by ONNX Runtime.
        self._models: dict[Network, tuple[Model, ...]] = {}  # Those that passed `verify`.
        self._chosen: dict[Wanted, Choice | None] = {}  # Least recently wanted first; None: ONNX Runtime stays.
        self._worn: set[Network] = set()  # Their first engine fails: it serves until it is loaded again.
        self._failures = Failures(clock)
        self._doing = ""
        self._closing = False
        self._thread: threading.Thread | None = None

    def want(self, wanted: Sequence[Wanted]) -> None:
        """Load these, in this order, and nothing else. Engines already loaded stay while there is room."""
        with self._changed:
            if self._wanted != list(wanted):
                self._wanted = list(wanted)
                for each in wanted:
                    if each in self._chosen:
                        self._chosen[each] = self._chosen.pop(each)
            self._begin()

    def expect(self, expected: Sequence[Wanted]) -> None:
        """Load these by ONNX Runtime only, which serves images of any size. For use before it is known what will be
        wanted."""
        with self._changed:
            self._expected = list(expected)
            self._begin()

    def engine(self, wanted: Wanted) -> Engine | None:
        """The engine that can run the network on such a batch now; None where it is not loaded, or out."""
        choice = self._chosen.get(wanted)
        return choice.engine if choice is not None else self._first.get(wanted.network)

    def measured_ms(self, wanted: Wanted) -> float:
        """Milliseconds of a run as the engine was loaded; 0 where that is not known."""
        choice = self._chosen.get(wanted)
        if choice is None:
            return self._pace.get(wanted.network, 0.0) * math.prod(wanted.shape)
        return next((ms for text, ms in choice.times if text == label(choice.engine)), 0.0)

    def is_out(self, network: Network) -> bool:
        """Whether a network is out for now: it is damaged, or has failed too often."""
        return self._failures.is_out(network)

    @property
    def engines(self) -> list[Engine]:
        """The engines that frames may run on."""
        with self._changed:
            engines = [choice.engine for choice in self._chosen.values() if choice is not None]
            served = {wanted.network for wanted, choice in self._chosen.items() if choice is not None}
            return engines + [e for network, e in self._first.items() if e is not None and network not in served]

    @property
    def busy(self) -> bool:
        """Whether something is being loaded or measured."""
        return bool(self._doing)

    @property
    def state(self) -> str:
        """What is being loaded, and what could not be, as text; empty where there is nothing to report."""
        with self._changed:
            return "; ".join(([self._doing] if self._doing else []) + self._failures.reasons())

    def wait(self, wanted: Sequence[Wanted]) -> None:
        """Load these, and wait until each is loaded as well as it can be."""
        self.want(wanted)
        with self._changed:
            self._changed.wait_for(lambda: self._next() is None or self._closing or self._wanted != list(wanted))

    def retire(self, wanted: Wanted, engine: Engine, error: EngineError) -> None:
        """Replace `engine`, which fails, by ONNX Runtime. ONNX Runtime itself is loaded again, and serves until then
        unless it hangs."""
        network = wanted.network
        logger.error("%s fails: %s", label(engine), error)
        with self._changed:
            times = self._failures.add(network)
            choice = self._chosen.get(wanted)
            if choice is not None and choice.engine is engine:
                forget(network.models, wanted.shape, self._engine, self._threads)
                self._chosen[wanted] = None
            if self._first.get(network) is engine:
                self._worn.add(network)
                if isinstance(error, Hang):
                    del self._first[network]
            if times >= FAILURES:
                self._failures.leave_out(network, str(error), isinstance(error, Hang))
            self._begin()

    def close(self, timeout_s: float) -> bool:
        """Stop loading and wait for what is being loaded. Returns whether that ended within `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: self._thread is None, timeout_s)
        if ended := self._thread is None:
            with self._changed:
                self._chosen, self._first = {}, {}
        return ended

    def _begin(self) -> None:
        """Start a thread that loads what is missing, if anything is; call it with the lock held."""
        if self._thread is None and self._next() is not None and not self._closing:
            # A daemon: a build of minutes must not keep a program from ending.
            self._thread = threading.Thread(target=self._work, name="derain loader", daemon=True)
            self._doing = "loading"
            _at_work.add(self)
            self._thread.start()

    def _work(self) -> None:
        """Load until nothing is missing. A thread that waited for more would keep this object and its engines alive."""
        while True:
            with self._changed:
                job = self._next()
                if self._closing or job is None:
                    self._thread, self._doing = None, ""
                    self._changed.notify_all()
                    return
                self._doing = f"loading {job.network.name}"
            try:
                if self._lacks(job.network):
                    self._load_first(job)
                else:
                    self._choose(job)
            except Exception as error:
                # Device libraries fail in undocumented ways; the other networks continue.
                if not self._closing:
                    logger.error("%s cannot be loaded", job.network.name, exc_info=not isinstance(error, EngineError))
                with self._changed:
                    self._leave_out(job.network, str(error) or type(error).__name__)

    def _next(self) -> Wanted | None:
        """What to load next: first all that is wanted by ONNX Runtime, then each by its best engine."""
        usable = [wanted for wanted in self._wanted if not self.is_out(wanted.network)]
        expected = [wanted for wanted in self._expected if not self.is_out(wanted.network)]
        quick = next((wanted for wanted in usable + expected if self._lacks(wanted.network)), None)
        if quick is not None or not self._chooses:
            return quick
        return next((wanted for wanted in usable if wanted not in self._chosen), None)

    def _lacks(self, network: Network) -> bool:
        """Whether a network is to be loaded by ONNX Runtime."""
        return network not in self._first or network in self._worn

    def _load_first(self, job: Wanted) -> None:
        network, whole, reasons = job.network, [], []
        for model in network.models:
            try:
                self._verify(model)
                whole.append(model)
            except ManifestError as error:
                reasons.append(str(error))
        engine: Engine | None = None
        for model in reversed(whole):
            try:
                engine = load(model, "onnxruntime", self._threads, self._streams)
                _warm_up(engine, job.shape)
                self._pace[network] = _warm_up(engine, job.shape) / math.prod(job.shape)
                break
            except EngineError as error:
                reasons.append(str(error))
        for reason in reasons:
            logger.error("left out: %s", reason)
        with self._changed:
            self._worn.discard(network)
            self._models[network] = tuple(whole)
            self._first[network] = self._first.get(network) if engine is None else engine
            if not whole or self._first[network] is None and not self._chooses:
                self._leave_out(network, reasons[-1], not whole)

    def _leave_out(self, network: Network, why: str, for_good: bool = False) -> None:
        """Stop using a network that cannot be loaded: for good, or until a later try. Call it with the lock held."""
        self._failures.add(network)
        self._failures.leave_out(network, why, for_good)
        if self._first.get(network) is None:
            self._first.pop(network, None)

    def _choose(self, job: Wanted) -> None:
        choice = None
        if self._make_room(job):
            first = self._first[job.network]
            engine = "onnxruntime" if job.network in self._failures and first is not None else self._engine
            try:
                choice = choose(
                    self._models[job.network], job.shape, engine, self._threads, self._tell, rests=self._background
                )
                _warm_up(choice.engine, job.shape)
            except Exception as error:  # device libraries fail in undocumented ways
                if first is None or self._closing:
                    raise
                logger.error("%s: %s; ONNX Runtime runs it", job.network.name, error)
                forget(self._models[job.network], job.shape, engine, self._threads)
                choice = None
        with self._changed:
            self._chosen[job] = choice
        if choice is not None:
            logger.info("%s", choice.why)
            for failure in choice.failures:
                logger.debug("not used: %s", failure)

    def _make_room(self, job: Wanted) -> bool:
        """Release what is no longer wanted, least recently wanted first, until all fits into the memory. Returns
        whether there is room."""
        needs_mb = _needs_mb(job)
        with self._changed:
            wanted = {*self._wanted, *self._expected, job}
            networks = {each.network for each in wanted}
            for spare in [each for each in self._chosen if each not in wanted]:
                if self._holds_mb() + needs_mb > self._memory_mb:
                    del self._chosen[spare]
            for network in [each for each in self._first if each not in networks]:
                if self._holds_mb() + needs_mb > self._memory_mb:
                    del self._first[network]
            if self._holds_mb() + needs_mb <= self._memory_mb:
                return True
        logger.warning(
            "%s is run by ONNX Runtime: another engine needs %.0f MB, and memory_mb allows %g for all",
            job.network.name,
            needs_mb,
            self._memory_mb,
        )
        return False

    def _holds_mb(self) -> float:
        """The assumed memory of all engines."""
        first = [_holds_mb(engine) for engine in self._first.values() if engine is not None]
        return sum(first) + sum(
            _holds_mb(choice.engine, wanted.shape) for wanted, choice in self._chosen.items() if choice is not None
        )

    def _tell(self, text: str) -> None:
        if self._closing:
            raise EngineError("the program ends")
        self._doing = text


def _warm_up(engine: Engine, shape: Shape) -> float:
    """Run an engine once, so that the first real frame is not slow. Returns the milliseconds that it took."""
    started = time.perf_counter()
    engine.run(**blank(engine.model, shape))
    return (time.perf_counter() - started) * 1e3


def _needs_mb(wanted: Wanted) -> float:
    """The most memory that an engine for a network will hold."""
    return max(_weights_mb(model) for model in wanted.network.models) + _images_mb(wanted.shape)


def _holds_mb(engine: Engine, shape: Shape = (0, 0, 0)) -> float:
    """The assumed memory of an engine that runs such batches."""
    return _weights_mb(engine.model) + (0.0 if engine.name == "onnxruntime" else _images_mb(shape))


def _weights_mb(model: Model) -> float:
    with suppress(OSError):
        return MEMORY_PER_BYTE * model.file.stat().st_size / 1e6
    return 0.0


def _images_mb(shape: Shape) -> float:
    return MEMORY_PER_PIXEL * math.prod(shape) / 1e6


_at_work: WeakSet[Loader] = WeakSet()


def _end() -> None:
    """Wait for the current step of each loader: libraries abort a program that ends while they compile."""
    until = time.monotonic() + ENDS_S
    for loader in list(_at_work):
        loader.close(max(0.0, until - time.monotonic()))


atexit.register(_end)
