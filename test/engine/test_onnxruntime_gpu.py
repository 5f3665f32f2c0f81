"""The GPU's engine with the processor in its place: what it does to graphs, buffers and outputs is the same."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import pytest

from derain_ros.engine import EngineError, load, onnxruntime_gpu
from derain_ros.engine.agreement import pictures
from derain_ros.engine.images import blank
from derain_ros.engine.machine import has_nvidia_device
from derain_ros.manifest import Manifest


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(onnxruntime_gpu.PROVIDERS, "cuda", "CPUExecutionProvider")
    monkeypatch.setattr(onnxruntime_gpu, "DEVICE", "cpu")


@pytest.mark.parametrize("name", ["restore_mono", "restore_rgb", "detect", "fuse"])
def test_outputs_are_those_of_the_reference(manifest: Manifest, processor: None, name: str) -> None:
    model = manifest.get(name)
    engine = load(model, "onnxruntime-cuda")
    for size in ((16, 24), (13, 17)):
        shape = (2, *(model.size or size))
        outputs, expected = (each.run(**pictures(model, shape)) for each in (engine, load(model)))
        assert outputs.keys() == expected.keys()
        assert all(np.array_equal(outputs[key], expected[key]) for key in expected)
    before = {key: value.copy() for key, value in outputs.items()}
    engine.run(**blank(model, shape))
    assert all(np.array_equal(outputs[key], before[key]) for key in before)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has the provider")
@pytest.mark.parametrize("engine", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_build_without_the_provider_is_told_with_its_remedy(manifest: Manifest, engine: str) -> None:
    with pytest.raises(EngineError, match=r"is built without .*pip install 'derain_ros\[gpu\]'"):
        load(manifest.get("detect"), engine)


def test_falling_back_to_the_processor_is_an_error(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    # As ONNX Runtime does where CUDA's libraries do not load: it warns and takes the next provider.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    monkeypatch.setattr(onnxruntime_gpu, "has_nvidia_device", lambda: True)
    with pytest.raises(EngineError, match=r"TensorRT's library does not load .*derain_ros\[gpu\]"):
        load(manifest.get("restore_mono"), "onnxruntime-tensorrt")
    monkeypatch.setattr(onnxruntime_gpu, "TENSORRT_LIBRARY", "libc.so.6")
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(EngineError, match="falls back to CPUExecutionProvider"),
    ):
        load(manifest.get("restore_mono"), "onnxruntime-tensorrt").prepare((1, 16, 16))


@pytest.mark.skipif(has_nvidia_device(), reason="has a device")
def test_a_missing_device_is_told(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(EngineError, match="there is no NVIDIA GPU here"):
        load(manifest.get("restore_mono"), "onnxruntime-cuda")


def test_the_package_onnx_is_asked_for(manifest: Manifest, processor: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(EngineError, match="pip install onnx"):
        load(manifest.get("restore_mono"), "onnxruntime-cuda").prepare((1, 16, 16))
