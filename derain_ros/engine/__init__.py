"""Engines: one loaded model, ready to run on one device.

`load` loads one engine by name. `auto.choose` measures the installed engines at the real shape, with each precision of
a model, and takes the fastest, or a better precision that is nearly as fast. It stores its choice in the cache folder,
so the next start only loads.

A shape is (N, H, W): number, height and width of the images in a batch, before an engine pads them to the model's
stride.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from derain_ros.manifest import Model

ENGINES = ("auto", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "openvino", "openvino-gpu", "tensorrt")
"""Values of the setting `engine`; all except auto are names of engines."""

Shape = tuple[int, int, int]
Tell = Callable[[str], None]
"""A function that is called with progress messages, e.g. that an engine is being built, and the per cent done."""


class EngineError(RuntimeError):
    """A model cannot be loaded or run. The message says which model, why, and what to do."""


class Engine(Protocol):
    """One loaded model on one device.

    `name` is one of ENGINES. `device` is a name such as "cpu". `precision` is that of the arithmetic: fp32, tf32,
    bf16, fp16 or int8. Several `streams` run the images of a batch in parallel, each with a share of the threads. Only
    one thread at a time may use an engine.
    """

    name: str
    model: Model
    device: str
    precision: str
    streams: int

    def prepare(self, shape: Shape) -> None:
        """Get ready for batches of this shape: compile, or load the compiled engine. This may take minutes.

        `run` does this itself for a shape that was not prepared. Raises EngineError on failure.
        """

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network and return its outputs by name.

        `images` are the inputs of its task by name, each (N, H, W, C) uint8 with the model's channels, all of one
        shape. They are not modified. Height and width are free: the engine pads to the stride by repeating the edge
        and crops the outputs. A detector has a fixed size. Raises EngineError if the images do not fit or the run
        fails. The caller owns the returned arrays.
        """


def load(model: Model, engine: str = "auto", threads: int = 0, streams: int = 1, tell: Tell | None = None) -> Engine:
    """Load `model` with one engine.

    With 0 `threads` the engine uses every physical core that the process may use. `auto` means ONNX Runtime on the
    processor, the reference for all other engines; it measures nothing, `auto.choose` does. Engines on NVIDIA GPUs
    ignore `threads` and `streams` and have one stream. Raises EngineError if the engine is unknown, not installed, or
    does not accept the model.
    """
    tell = tell or (lambda text: None)
    # Imported late: each library costs time and memory, and most machines lack some of them.
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
