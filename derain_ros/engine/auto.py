"""Chooses the engine by measuring those installed on this machine, at the shape that it will run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from derain_ros import __version__
from derain_ros.engine import ENGINES, Engine, EngineError, Shape, Tell, load
from derain_ros.engine.agreement import disagreement, pictures
from derain_ros.engine.cache import folder, write_whole
from derain_ros.engine.images import read_model
from derain_ros.engine.machine import nvidia_gpus, physical_cores, processor, versions
from derain_ros.files import parse_json, read_file
from derain_ros.manifest import Model

ON_PROCESSOR = ("onnxruntime", "openvino")
REPEATS = 15
"""Runs of each candidate. The candidates take turns, so that other load on the machine affects all equally."""
ENOUGH_S = 6.0
"""Measuring ends after this many seconds, once each candidate has run three times."""
LONGEST_REST_S = 0.2
"""Longest pause after a run while measuring."""
HOPELESS = 2.0
"""After three runs a candidate is no longer run if its median time is more than this many times the best one's."""
MOST_CHOICE_BYTES = 1 << 16
"""Largest accepted size of the file with a stored choice."""
DAY_S = 24 * 3600.0
"""How long a choice is kept if another engine failed that may work again later."""
BETTER_QUALITY_FOR = 1.1
"""A model of better quality is taken if its time is at most this many times that of the fastest candidate."""


@dataclass(frozen=True)
class Choice:
    """The chosen engine, the reason, and the reasons against the engines in `failures`.

    `times` are the labels of the measured candidates with their median milliseconds, the fastest first. It is empty if
    there was only one candidate.
    """

    engine: Engine
    why: str
    failures: tuple[str, ...] = ()
    times: tuple[tuple[str, float], ...] = ()


@dataclass
class Candidate:
    """A loaded engine and the times of its runs in milliseconds."""

    engine: Engine
    ms: list[float] = field(default_factory=list)
    fault: str = ""
    """Why it cannot be used, if it failed while it was measured."""

    @property
    def median_ms(self) -> float:
        """Median time of its runs in milliseconds."""
        return float(np.median(self.ms))


def label(engine: Engine) -> str:
    """Describe an engine in words: model, engine, device, precision and streams."""
    streams = f", {engine.streams} streams" if engine.streams > 1 else ""
    return f"{engine.model.name} by {engine.name} on {engine.device} in {engine.precision}{streams}"


def choose(
    models: Sequence[Model],
    shape: Shape,
    engine: str = "auto",
    threads: int = 0,
    tell: Tell | None = None,
    rests: bool = False,
) -> Choice:
    """Choose an engine for batches of `shape` (N, H, W), and return it ready to run.

    It takes the fastest, or a better model that is nearly as fast: see `pick`. `models` are the same network in
    several precisions, the best in quality first. `engine` restricts the choice to one of ENGINES. On a processor a
    batch is tried in one stream and with one stream for each image. The choice is stored for these models, this
    machine, its libraries and these arguments. With `rests` it leaves time to other work: see `measure`. Raises
    EngineError if no engine can be used.
    """
    tell = tell or (lambda text: None)
    if engine not in ENGINES:
        raise EngineError(f"{engine}: no such engine; there are {', '.join(ENGINES)}")
    names = ENGINES[1:] if engine == "auto" else (engine,)
    memory = folder() / f"choice-{_fingerprint(models, shape, engine, threads)}.json"
    known = _remembered(memory, models, shape, threads, tell)
    if known is not None:
        return known
    candidates, failures, passing = _candidates(models, shape, names, threads, tell)
    if len(candidates) > 1:
        tell(f"measuring {len(candidates)} engines")
        measure(candidates, pictures(models[0], shape), rests)
        failed = [candidate.fault for candidate in candidates if candidate.fault]
        failures, passing = [*failures, *failed], passing or bool(failed)
        candidates = [candidate for candidate in candidates if not candidate.fault]
    if not candidates:
        raise EngineError(f"no engine runs {models[0].name}: {'; '.join(failures)}")
    best = pick(candidates, models)
    times = sorted(((label(c.engine), c.median_ms) for c in candidates if c.ms), key=lambda time: time[1])
    why = _reason(best, times)
    record = {
        "engine": best.engine.name,
        "model": best.engine.model.name,
        "streams": best.engine.streams,
        "why": why,
        "shape": shape,
        "failures": failures,
        "times": times,
        "until": time.time() + DAY_S if passing else None,
    }
    if not write_whole(memory, json.dumps(record, indent=1).encode()):
        why += f"; not stored, because {memory.parent} cannot be written"
    tell(f"chosen: {why}")
    return Choice(best.engine, why, tuple(failures), tuple(times))


def forget(models: Sequence[Model], shape: Shape, engine: str, threads: int) -> None:
    """Delete the stored choice, because its engine fails: `choose` then measures again."""
    with suppress(OSError):
        (folder() / f"choice-{_fingerprint(models, shape, engine, threads)}.json").unlink(missing_ok=True)


