"""Times engines on models, sizes and batches; all take turns in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from derain_ros.bench import BenchError
from derain_ros.bench.frames import shape_for
from derain_ros.bench.meters import Meters, resident_mb
from derain_ros.engine import Engine, EngineError, Shape, Tell, load
from derain_ros.engine.agreement import pictures
from derain_ros.engine.auto import ON_PROCESSOR
from derain_ros.manifest import Model

Progress = Callable[[int, int], None]


@dataclass
class Case:
    """An engine with a model on batches of a shape (N, H, W), and what was measured.

    `ms` has the milliseconds of every batch. `load_s` is the time until the first result; `memory_mb` and `gpu_mb` are
    the growth in memory until then. `joules` is the mean energy of a batch by meter. `gmac` is the number of
    multiply-accumulates of one image in units of 1e9, nan if not known.
    """

    model: str
    engine: str
    device: str
    precision: str
    streams: int
    shape: Shape
    load_s: float
    memory_mb: float
    gpu_mb: float
    gmac: float = float("nan")
    ms: list[float] = field(default_factory=list)
    joules: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The identity of the case without its figures; cases of two runs are matched by it."""
        streams = f", {self.streams} streams" if self.streams > 1 else ""
        return f"{self.model} {'x'.join(map(str, self.shape))} by {self.engine}{streams}"

    def quantile_ms(self, share: float) -> float:
        """The quantile `share` of the milliseconds of a batch."""
        return float(np.quantile(self.ms, share))


@dataclass(frozen=True)
class Contender:
    """What is to be measured: `make` loads the engine, `images` are its inputs by name; `gmac` is as in Case."""

    make: Callable[[], Engine]
    images: Mapping[str, np.ndarray]
    gmac: float = float("nan")


def contenders(
    models: Sequence[Model],
    engines: Sequence[str],
    sizes: Iterable[tuple[int, int]],
    batches: Iterable[int],
    threads: int,
    tell: Tell,
) -> list[Contender]:
    """Every model on every engine at every (height, width) and batch; on processors also with one stream per image."""
    found = []
    shapes: dict[tuple[str, Shape], None] = {}
    sizes, batches = list(sizes), list(batches)
    for model in models:
        for height, width in sizes:
            for batch in batches:
                shape = shape_for(model, batch, height, width)
                if (model.name, shape) in shapes:
                    continue  # for a model of fixed size, all sizes give the same shape
                shapes[model.name, shape] = None
                images = pictures(model, shape)
                for name in engines:
                    for streams in {1, batch} if name in ON_PROCESSOR else {1}:
                        found.append(Contender(_loader(model, name, threads, streams, tell), images))
    return found


def measure(
    wanted: Sequence[Contender],
    repeats: int,
    warm_up: int,
    loaded: Progress | None = None,
    turned: Progress | None = None,
    meters: Meters | None = None,
) -> tuple[list[Case], list[str]]:
    """The cases that could be measured, and why the others could not. BenchError if none could.

    All are loaded first. Then they take turns, so that other work on the machine affects all alike: `warm_up` turns
    that do not count, then `repeats`. `loaded` and `turned` get the number of steps done and their total.
    """
    meters = meters or Meters()
    running: list[tuple[Case, Engine, Mapping[str, np.ndarray]]] = []
    failures: list[str] = []
    for done, contender in enumerate(wanted, 1):
        try:
            running.append(_load(contender, meters))
        except EngineError as error:
            failures.append(str(error))
        if loaded is not None:
            loaded(done, len(wanted))
    if not running:
        raise BenchError(
            f"nothing can be measured: {'; '.join(dict.fromkeys(failures)) or 'no model or engine is chosen'}"
        )
    for turn in range(warm_up + repeats):
        for case, engine, images in running:
            before, begun = meters.joules(), time.perf_counter()
            engine.run(**images)
            taken, after = (time.perf_counter() - begun) * 1e3, meters.joules()
            if turn >= warm_up:
                case.ms.append(taken)
                for meter, joules in after.items():
                    case.joules[meter] = case.joules.get(meter, 0.0) + (joules - before.get(meter, joules)) / repeats
        if turned is not None:
            turned(turn + 1, warm_up + repeats)
    return [case for case, _, _ in running], list(dict.fromkeys(failures))


def _loader(model: Model, name: str, threads: int, streams: int, tell: Tell) -> Callable[[], Engine]:
    def make() -> Engine:
        try:
            return load(model, name, threads, streams, tell)
        except EngineError as error:
            raise EngineError(f"{name}: {error}") from error

    return make


def _load(contender: Contender, meters: Meters) -> tuple[Case, Engine, Mapping[str, np.ndarray]]:
    memory_mb, gpu_mb, begun = resident_mb(), meters.gpu_mb(), time.perf_counter()
    engine, images = contender.make(), contender.images
    engine.run(**images)
    shape = next(iter(images.values())).shape
    case = Case(
        engine.model.name,
        engine.name,
        engine.device,
        engine.precision,
        engine.streams,
        shape[:3],
        time.perf_counter() - begun,
        max(0.0, resident_mb() - memory_mb),
        meters.gpu_mb() - gpu_mb,
        contender.gmac,
    )
    return case, engine, images
