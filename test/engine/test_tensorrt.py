"""TensorRT's host side against a GPU that is played in the processor's memory."""

from __future__ import annotations

import ctypes
import enum
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from derain_ros.engine import EngineError, load
from derain_ros.engine.agreement import pictures
from derain_ros.engine.cache import entries
from derain_ros.engine.images import blank
from derain_ros.engine.tensorrt import check_bindings
from derain_ros.engine.tensorrt_device import Binding
from derain_ros.manifest import Manifest


class Error(enum.Enum):
    cudaSuccess = 0
    cudaErrorNoDevice = 100
    cudaErrorMemoryAllocation = 2


class Cuda:
    """The CUDA runtime as cuda-python gives it, with the same arguments; memory, streams and graphs are Python's."""

    cudaError_t = Error
    cudaStreamNonBlocking = 1
    cudaHostAllocDefault = 0
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self.memory: dict[int, Any] = {}
        self.recording: list[Any] | None = None
        self.calls: list[str] = []

    def cudaGetDeviceCount(self) -> Any:  # noqa: N802 - CUDA's names
        return (Error.cudaSuccess, self.devices) if self.devices else (Error.cudaErrorNoDevice, None)

    def cudaGetDeviceProperties(self, device: int) -> Any:  # noqa: N802
        return Error.cudaSuccess, SimpleNamespace(name=b"Played GPU\0\0", major=8, minor=7)

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        return Error.cudaSuccess, 77

    def _allocate(self, size: int) -> Any:
        memory = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(memory)] = memory
        return Error.cudaSuccess, ctypes.addressof(memory)

    def cudaHostAlloc(self, size: int, flags: int) -> Any:  # noqa: N802
        return self._allocate(size)

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        return self._allocate(size)

    def cudaFree(self, devPtr: int) -> Any:  # noqa: N802, N803
        del self.memory[devPtr]
        return (Error.cudaSuccess,)

    def cudaFreeHost(self, ptr: int) -> Any:  # noqa: N802
        return self.cudaFree(ptr)

    def do(self, work: Any) -> None:
        """Do work, or record it while a graph is captured."""
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: int, stream: int) -> Any:  # noqa: N802
        assert stream == 77 and len(self.memory[dst]) == len(self.memory[src]) == count
        self.do(lambda: ctypes.memmove(dst, src, count))
        return (Error.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> Any:  # noqa: N802
        self.recording = []
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> Any:  # noqa: N802
        graph, self.recording = self.recording, None
        return Error.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> Any:  # noqa: N802
        return Error.cudaSuccess, list(graph)

    def cudaGraphDestroy(self, graph: Any) -> Any:  # noqa: N802
        return (Error.cudaSuccess,)

    def cudaGraphExecDestroy(self, graphExec: Any) -> Any:  # noqa: N802, N803
        self.calls.append("destroy")
        return (Error.cudaSuccess,)

    def cudaGraphLaunch(self, graphExec: Any, stream: int) -> Any:  # noqa: N802, N803
        self.calls.append("launch")
        for work in graphExec:
            work()
        return (Error.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> Any:  # noqa: N802
        return (Error.cudaSuccess,)

    def cudaStreamDestroy(self, stream: int) -> Any:  # noqa: N802
        return (Error.cudaSuccess,)


def played_tensorrt(cuda: Cuda, version: str = "10.16.1") -> ModuleType:
    """TensorRT, whose engines are ONNX files that ONNX Runtime runs in the GPU's memory."""
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = version
    trt.builds, trt.flags = [], []
    trt.ILogger = type(
        "ILogger", (), {"__init__": lambda self: None, "Severity": SimpleNamespace(INTERNAL_ERROR=0, ERROR=1)}
    )
    trt.IProgressMonitor = type("IProgressMonitor", (), {"__init__": lambda self: None})
    trt.BuilderFlag = SimpleNamespace(FP16="fp16", INT8="int8", TF32="tf32")
    trt.MemoryPoolType = SimpleNamespace(WORKSPACE=0)
    trt.TensorIOMode = SimpleNamespace(INPUT=1, OUTPUT=2)
    trt.TensorLocation = SimpleNamespace(DEVICE=0)
    trt.TensorFormat = SimpleNamespace(LINEAR=0)
    trt.nptype = lambda dtype: dtype

    class Network:
        model = b""

    class OnnxParser:
        num_errors = 1

        def __init__(self, network: Network, logger: Any) -> None:
            self.network = network

        def parse(self, model: bytes) -> bool:
            self.network.model = model
            return True

        def get_error(self, index: int) -> Any:
            return SimpleNamespace(desc=lambda: "no such operator")

    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def create_network(self, flags: int) -> Network:
            return Network()

        def create_builder_config(self) -> Any:
            return SimpleNamespace(
                set_memory_pool_limit=lambda pool, size: None,
                set_flag=trt.flags.append,
                clear_flag=lambda flag: trt.flags.append(f"no {flag}"),
            )

        def build_serialized_network(self, network: Network, config: Any) -> bytes | None:
            monitor = config.progress_monitor
            monitor.phase_start("Building", None, 4)
            monitor.phase_start("Timing", "Building", 9)
            monitor.phase_start("Thinking", None, -1)
            assert monitor.step_complete("Thinking", 3)
            assert monitor.step_complete("Timing", 1) and monitor.step_complete("Building", 2)
            monitor.phase_finish("Building")
            if trt.fails:
                self.logger.log(1, "out of memory")
                return None
            trt.builds.append(network.model)
            return network.model

    class Context:
        def __init__(self, engine: Engine) -> None:
            self.engine, self.places = engine, {}

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self.places[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            cuda.do(self.compute)
            return True

        def compute(self) -> None:
            session = self.engine.session
            images = {
                image.name: np.frombuffer(cuda.memory[self.places[image.name]], np.uint8).reshape(image.shape)
                for image in session.get_inputs()
            }
            for output, values in zip(session.get_outputs(), session.run(None, images), strict=True):
                ctypes.memmove(self.places[output.name], values.tobytes(), values.nbytes)

    class Engine:
        def __init__(self, plan: bytes) -> None:
            self.session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
            self.tensors = {t.name: t for t in (*self.session.get_inputs(), *self.session.get_outputs())}
            self.num_io_tensors = len(self.tensors)

        def get_tensor_name(self, index: int) -> str:
            return list(self.tensors)[index]

        def get_tensor_mode(self, name: str) -> int:
            return 1 if name in [image.name for image in self.session.get_inputs()] else 2

        def get_tensor_shape(self, name: str) -> list[int]:
            return [size if isinstance(size, int) else -1 for size in self.tensors[name].shape]

        def get_tensor_dtype(self, name: str) -> Any:
            return np.float32 if self.tensors[name].type == "tensor(float)" else np.uint8

        def get_tensor_location(self, name: str) -> int:
            return 0

        def get_tensor_format(self, name: str) -> int:
            return 0

        def create_execution_context(self) -> Context:
            return Context(self)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            assert cuda.devices, "without a device, this ends the process"
            try:
                onnx.load_from_string(plan)
                return Engine(plan)
            except Exception:
                self.logger.log(1, "the magic tag is wrong")
                return None

    trt.fails, trt.Builder, trt.OnnxParser, trt.Runtime = False, Builder, OnnxParser, Runtime
    return trt


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    cuda = Cuda()
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=cuda))
    trt = played_tensorrt(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    return SimpleNamespace(cuda=cuda, trt=trt)


@pytest.mark.parametrize("name", ["restore_mono", "restore_rgb", "detect", "fuse"])
def test_images_go_to_the_gpu_and_come_back(manifest: Manifest, gpu: Any, name: str) -> None:
    model = manifest.get(name)
    engine = load(model, "tensorrt")
    assert engine.device == "Played GPU (compute capability 8.7)"
    for seed in (1, 2):
        shape = (2, *(model.size or (13, 17)))
        outputs, expected = (each.run(**pictures(model, shape, seed)) for each in (engine, load(model)))
        assert outputs.keys() == expected.keys()
        assert all(np.array_equal(outputs[key], expected[key]) for key in expected)
    assert gpu.cuda.calls == ["launch", "launch"] and len(gpu.trt.builds) == 1
    kept = {key: value.copy() for key, value in outputs.items()}
    engine.run(**blank(model, shape))
    assert all(np.array_equal(outputs[key], kept[key]) for key in kept)


def test_it_is_built_once_with_progress(manifest: Manifest, gpu: Any) -> None:
    said: list[str] = []
    load(manifest.get("restore_mono"), "tensorrt", tell=said.append).prepare((2, 16, 16))
    assert said[0].startswith("building restore_mono for tensorrt on Played GPU")
    assert said[1:] == ["TensorRT: Building, 50 %"] and gpu.trt.flags == ["fp16"]
    load(manifest.get("restore_mono"), "tensorrt", tell=said.append).prepare((2, 16, 16))
    assert len(gpu.trt.builds) == 1 and len(said) == 2
    # Another GPU, or another TensorRT, wants another engine.
    gpu.trt.__version__ = "10.3.0"
    load(manifest.get("restore_mono"), "tensorrt").prepare((2, 16, 16))
    assert len(gpu.trt.builds) == 2
    load(manifest.get("detect"), "tensorrt").prepare((2, *manifest.get("detect").size))  # type: ignore[misc]
    assert gpu.trt.flags == ["fp16", "fp16", "no tf32"], "a detector stays in fp32"


def test_memory_is_given_back(manifest: Manifest, gpu: Any) -> None:
    engine = load(manifest.get("restore_mono"), "tensorrt")
    engine.prepare((1, 16, 16))
    assert len(gpu.cuda.memory) == 6
    del engine
    assert not gpu.cuda.memory and gpu.cuda.calls == ["destroy"]


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("detect_float", ["no tf32"]),
        ("detect", ["no tf32", "int8"]),
        ("temporal_int8", ["no tf32", "int8"]),
        ("restore_mono_int8", ["fp16", "int8"]),
    ],
)
def test_the_shipped_models_fit(gpu: Any, name: str, flags: list[str]) -> None:
    model = Manifest.load().get(name)
    image = np.random.default_rng(0).integers(0, 256, (1, *(model.size or (64, 96)), model.channels), np.uint8)
    outputs, expected = load(model, "tensorrt").run(image=image), load(model).run(image=image)
    assert gpu.trt.flags == flags and outputs.keys() == expected.keys()
    assert all(outputs[key].shape == expected[key].shape for key in expected)


