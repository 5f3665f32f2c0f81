"""TensorRT 10: compiled for one shape, in fp32, fp16 or int8, run as a CUDA graph with pinned memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.engine import EngineError, Shape, Tell
from derain_ros.engine.cache import MOST_ENGINE_BYTES, Key, obtain, store
from derain_ros.engine.gpu_graph import for_gpu
from derain_ros.engine.images import (
    check_images,
    crop,
    is_quantized,
    pad_into,
    padded_shape,
    read_model,
)
from derain_ros.engine.machine import INSTALL
from derain_ros.engine.tensorrt_build import build_plan
from derain_ros.engine.tensorrt_device import Binding, Program, find_device
from derain_ros.files import FileError, read_file
from derain_ros.manifest import Model
from derain_ros.tasks import TASKS

MAJOR = "10"


class TensorRtEngine:
    """One model in TensorRT; see `derain_ros.engine.Engine`."""

    name = "tensorrt"
    streams = 1

    def __init__(self, model: Model, tell: Tell) -> None:
        self.model, self._tell = model, tell
        # Find the device first: without one, TensorRT ends the process when it reads an engine, instead of failing.
        self._cuda = _import_cuda()
        self.device = find_device(self._cuda)
        self._trt = _import_tensorrt()
        self._data = read_model(model)
        # The float parts of detectors and temporal filters stay in fp32: the thresholds of detectors were chosen for
        # it, and errors would add up in the memory of temporal filters.
        self._half = TASKS[model.task].reduced
        self.precision = "int8" if is_quantized(self._data) else "fp16" if self._half else "fp32"
        self._sha256 = hashlib.sha256(self._data).hexdigest()
        self._ready: dict[tuple[int, ...], tuple[Program, dict[str, np.ndarray]]] = {}

    def prepare(self, shape: Shape) -> None:
        """See `derain_ros.engine.Engine.prepare`: building takes minutes."""
        padded = padded_shape(self.model, shape)
        if padded not in self._ready:
            self._ready[padded] = obtain(
                self._key(padded), lambda: self._build(padded), lambda plan: self._load(plan, padded), self._tell
            )

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`."""
        shape = check_images(self.model, images)
        self.prepare(shape)
        program, arrays = self._ready[padded_shape(self.model, shape)]
        for name, image in images.items():
            pad_into(arrays[name], image)
        program.run()
        # Copied, because the next run overwrites the pinned memory.
        outputs = {name: array.copy() for name, array in arrays.items() if name not in images}
        return crop(self.model, outputs, shape)

    def accept(self, plan: Path, shape: Shape) -> Path:
        """Check an engine that trtexec built on this GPU, store it in the cache, and return its file there.

        Raises EngineError if `plan` cannot be read, TensorRT refuses it, its inputs and outputs are not those of the
        model for this shape, or the cache cannot be written.
        """
        padded = padded_shape(self.model, shape)
        try:
            data = read_file(plan, MOST_ENGINE_BYTES)
        except (FileError, OSError) as error:
            raise EngineError(f"{plan}: cannot be read ({error})") from error
        self._load(data, padded)
        return store(self._key(padded), data)

    def _key(self, padded: tuple[int, int, int, int]) -> Key:
        return Key(
            self.model.name,
            self._sha256,
            self.name,
            self.device,
            str(self._trt.__version__),
            self.precision,
            padded,
            "" if self._half else "floats in fp32",
        )

    def _build(self, padded: tuple[int, int, int, int]) -> bytes:
        try:
            return build_plan(self._trt, for_gpu(self._data, padded), self.precision == "int8", self._half, self._tell)
        except EngineError as error:
            raise EngineError(
                f"{self.model.file}: TensorRT cannot build model {self.model.name} for {padded}: {error}"
            ) from error

    def _load(self, plan: bytes, padded: tuple[int, int, int, int]) -> tuple[Program, dict[str, np.ndarray]]:
        program = Program(self._trt, self._cuda, plan)
        check_bindings(self.model, padded, program.bindings)
        return program, program.start()


def check_bindings(model: Model, padded: tuple[int, int, int, int], bindings: list[Binding]) -> None:
    """Raise EngineError unless an engine's inputs and outputs are those of the model for `padded` images."""
    batch, height, width, _ = padded
    task = TASKS[model.task]
    wanted: dict[str, tuple[bool, tuple[int, ...] | None, str]] = dict.fromkeys(task.inputs, (True, padded, "uint8"))
    found = {binding.name: binding for binding in bindings}
    shapes = {"image": padded, "mask": (batch, height, width), "classes": (batch, len(model.classes))}
    wanted |= {name: (False, shapes.get(output.shape), task.dtype) for name, output in task.outputs.items()}
    wanted |= {name: (False, None, task.dtype) for name in task.optional if name in found}
    faults = [f"it has no {name}" for name in wanted if name not in found]
    faults += [f"{name} is not a tensor of this model" for name in found if name not in wanted]
    for name, (is_input, shape, dtype) in wanted.items():
        binding = found.get(name)
        if binding is None:
            continue
        if binding.is_input != is_input:
            faults.append(f"{name} is an {'output' if is_input else 'input'}")
        if -1 in binding.shape:
            faults.append(f"{name} has no fixed shape ({binding.shape})")
        elif shape is not None and binding.shape != shape:
            faults.append(f"{name} is of shape {binding.shape}, not {shape}")
        if binding.dtype != dtype:
            faults.append(f"{name} is {binding.dtype}, not {dtype}")
        if not binding.plain:
            faults.append(f"{name} is not in plain device memory")
    if faults:
        raise EngineError(
            f"{model.name}: the engine does not fit: {'; '.join(faults)}; build it from the file that "
            "`derain engine onnx` writes"
        )


def _import_cuda() -> Any:
    """Import the Python module of the CUDA runtime; EngineError if it is missing."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise EngineError(f"cuda-python cannot be imported ({error}); {INSTALL['tensorrt']}") from error
    return runtime


def _import_tensorrt() -> Any:
    """Import TensorRT; EngineError if it is missing or not version 10."""
    try:
        import tensorrt
    except Exception as error:
        # The wheels raise other types than ImportError if their libraries do not load.
        raise EngineError(f"TensorRT cannot be imported ({error}); {INSTALL['tensorrt']}") from error
    if str(tensorrt.__version__).split(".")[0] != MAJOR:
        raise EngineError(
            f"TensorRT is version {tensorrt.__version__}, but version {MAJOR} is needed; "
            f"pip install 'tensorrt>={MAJOR},<{int(MAJOR) + 1}'"
        )
    return tensorrt
