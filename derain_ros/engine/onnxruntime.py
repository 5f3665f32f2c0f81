"""ONNX Runtime on the processor: the reference for all other engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from derain_ros.engine import EngineError, Shape
from derain_ros.engine.images import check_images, check_interface, check_size, crop, is_quantized, pad, read_model
from derain_ros.engine.machine import INSTALL, physical_cores
from derain_ros.manifest import Model


class OnnxRuntimeEngine:
    """One model in ONNX Runtime; see `derain_ros.engine.Engine`."""

    name = "onnxruntime"
    device = "cpu"

    def __init__(self, model: Model, threads: int = 0, streams: int = 1) -> None:
        self.model = model
        self.streams = streams
        data = read_model(model)
        self.precision = "int8" if is_quantized(data) else "fp32"
        ort = import_onnxruntime()
        options = session_options(ort, max(1, (threads or len(physical_cores())) // streams))
        try:
            self._sessions = [
                ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]) for _ in range(streams)
            ]
        except Exception as error:
            # ONNX Runtime raises many unrelated types here; Exception is their only common base.
            raise EngineError(f"{model.file}: model {model.name} cannot be loaded: {first_line(error)}") from error
        check_session(model, self._sessions[0])
        self._names = [o.name for o in self._sessions[0].get_outputs()]
        self._pool = ThreadPoolExecutor(streams, "derain engine") if streams > 1 else None

    def prepare(self, shape: Shape) -> None:
        """Check the shape, nothing is compiled; EngineError if the model does not take frames of this shape."""
        check_size(self.model, shape[1:])

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`."""
        shape = check_images(self.model, images)
        padded = {name: pad(self.model, image) for name, image in images.items()}
        try:
            if self._pool is None or shape[0] == 1:
                outputs = self._run(self._sessions[0], padded)
            else:
                split = [np.array_split(image, min(self.streams, shape[0])) for image in padded.values()]
                parts = [dict(zip(padded, pieces, strict=True)) for pieces in zip(*split, strict=True)]
                done = list(self._pool.map(self._run, self._sessions, parts))
                outputs = [np.concatenate(pieces) for pieces in zip(*done, strict=True)]
        except Exception as error:
            raise EngineError(f"{self.model.name}: cannot be run on {shape}: {first_line(error)}") from error
        return crop(self.model, dict(zip(self._names, outputs, strict=True)), shape)

    @staticmethod
    def _run(session: Any, images: dict[str, np.ndarray]) -> list[np.ndarray]:
        return list(session.run(None, {name: np.ascontiguousarray(image) for name, image in images.items()}))


def import_onnxruntime() -> Any:
    """Import the library; EngineError if it is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"ONNX Runtime cannot be imported ({error}); {INSTALL['onnxruntime']}") from error
    return onnxruntime


def session_options(ort: Any, threads: int) -> Any:
    """Return the settings of a session with `threads` threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin between frames would take cores from the camera driver and from SLAM.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # With the arena each session keeps the memory of its largest image for ever. malloc shares it and is as fast.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # Errors come as exceptions; printed at every frame they would flood the log.
    return options


def check_session(model: Model, session: Any) -> None:
    """Raise EngineError unless the graph has the inputs and outputs of its task."""
    check_interface(
        model,
        [(i.name, i.type.removeprefix("tensor(").removesuffix(")"), i.shape[-1]) for i in session.get_inputs()],
        [o.name for o in session.get_outputs()],
    )


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message."""
    return str(error).strip().split("\n", 1)[0]
