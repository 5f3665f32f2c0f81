"""ONNX Runtime on NVIDIA GPUs, with its CUDA or its TensorRT provider. Not yet run on a GPU."""

from __future__ import annotations

import ctypes
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.engine import EngineError, Shape, Tell
from derain_ros.engine.cache import Key, within_folder
from derain_ros.engine.gpu_graph import for_gpu
from derain_ros.engine.images import check_images, crop, is_quantized, pad, padded_shape, read_model
from derain_ros.engine.machine import INSTALL, has_nvidia_device, nvidia_gpus
from derain_ros.engine.onnxruntime import check_session, first_line, import_onnxruntime, session_options
from derain_ros.manifest import Model
from derain_ros.tasks import TASKS

PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
DEVICE = "cuda"
"""The device on which ONNX Runtime keeps the tensors, for both providers."""
TENSORRT_LIBRARY = "libnvinfer.so.10"


class OnnxRuntimeGpuEngine:
    """One model in ONNX Runtime on the first GPU; see `derain_ros.engine.Engine`.

    Inputs and outputs stay bound to buffers on the GPU. Float models of restorers, fusers and segmenters run in TF32
    with CUDA, where the GPU has it, and in fp16 with TensorRT; those of other tasks run in fp32. TensorRT may use TF32
    instead of fp32: its provider has no switch against it.
    """

    streams = 1

    def __init__(self, model: Model, provider: str, tell: Tell) -> None:
        self.name = f"onnxruntime-{provider}"
        self.model, self._provider, self._tell = model, PROVIDERS[provider], tell
        self._ort = import_onnxruntime()
        if self._provider not in self._ort.get_available_providers():
            raise EngineError(
                f"ONNX Runtime {self._ort.__version__} is built without {self._provider}; uninstall "
                f"onnxruntime and {INSTALL[self.name]}"
            )
        if DEVICE == "cuda" and not has_nvidia_device():
            raise EngineError("there is no NVIDIA GPU here, or its driver is not loaded; check with `nvidia-smi`")
        if hasattr(self._ort, "preload_dlls"):
            self._ort.preload_dlls()  # pip installs CUDA's libraries where the loader does not search
        self._tensorrt = _load_tensorrt() if provider == "tensorrt" else ""
        self.device = next(iter(nvidia_gpus()), "NVIDIA GPU")
        self._data = read_model(model)
        self._sha256 = hashlib.sha256(self._data).hexdigest()
        self.precision = "int8" if is_quantized(self._data) else "fp32"
        if self.precision == "fp32" and TASKS[model.task].reduced:
            self.precision = "tf32" if provider == "cuda" else "fp16"
        self._ready: dict[tuple[int, ...], tuple[Any, Any, dict[str, Any]]] = {}

    def prepare(self, shape: Shape) -> None:
        """See `derain_ros.engine.Engine.prepare`."""
        padded = padded_shape(self.model, shape)
        if padded in self._ready:
            return
        version = f"{self._ort.__version__}{self._tensorrt}"
        key = Key(self.model.name, self._sha256, self.name, self.device, version, self.precision, padded)
        try:
            session = self._session(padded, key)
            used = session.get_providers()[0]
            if used != self._provider:
                raise EngineError(
                    f"ONNX Runtime falls back to {used}: the libraries of {self._provider} do not load; "
                    "see its documentation for the required versions of CUDA, cuDNN and TensorRT"
                )
            check_session(self.model, session)
            self._ready[padded] = (session, *self._bound(session, padded))
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"{self.model.file}: model {self.model.name} cannot be loaded: {first_line(error)}"
            ) from error

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`."""
        shape = check_images(self.model, images)
        self.prepare(shape)
        session, binding, values = self._ready[padded_shape(self.model, shape)]
        try:
            for name, image in images.items():
                values[name].update_inplace(np.ascontiguousarray(pad(self.model, image)))
            session.run_with_iobinding(binding)
            outputs = {name: np.array(value.numpy()) for name, value in values.items() if name not in images}
        except Exception as error:
            raise EngineError(f"{self.model.name}: cannot be run on {shape}: {first_line(error)}") from error
        return crop(self.model, outputs, shape)

    def _session(self, padded: tuple[int, int, int, int], key: Key) -> Any:
        """Make a session for this shape; ONNX Runtime itself stores TensorRT's engines, in a folder of the cache."""
        tensorrt = self._provider == PROVIDERS["tensorrt"]
        graph = for_gpu(self._data, padded, tensorrt)
        options = session_options(self._ort, 1)
        if not tensorrt:
            settings = {"use_tf32": "1" if self.precision == "tf32" else "0"} if DEVICE == "cuda" else {}
            return self._ort.InferenceSession(graph, options, providers=[(self._provider, settings)])

        def in_folder(folder: Path) -> Any:
            settings = {
                "trt_fp16_enable": str(TASKS[self.model.task].reduced),
                "trt_int8_enable": str(self.precision == "int8"),
                "trt_engine_cache_enable": "True",
                "trt_engine_cache_path": str(folder),
            }
            others = {"use_tf32": str(int(TASKS[self.model.task].reduced))}  # for nodes that TensorRT does not take
            providers = [(self._provider, settings), (PROVIDERS["cuda"], others)]
            return self._ort.InferenceSession(graph, options, providers=providers)

        return within_folder(key, in_folder, self._tell)

    def _bound(self, session: Any, padded: tuple[int, int, int, int]) -> tuple[Any, dict[str, Any]]:
        """Bind the session to buffers on the GPU; return the binding, and the buffers by name."""
        kinds = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
        binding, values = session.io_binding(), {}
        make = self._ort.OrtValue.ortvalue_from_shape_and_type
        for name in TASKS[self.model.task].inputs:
            values[name] = make(padded, np.uint8, DEVICE, 0)
            binding.bind_ortvalue_input(name, values[name])
        for output in session.get_outputs():
            if not all(isinstance(size, int) for size in output.shape):
                raise EngineError(
                    f"{self.model.file}: the shape of {output.name} is not fixed ({output.shape}); export "
                    "the model again with `derain export`"
                )
            values[output.name] = make(output.shape, kinds[output.type], DEVICE, 0)
            binding.bind_ortvalue_output(output.name, values[output.name])
        return binding, values


def _load_tensorrt() -> str:
    """Load TensorRT's library, which the provider finds by name, and return its version as text for the cache's key.

    The text is empty if the library does not state its version. Raises EngineError if the library is missing.
    """
    with suppress(Exception):
        import tensorrt  # noqa: F401 - loads the library that pip installed, if there is one
    try:
        library = ctypes.CDLL(TENSORRT_LIBRARY)
    except OSError as error:
        raise EngineError(f"TensorRT's library does not load ({error}); {INSTALL['onnxruntime-tensorrt']}") from error
    version = getattr(library, "getInferLibVersion", None)
    return f", TensorRT {version()}" if version else ""
