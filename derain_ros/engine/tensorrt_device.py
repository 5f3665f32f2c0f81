"""Direct calls of TensorRT 10 and CUDA 12 or later: everything that runs on an NVIDIA GPU.

Not yet run on a GPU: each call is checked against the documentation of the Python APIs, and what can be decided
without a device is decided in tensorrt.py. `derain engine selftest` shows whether it works.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from derain_ros.engine import EngineError
from derain_ros.engine.tensorrt_build import make_logger


@dataclass(frozen=True)
class Binding:
    """An input or output of a compiled engine; `plain` if it is stored row by row in the GPU's memory."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: str
    plain: bool = True

    @property
    def bytes(self) -> int:
        """Size of the tensor in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def find_device(cuda: Any) -> str:
    """Return name and compute capability of the first GPU; EngineError if there is none."""
    error, count = cuda.cudaGetDeviceCount()
    if error != cuda.cudaError_t.cudaSuccess or not count:
        raise EngineError(f"CUDA finds no device ({error.name}); if `nvidia-smi` finds none either, install the driver")
    properties = value_of(cuda, cuda.cudaGetDeviceProperties(0))
    name = properties.name.decode(errors="replace").rstrip("\0")
    return f"{name} (compute capability {properties.major}.{properties.minor})"


def value_of(cuda: Any, result: tuple[Any, ...]) -> Any:
    """Return the value of a CUDA call's (error, value), None if it has none; EngineError if the call failed."""
    error, *values = result
    if error != cuda.cudaError_t.cudaSuccess:
        raise EngineError(f"CUDA fails: {error.name}")
    return values[0] if values else None


class Program:
    """A deserialized engine with its buffers, its stream and its CUDA graph; for one thread at a time."""

    def __init__(self, trt: Any, cuda: Any, plan: bytes) -> None:
        self._cuda = cuda
        logger = make_logger(trt)
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError("; ".join(logger.errors) or "TensorRT cannot read the engine")
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        self.bindings = [
            Binding(
                name,
                self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                tuple(self._engine.get_tensor_shape(name)),
                np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))).name,
                self._engine.get_tensor_location(name) == trt.TensorLocation.DEVICE
                and self._engine.get_tensor_format(name) == trt.TensorFormat.LINEAR,
            )
            for name in names
        ]

    def start(self) -> dict[str, np.ndarray]:
        """Allocate buffers and record the CUDA graph; return the pinned host array of every tensor by name.

        Write the inputs before `run` and read the outputs after it. Raises EngineError on failure.
        """
        cuda, value = self._cuda, lambda result: value_of(self._cuda, result)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError("TensorRT cannot create an execution context: the GPU's memory may be full")
        self._stream = value(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        host: list[Any] = []
        device: list[Any] = []
        graphs: list[Any] = []
        weakref.finalize(self, _release, cuda, self._stream, graphs, host, device).atexit = False
        arrays, self._copies = {}, []
        for binding in self.bindings:
            size = binding.bytes
            host.append(value(cuda.cudaHostAlloc(size, cuda.cudaHostAllocDefault)))
            device.append(value(cuda.cudaMalloc(size)))
            memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(host[-1])))
            arrays[binding.name] = memory.view(binding.dtype).reshape(binding.shape)
            if not self._context.set_tensor_address(binding.name, int(device[-1])):
                raise EngineError(f"TensorRT does not accept the memory of {binding.name}")
            self._copies.append((binding.is_input, host[-1], device[-1], size))
        self._enqueue()  # a first run, so that TensorRT's deferred set-up is not recorded
        value(cuda.cudaStreamSynchronize(self._stream))
        # Thread-local: calls of other threads stay allowed, which may load another engine meanwhile.
        value(cuda.cudaStreamBeginCapture(self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
        try:
            self._enqueue()
        finally:
            error, graph = cuda.cudaStreamEndCapture(self._stream)
        self._graph = value(cuda.cudaGraphInstantiate(value((error, graph)), 0))
        graphs.append(self._graph)
        value(cuda.cudaGraphDestroy(graph))
        return arrays

    def run(self) -> None:
        """Copy the inputs to the GPU, infer, copy the outputs back, and wait."""
        value_of(self._cuda, self._cuda.cudaGraphLaunch(self._graph, self._stream))
        value_of(self._cuda, self._cuda.cudaStreamSynchronize(self._stream))

    def _enqueue(self) -> None:
        cuda, kinds = self._cuda, self._cuda.cudaMemcpyKind
        for _, host, device, size in [c for c in self._copies if c[0]]:
            value_of(cuda, cuda.cudaMemcpyAsync(device, host, size, kinds.cudaMemcpyHostToDevice, self._stream))
        if not self._context.execute_async_v3(int(self._stream)):
            raise EngineError("TensorRT cannot run the engine")
        for _, host, device, size in [c for c in self._copies if not c[0]]:
            value_of(cuda, cuda.cudaMemcpyAsync(host, device, size, kinds.cudaMemcpyDeviceToHost, self._stream))


def _release(cuda: Any, stream: Any, graphs: list[Any], host: list[Any], device: list[Any]) -> None:
    cuda.cudaStreamSynchronize(stream)
    for graph in graphs:
        cuda.cudaGraphExecDestroy(graph)
    for address in host:
        cuda.cudaFreeHost(address)
    for address in device:
        cuda.cudaFree(address)
    cuda.cudaStreamDestroy(stream)
