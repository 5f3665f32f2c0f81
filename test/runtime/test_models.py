"""Which engine the detector gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from derain_ros.config import Config
from derain_ros.engine import EngineError
from derain_ros.manifest import Model
from derain_ros.runtime import models

DETECT = Model("detect", "detect", Path("detect.onnx"), "", 1, 2)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were tried; all but ONNX Runtime fail."""
    tried: list[str] = []

    def load(model: Model, engine: str, threads: int) -> str:
        tried.append(engine)
        if engine != "onnxruntime":
            raise EngineError(f"{engine} is not installed")
        return engine

    monkeypatch.setattr(models, "load", load)
    return tried


@pytest.mark.parametrize(("asked", "expected", "warned"), [
    ("auto", ["openvino", "onnxruntime"], False), ("openvino", ["openvino", "onnxruntime"], True),
    ("tensorrt", ["tensorrt", "onnxruntime"], True), ("onnxruntime", ["onnxruntime"], False)])
def test_the_detector_falls_back_to_onnx_runtime(tried: list[str], caplog: pytest.LogCaptureFixture, asked: str,
                                                 expected: list[str], warned: bool) -> None:
    assert models.load_detector(DETECT, Config(engine=asked)) == "onnxruntime"
    assert tried == expected and ("takes over" in caplog.text) is warned


def test_an_engine_that_fails_without_another_is_told_of(tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Model, engine: str, threads: int) -> str:
        raise EngineError("no engine at all")

    monkeypatch.setattr(models, "load", fail)
    with pytest.raises(EngineError, match="no engine at all"):
        models.load_detector(DETECT, Config(engine="onnxruntime"))