def test_without_a_device_nothing_is_touched(manifest: Manifest, gpu: Any) -> None:
    gpu.cuda.devices = 0
    gpu.trt.Runtime = gpu.trt.Builder = None
    with pytest.raises(EngineError, match="CUDA finds no device .cudaErrorNoDevice.; if `nvidia-smi` finds none"):
        load(manifest.get("restore_mono"), "tensorrt")


def test_other_versions_and_missing_libraries_are_told(
    manifest: Manifest, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.trt.__version__ = "11.4.0"
    with pytest.raises(EngineError, match=r"TensorRT is version 11\.4\.0, but version 10 is needed"):
        load(manifest.get("restore_mono"), "tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"TensorRT cannot be imported .*derain_ros\[gpu\]"):
        load(manifest.get("restore_mono"), "tensorrt")
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(EngineError, match="cuda-python cannot be imported"):
        load(manifest.get("restore_mono"), "tensorrt")


def test_a_failed_build_says_what_tensorrt_says(manifest: Manifest, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(manifest.get("restore_mono"), "tensorrt")
    gpu.trt.fails = True
    with pytest.raises(EngineError, match=r"TensorRT cannot build model restore_mono for .*: out of memory"):
        engine.prepare((1, 16, 16))
    monkeypatch.setattr(gpu.trt.OnnxParser, "parse", lambda self, model: False)
    with pytest.raises(EngineError, match="no such operator"):
        engine.prepare((1, 16, 16))
    assert entries() == []


def test_an_engine_of_trtexec_is_checked_and_taken(manifest: Manifest, gpu: Any, tmp_path: Path) -> None:
    from derain_ros.engine.gpu_graph import for_gpu

    model = manifest.get("restore_mono")
    engine: Any = load(model, "tensorrt")
    plan = tmp_path / "restore.plan"
    plan.write_bytes(for_gpu(model.file.read_bytes(), (2, 16, 16, 1)))
    with pytest.raises(EngineError, match=r"image is of shape \(2, 16, 16, 1\), not \(1, 16, 16, 1\)"):
        engine.accept(plan, (1, 16, 16))
    engine.accept(plan, (2, 16, 16))
    image = np.full((2, 16, 16, 1), 20, np.uint8)
    assert (load(model, "tensorrt").run(image=image)["restored"] == 30).all() and not gpu.trt.builds
    plan.write_bytes(b"nonsense")
    with pytest.raises(EngineError, match="the magic tag is wrong"):
        engine.accept(plan, (2, 16, 16))
    with pytest.raises(EngineError, match=r"gone\.plan: cannot be read"):
        engine.accept(tmp_path / "gone.plan", (2, 16, 16))


GOOD = [
    Binding("image", True, (2, 16, 24, 1), "uint8"),
    Binding("restored", False, (2, 16, 24, 1), "uint8"),
    Binding("mask", False, (2, 16, 24), "uint8"),
]


@pytest.mark.parametrize(
    ("bindings", "fault"),
    [
        (GOOD[:2], "it has no mask"),
        ([*GOOD, Binding("extra", False, (1,), "float32")], "extra is not a tensor of this model"),
        ([*GOOD[:2], Binding("mask", True, (2, 16, 24), "uint8")], "mask is an input"),
        ([*GOOD[:2], Binding("mask", False, (2, 16, -1), "uint8")], "mask has no fixed shape"),
        ([*GOOD[:2], Binding("mask", False, (2, 16, 8), "uint8")], r"mask is of shape \(2, 16, 8\), not \(2, 16, 24\)"),
        ([*GOOD[:2], Binding("mask", False, (2, 16, 24), "float16")], "mask is float16, not uint8"),
        ([*GOOD[:2], Binding("mask", False, (2, 16, 24), "uint8", plain=False)], "mask is not in plain device memory"),
    ],
)
def test_bindings_that_do_not_fit_are_refused(manifest: Manifest, bindings: list[Binding], fault: str) -> None:
    check_bindings(manifest.get("restore_mono"), (2, 16, 24, 1), GOOD)
    with pytest.raises(EngineError, match=fault):
        check_bindings(manifest.get("restore_mono"), (2, 16, 24, 1), bindings)


def test_the_played_cuda_takes_what_the_real_one_takes() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for name, function in inspect.getmembers(Cuda, inspect.isfunction):
        if name.startswith("cuda"):
            documented = re.match(r"\w+\((.*)\)", getattr(runtime, name).__doc__.split("\n")[0])
            assert documented, name
            wanted = [re.split(r"[ :]", part.split(":")[0].strip())[-1] for part in documented[1].split(",") if part]
            assert list(inspect.signature(function).parameters)[1:] == wanted, name
    for name in ("cudaStreamNonBlocking", "cudaHostAllocDefault"):
        assert getattr(runtime, name) == getattr(Cuda, name)
    assert runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal == 1
    assert (runtime.cudaMemcpyKind.cudaMemcpyHostToDevice, runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost) == (1, 2)


def test_the_real_cuda_without_a_device_is_an_engine_error(manifest: Manifest) -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("there is a device")
    with pytest.raises(EngineError, match="CUDA finds no device"):
        load(manifest.get("restore_mono"), "tensorrt")
