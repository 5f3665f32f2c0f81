"""Compares every engine that loads on this machine with the reference, and times it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from derain_ros.bench.frames import precisions, shape_for, wet_frames
from derain_ros.engine import ENGINES, EngineError, Tell, load
from derain_ros.engine.agreement import disagreement, error_of, pictures
from derain_ros.manifest import Model
from derain_ros.tasks import TASKS

REPEATS = 10


@dataclass(frozen=True)
class Trial:
    """One model on one engine.

    `missing` says why the engine does not load on this machine and how to get it. `fault` says why it fails or how it
    disagrees. If both are empty, it agrees. `error_levels` is the root mean square error in grey levels, for restorers
    only; `ms` is the median time of a batch.
    """

    model: str
    engine: str
    device: str = ""
    precision: str = ""
    error_levels: float = float("nan")
    ms: float = float("nan")
    missing: str = ""
    fault: str = ""


def try_engines(
    models: Sequence[Model], batch: int, height: int, width: int, tell: Tell, engines: Sequence[str] = ENGINES[1:]
) -> list[Trial]:
    """Try each of `engines` with each of `models` on batches of frames of this size.

    The reference is ONNX Runtime on the processor with the most precise model of each group. EngineError if the
    reference does not run.
    """
    trials = []
    for group in precisions(models):
        shape = shape_for(group[0], batch, height, width)
        # The frames are what a robot sees; the pictures give work to networks that find nothing to do there.
        images = (wet_frames(group[0], shape), pictures(group[0], shape))
        reference = load(group[0], "onnxruntime")
        expected = [reference.run(**given) for given in images]
        trials += [_try(model, name, images, expected, tell) for model in group for name in engines]
    return trials


def _try(
    model: Model,
    name: str,
    images: Sequence[dict[str, np.ndarray]],
    expected: Sequence[dict[str, np.ndarray]],
    tell: Tell,
) -> Trial:
    tell(f"{model.name} by {name}")
    try:
        engine = load(model, name, tell=tell)
    except EngineError as error:
        return Trial(model.name, name, missing=str(error))
    except Exception as error:  # an untested engine may raise anything
        return Trial(model.name, name, fault=f"{type(error).__name__}: {error}")
    try:
        seen = TASKS[model.task].inputs[0]
        engine.prepare(images[0][seen].shape[:3])
        faults, errors, times = [], [], []
        for given, right in zip(images, expected, strict=True):
            outputs = engine.run(**given)
            faults.append(disagreement(model, engine.precision, given, outputs, right))
            if model.task == "restore" and not faults[-1]:
                errors.append(error_of(given[seen], outputs["restored"], right["restored"])[0])
        for _ in range(REPEATS):
            begun = time.perf_counter()
            engine.run(**images[0])
            times.append((time.perf_counter() - begun) * 1e3)
    except Exception as error:
        told = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        return Trial(model.name, name, engine.device, engine.precision, fault=told)
    fault = "; ".join(dict.fromkeys(fault for fault in faults if fault))
    return Trial(
        model.name,
        name,
        engine.device,
        engine.precision,
        max(errors, default=float("nan")),
        float(np.median(times)),
        fault=fault,
    )
