"""Engines: one loaded model, ready to run on one device."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from derain_ros.manifest import Model

ENGINES = ("auto", "onnxruntime")


class EngineError(RuntimeError):
    """A model cannot be loaded or run; the message says which, why and what to do."""


class Engine(Protocol):
    """One loaded model on one device. `device` is its name in words, e.g. "cpu"."""

    model: Model
    device: str

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The network's outputs by name for `image`, (N, H, W, C) uint8 with the model's channels; never altered.

        A restorer takes any height and width: the engine pads to the stride by repeating the edge and crops the
        outputs back. A detector takes its own size. EngineError where the image does not fit or the run fails.
        """


def load(model: Model, engine: str = "auto", threads: int = 0) -> Engine:
    """Load `model` with the runtime called `engine`; 0 `threads` takes every physical core the process may use."""
    if engine not in ENGINES:
        raise EngineError(f"{engine}: no such engine; there are {', '.join(ENGINES)}")
    # Imported here: ONNX Runtime costs 0.2 s, and whoever only asks for types or errors does not need it.
    from derain_ros.engine.onnxruntime import OnnxRuntimeEngine
    return OnnxRuntimeEngine(model, threads)
