"""Engines: one loaded model, ready to run on one device.

`load` gives one engine by name. `auto.choose` measures the engines installed here on the real shape, with each
precision of a model, and gives the fastest; what it found is remembered in the cache folder: the next start only loads.

A shape is (N, H, W): images in a batch, their height and width as they arrive; engines pad to the model's stride.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from derain_ros.manifest import Model

ENGINES = ("auto", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "openvino", "openvino-gpu", "tensorrt")
"""Values of the setting `engine`; all but auto are names of engines."""

Shape = tuple[int, int, int]
Tell = Callable[[str], None]
"""Is told in words what is being done, e.g. that an engine is built and how far it is."""


class EngineError(RuntimeError):
    """A model cannot be loaded or run; the message says which, why and what to do."""


class Engine(Protocol):
    """One loaded model on one device.

    `name` is one of ENGINES, `device` the device in words, e.g. "cpu", `precision` that of the arithmetic: fp32, tf32,
    bf16, fp16 or int8. Several `streams` run the images of a batch side by side, a share of the threads each. An engine
    is used by one thread at a time.
    """

    name: str
    model: Model
    device: str
    precision: str
    streams: int

    def prepare(self, shape: Shape) -> None:
        """Make ready for batches of this shape: compile, or load what was compiled before; this may take minutes.

        `run` does it too where it was not done. EngineError where it fails.
        """

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """The network's outputs by name for the `images` that its task takes, each (N, H, W, C) uint8 with the model's
        channels and all of one size; never altered.

        Networks take any height and width: the engine pads to the stride by repeating the edge and crops the outputs
        back. A detector takes its own size. EngineError where the images do not fit or the run fails. The arrays are
        the caller's.
        """


def load(model: Model, engine: str = "auto", threads: int = 0, streams: int = 1, tell: Tell | None = None) -> Engine:
    """Load `model` with one engine; EngineError where it is unknown, not installed, or does not take the model.

    0 `threads` takes every physical core that the process may use. auto takes ONNX Runtime on the processor, whose
    results are the reference for all others; `auto.choose` measures. Engines on GPUs have one stream.
    """
    tell = tell or (lambda text: None)
    # Imported here: each library costs time and memory, and most machines lack some of them.
    if engine in ("auto", "onnxruntime"):
        from derain_ros.engine.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(model, threads, streams)
    if engine in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        from derain_ros.engine.onnxruntime_gpu import OnnxRuntimeGpuEngine

        return OnnxRuntimeGpuEngine(model, engine.removeprefix("onnxruntime-"), tell)
    if engine in ("openvino", "openvino-gpu"):
        from derain_ros.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(model, "CPU" if engine == "openvino" else "GPU", threads, streams, tell)
    if engine == "tensorrt":
        from derain_ros.engine.tensorrt import TensorRtEngine

        return TensorRtEngine(model, tell)
    raise EngineError(f"{engine}: no such engine; there are {', '.join(ENGINES)}")
