"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.engine import EngineError
from derain_ros.manifest import Model

OUTPUTS = {"restore": ("restored", "mask"), "detect": ("probabilities", "mask")}


class OnnxRuntimeEngine:
    """One model in one ONNX Runtime session; see `derain_ros.engine.Engine`."""

    def __init__(self, model: Model, threads: int = 0) -> None:
        self.model = model
        self.device = "cpu"
        ort = _onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or len(physical_cores())
        # Threads that spin between frames would take the cores from the camera driver and from SLAM.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # Errors come as exceptions; printed at every frame they would flood the log.
        try:
            self._session = ort.InferenceSession(model.file.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime raises many unrelated types here, none of them with a common base but Exception.
            raise EngineError(f"{model.file}: model {model.name} cannot be loaded: {_first_line(error)}") from error
        self._check()

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`."""
        model = self.model
        if image.ndim != 4 or image.dtype != np.uint8 or image.shape[3] != model.channels or 0 in image.shape:
            raise EngineError(f"{model.name}: takes uint8 images (N, H, W, {model.channels}), not {image.dtype} "
                              f"{image.shape}")
        height, width = image.shape[1:3]
        if model.size is not None and (height, width) != model.size:
            raise EngineError(f"{model.name}: takes images of {model.size[0]}x{model.size[1]}, not {height}x{width}")
        padded = image if model.size is not None else pad(image, model.stride)
        try:
            outputs = self._session.run(None, {"image": np.ascontiguousarray(padded)})
        except Exception as error:
            raise EngineError(f"{model.name}: cannot be run on {image.shape}: {_first_line(error)}") from error
        named = dict(zip((o.name for o in self._session.get_outputs()), outputs, strict=True))
        if padded is image:
            return named
        return {name: output[:, :height, :width] for name, output in named.items()}

    def _check(self) -> None:
        """Raise EngineError unless the graph has the inputs and outputs that its task asks for."""
        inputs = [(i.name, i.type, i.shape[-1]) for i in self._session.get_inputs()]
        wanted = [("image", "tensor(uint8)", self.model.channels)]
        if inputs != wanted:
            raise EngineError(f"{self.model.file}: inputs are {inputs}, where {wanted} is asked for; export the model "
                              "again with `derain export`")
        outputs = [o.name for o in self._session.get_outputs()]
        if missing := set(OUTPUTS[self.model.task]) - set(outputs):
            raise EngineError(f"{self.model.file}: no output {', '.join(sorted(missing))} among {', '.join(outputs)}; "
                              "export the model again with `derain export`")


def pad(image: np.ndarray, stride: int) -> np.ndarray:
    """`image` (N, H, W, C) with its last row and column repeated to multiples of `stride`; itself where none lack."""
    batch, height, width, channels = image.shape
    below, right = -height % stride, -width % stride
    if not below and not right:
        return image
    padded = np.empty((batch, height + below, width + right, channels), image.dtype)
    padded[:, :height, :width] = image
    padded[:, :height, width:] = image[:, :, -1:]
    padded[:, height:] = padded[:, height - 1:height]
    return padded


def physical_cores(topology: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """One usable logical CPU of each physical core: a second thread on a core only slows a network down."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    first_of_core: dict[str, int] = {}
    for cpu in usable:
        try:
            core = (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        except OSError:
            core = str(cpu)
        first_of_core.setdefault(core, cpu)
    return list(first_of_core.values())


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"ONNX Runtime cannot be imported ({error}); install it with "
                          "`pip install onnxruntime`") from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
