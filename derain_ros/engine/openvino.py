"""OpenVINO on processors and on Intel GPUs."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np

from derain_ros.engine import EngineError, Shape, Tell
from derain_ros.engine.cache import Key, obtain
from derain_ros.engine.images import (
    check_images,
    check_interface,
    crop,
    is_quantized,
    pad_into,
    padded_shape,
    read_model,
)
from derain_ros.engine.machine import INSTALL, physical_cores, processor
from derain_ros.manifest import Model
from derain_ros.tasks import TASKS


class OpenVinoEngine:
    """One model in OpenVINO, compiled for each shape that it runs; see `derain_ros.engine.Engine`.

    Restorers, fusers and segmenters run in bf16 on processors that support it, and in fp16 on GPUs that do. For
    restorers this is twice as fast as fp32, and 0.003 dB worse on real drops. Detectors and temporal filters stay in
    fp32: the thresholds of detectors were chosen for it, and errors would add up in the memory of temporal filters.
    """

    def __init__(self, model: Model, device: str, threads: int, streams: int, tell: Tell) -> None:
        self.name = "openvino" if device == "CPU" else "openvino-gpu"
        self.model = model
        self.streams = streams
        self._target, self._tell = device, tell
        self._openvino = _import_openvino()
        self._core = _core(self._openvino)
        if device not in (name.partition(".")[0] for name in self._core.available_devices):
            there = ", ".join(self._core.available_devices) or "nothing"
            raise EngineError(f"OpenVINO finds no {device} here, only {there}; {INSTALL['openvino-gpu']}")
        self.device = "cpu" if device == "CPU" else str(self._core.get_property(device, "FULL_DEVICE_NAME"))
        data = read_model(model)
        self._sha256 = hashlib.sha256(data).hexdigest()
        arithmetic = self._arithmetic()
        self.precision = "int8" if is_quantized(data) else {"f32": "fp32", "f16": "fp16"}.get(arithmetic, arithmetic)
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": arithmetic, "NUM_STREAMS": streams}
        if device == "CPU":
            # Pinned threads would wait for a busy core while another core is free.
            self._config |= {"INFERENCE_NUM_THREADS": threads or len(physical_cores()), "ENABLE_CPU_PINNING": False}
        self._requests: dict[tuple[int, ...], list[Any]] = {}
        self._check()

    def prepare(self, shape: Shape) -> None:
        """See `derain_ros.engine.Engine.prepare`."""
        padded = padded_shape(self.model, shape)
        # With several streams each takes one image; with one stream it takes the whole batch.
        one = (1, *padded[1:]) if self.streams > 1 else padded
        if one in self._requests:
            return
        key = Key(
            self.model.name,
            self._sha256,
            self.name,
            processor() if self.device == "cpu" else self.device,
            self._openvino.__version__,
            self.precision,
            one,
            json.dumps(self._config, sort_keys=True),
        )
        compiled = obtain(key, lambda: self._compile(one), self._import, self._tell)
        self._requests[one] = [compiled.create_infer_request() for _ in range(self.streams)]

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`."""
        shape = check_images(self.model, images)
        self.prepare(shape)
        padded = padded_shape(self.model, shape)
        count = shape[0]
        step = 1 if self.streams > 1 else count
        requests = self._requests[(step, *padded[1:])]
        outputs: dict[str, np.ndarray] = {}
        try:
            for first in range(0, count, step * len(requests)):
                busy = [(start, request) for start, request in zip(range(first, count, step), requests, strict=False)]
                for start, request in busy:
                    # Copied into OpenVINO's own memory: a borrowed array that is freed too early crashes the process.
                    for name, image in images.items():
                        pad_into(request.get_tensor(name).data, image[start : start + step])
                    request.start_async()
                for _, request in busy:
                    request.wait()
                for start, request in busy:
                    for port in request.model_outputs:
                        part = request.get_tensor(port).data
                        if len(part) == count:
                            outputs[port.any_name] = part.copy()
                            continue
                        whole = outputs.setdefault(port.any_name, np.empty((count, *part.shape[1:]), part.dtype))
                        whole[start : start + step] = part
        except Exception as error:
            # OpenVINO mostly raises RuntimeError, but documents no type.
            raise EngineError(f"{self.model.name}: cannot be run on {shape}: {_last_line(error)}") from error
        return crop(self.model, outputs, shape)

    def _arithmetic(self) -> str:
        able = self._core.get_property(self._target, "OPTIMIZATION_CAPABILITIES")
        if not TASKS[self.model.task].reduced:
            return "f32"
        if self._target != "CPU":
            return "f16" if "FP16" in able else "f32"
        return "bf16" if "BF16" in able else "f32"

    def _compile(self, shape: tuple[int, ...]) -> bytes:
        try:
            graph = self._core.read_model(str(self.model.file))
            graph.reshape({name: list(shape) for name in TASKS[self.model.task].inputs})
            compiled = self._core.compile_model(graph, self._target, self._config)
            return bytes(compiled.export_model().getvalue())
        except Exception as error:
            raise EngineError(
                f"{self.model.file}: OpenVINO cannot compile model {self.model.name} for {shape}: {_last_line(error)}"
            ) from error

    def _import(self, data: bytes) -> Any:
        try:
            return self._core.import_model(BytesIO(data), self._target, self._config)
        except Exception as error:
            raise EngineError(
                f"{self.model.name}: OpenVINO cannot load the compiled engine: {_last_line(error)}"
            ) from error

    def _check(self) -> None:
        """Raise EngineError unless the graph has the inputs and outputs of its task."""
        try:
            graph = self._core.read_model(str(self.model.file))
            inputs = [
                (
                    i.any_name,
                    {"u8": "uint8"}.get(i.element_type.get_type_name(), i.element_type.get_type_name()),
                    i.partial_shape[3].get_length(),
                )
                for i in graph.inputs
            ]
        except Exception as error:
            raise EngineError(
                f"{self.model.file}: model {self.model.name} cannot be loaded: {_last_line(error)}"
            ) from error
        check_interface(self.model, inputs, [o.any_name for o in graph.outputs])


def _import_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"OpenVINO cannot be imported ({error}); {INSTALL['openvino']}") from error
    return openvino


@cache
def _core(openvino: Any) -> Any:
    """Return OpenVINO's core, which loads the device plugins: one per process."""
    return openvino.Core()


def _last_line(error: Exception) -> str:
    """Return the last line of an OpenVINO exception; the lines before it are places in its source."""
    return str(error).strip().rsplit("\n", 1)[-1].strip()
