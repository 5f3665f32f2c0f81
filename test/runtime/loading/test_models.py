"""Which engine the detector gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from derain_ros.config import Config
from derain_ros.engine import EngineError
from derain_ros.manifest import Model
from derain_ros.runtime.loading import models

DETECT = Model("detect", "detect", Path("detect.onnx"), "", 1, 2)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were tried; all but ONNX Runtime fail."""
    tried: list[str] = []

    def load(model: Model, engine: str, threads: int, streams: int = 1) -> str:
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
    def fail(model: Model, engine: str, threads: int, streams: int = 1) -> str:
        raise EngineError("no engine at all")

    monkeypatch.setattr(models, "load", fail)
    with pytest.raises(EngineError, match="no engine at all"):
        models.load_detector(DETECT, Config(engine="onnxruntime"))


@pytest.mark.parametrize(("engine", "cameras", "threads", "cores", "expected"), [
    ("auto", ["left", "right"], 0, 2, 2), ("openvino", ["left", "right"], 0, 8, 2), ("auto", ["front"], 0, 8, 1),
    ("auto", ["left", "right"], 1, 8, 1), ("auto", ["left", "right"], 0, 1, 1),
    ("onnxruntime", ["left", "right"], 0, 8, 1)])
def test_each_eye_has_a_stream_of_its_own_in_openvino(monkeypatch: pytest.MonkeyPatch, engine: str, cameras: list[str],
                                                      threads: int, cores: int, expected: int) -> None:
    monkeypatch.setattr(models, "physical_cores", lambda: list(range(cores)))
    monkeypatch.setattr(models, "load", lambda model, engine, threads, streams=1: streams)
    assert models.load_detector(DETECT, Config(engine=engine, cameras=cameras, threads=threads)) == expected