def measure(candidates: Sequence[Candidate], images: Mapping[str, np.ndarray], rests: bool = False) -> None:
    """Time the candidates on `images` in turns. Slow and failing candidates are dropped early.

    With `rests` it sleeps after each run for as long as the run took, at most LONGEST_REST_S.
    """
    started = time.monotonic()
    for turn in range(REPEATS):
        if turn >= 3 and time.monotonic() - started > ENOUGH_S:
            break
        fastest = min((c.median_ms for c in candidates if c.ms and not c.fault), default=0.0)
        for candidate in candidates:
            if candidate.fault or turn >= 3 and candidate.median_ms > HOPELESS * fastest:
                continue
            begun = time.perf_counter()
            try:
                candidate.engine.run(**images)
            except Exception as error:  # device libraries raise undocumented exceptions
                candidate.fault = f"{candidate.engine.name}: {_in_words(error)}"
                continue
            spent_s = time.perf_counter() - begun
            candidate.ms.append(spent_s * 1e3)
            if rests:
                time.sleep(min(spent_s, LONGEST_REST_S))


def pick(candidates: Sequence[Candidate], models: Sequence[Model]) -> Candidate:
    """Return the fastest candidate, or one with a better model that is nearly as fast (BETTER_QUALITY_FOR)."""
    if len(candidates) == 1:
        return candidates[0]
    fastest = min(c.median_ms for c in candidates)
    good = [c for c in candidates if c.median_ms <= BETTER_QUALITY_FOR * fastest]
    return min(good, key=lambda c: (models.index(c.engine.model), c.median_ms))


def _candidates(
    models: Sequence[Model], shape: Shape, names: Sequence[str], threads: int, tell: Tell
) -> tuple[list[Candidate], list[str], bool]:
    """Load and check the engines `names`.

    Returns those that load, can be prepared and agree with the reference; the reasons against the others; and whether
    such a reason may be temporary: an engine is installed, but fails to prepare or to run.
    """
    images = pictures(models[0], shape)
    reference = None
    candidates: list[Candidate] = []
    failures: list[str] = []
    passing = False
    for name in names:
        parallel = min(shape[0], threads or len(physical_cores())) if name in ON_PROCESSOR else 1
        for model in models:
            may_pass = False
            try:
                for streams in sorted({1, parallel}):
                    tell(f"preparing {model.name} for {name}")
                    engine = load(model, name, threads, streams, tell)
                    may_pass = True
                    engine.prepare(shape)
                    outputs = engine.run(**images)
                    may_pass = False
                    # The reference is ONNX Runtime, where it is installed, with the model of the best precision.
                    reference = reference or _reference(models[0], images, threads)
                    fault = disagreement(model, engine.precision, images, outputs, reference) if reference else ""
                    if fault:
                        raise EngineError(f"the results of {label(engine)} are wrong: {fault}")
                    candidates.append(Candidate(engine))
            except Exception as error:  # device libraries raise undocumented exceptions
                failures.append(f"{name}: {_in_words(error)}")
                passing = passing or may_pass
                if not any(c.engine.name == name for c in candidates):
                    break  # an engine that does not load one model usually loads none
    return candidates, failures, passing


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"


def _reference(model: Model, images: Mapping[str, np.ndarray], threads: int) -> dict[str, np.ndarray] | None:
    try:
        return load(model, "onnxruntime", threads).run(**images)
    except Exception:  # it is also tried as a candidate, and the failure is reported there
        return None


def _remembered(memory: Path, models: Sequence[Model], shape: Shape, threads: int, tell: Tell) -> Choice | None:
    """Load the stored choice; None if there is none, it has expired, or it no longer loads."""
    try:
        record = parse_json(read_file(memory, MOST_CHOICE_BYTES))
        if record["until"] is not None and time.time() > record["until"]:
            return None
        model = next(m for m in models if m.name == record["model"])
        engine = load(model, record["engine"], threads, record["streams"], tell)
        engine.prepare(shape)
        times = tuple((str(text), float(ms)) for text, ms in record["times"])
        return Choice(engine, f"{record['why']} (remembered)", tuple(record["failures"]), times)
    except Exception:  # a damaged file, or an undocumented exception of a device library
        return None


def _reason(best: Candidate, times: Sequence[tuple[str, float]]) -> str:
    """Say in a few words why this candidate was chosen."""
    others = [f"{text} {ms:.1f} ms" for text, ms in times if text != label(best.engine)]
    if not others:
        return f"{label(best.engine)}; there is no other candidate"
    return f"{label(best.engine)} {best.median_ms:.1f} ms; next: {others[0]}"


def _fingerprint(models: Sequence[Model], shape: Shape, engine: str, threads: int) -> str:
    """Return a short digest of everything that a choice depends on."""
    files = [hashlib.sha256(read_model(model)).hexdigest() for model in models]
    facts = [__version__, files, shape, engine, threads, processor(), len(physical_cores()), nvidia_gpus(), versions()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
