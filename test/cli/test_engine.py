from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_models
from typer.testing import CliRunner, Result

from derain_ros.bench import selftest
from derain_ros.cli.engine import app
from derain_ros.engine import EngineError, load
from derain_ros.engine.onnxruntime import OnnxRuntimeEngine


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny models, with an empty cache."""
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "cache"))
    return write_models(tmp_path / "models")


def engine(*arguments: str) -> Result:
    """Run `derain engine`."""
    return CliRunner().invoke(app, list(arguments))


def test_builds_lists_and_clears(directory: Path) -> None:
    pytest.importorskip("openvino")
    built = engine("build", "restore_mono", "--engine", "openvino", "--size", "24x16", "--models", str(directory))
    assert built.exit_code == 0, built.output
    assert "restore_mono: ready by openvino for 2x16x24" in built.output
    listed = engine("list").output
    assert "restore_mono" in listed and "2x16x24x1" in listed
    assert "1 engines removed" in engine("clear").output
    assert "restore_mono" not in engine("list").output


def test_auto_measures_and_says_what_it_chose(directory: Path) -> None:
    result = engine("build", "restore_mono", "--size", "24x16", "--models", str(directory))
    assert result.exit_code == 0 and "restore_mono: restore_mono by " in result.output
    assert "chosen for 2x16x24: restore_mono by " in engine("list").output
    for name, text in (("a", '{"bad'), ("b", "[1]"), ("c", '{"shape": 5, "why": ""}')):
        (directory.parent / f"cache/choice-{name}.json").write_text(text)
    listed = engine("list")
    assert listed.exit_code == 0 and "chosen for 2x16x24" in listed.output
    assert all(f"choice-{name}.json is damaged" in listed.output for name in "abc")


def test_what_cannot_be_built_is_told(directory: Path) -> None:
    result = engine("build", "restore_mono", "--engine", "warp", "--models", str(directory))
    assert result.exit_code == 1 and "warp: no such engine" in result.output
    assert engine("build", "--size", "large", "--models", str(directory)).exit_code == 2
    assert engine("build", "--plan", "x.plan", "--models", str(directory)).exit_code == 2


def test_the_graph_for_trtexec_runs(directory: Path, tmp_path: Path) -> None:
    import onnxruntime

    result = engine("onnx", "restore_mono", str(tmp_path / "gpu.onnx"), "--size", "20x12", "--models", str(directory))
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession(tmp_path / "gpu.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [2, 16, 24, 1]


def test_the_selftest_finds_agreement_and_lists_what_is_missing(directory: Path) -> None:
    result = engine("selftest", "--size", "48x32", "--models", str(directory))
    assert result.exit_code == 0, result.output
    assert "Every engine that loads here agrees" in result.output
    rows = [line for line in result.output.splitlines() if "│ restore_mono " in line]
    assert any(" onnxruntime " in row and " 0.00 " in row and " yes " in row for row in rows)
    assert "not available: tensorrt: " in result.output or any(" tensorrt " in row for row in rows)


def test_the_selftest_fails_where_an_engine_computes_something_else(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(OnnxRuntimeEngine):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            return {name: output // 2 for name, output in super().run(image=image).items()}

    def wrong_load(model, name="auto", *arguments, **keys):  # type: ignore[no-untyped-def]
        if name == "tensorrt":
            raise EngineError("no device; install one")
        return Wrong(model) if name == "openvino" else load(model)

    def odd_load(model, name="auto", *arguments, **keys):  # type: ignore[no-untyped-def]
        if name == "tensorrt":
            raise AttributeError("module 'tensorrt' has no attribute 'Runtime'")
        return load(model, name, *arguments, **keys)

    monkeypatch.setattr(selftest, "load", odd_load)
    monkeypatch.setattr(selftest, "wet_frames", selftest.pictures)
    result = engine("selftest", "restore_mono", "--size", "48x32", "--models", str(directory))
    assert result.exit_code == 1 and "no attribute 'Runtime'" in " ".join(result.output.split())
    monkeypatch.setattr(selftest, "load", wrong_load)
    monkeypatch.setattr(selftest, "wet_frames", selftest.pictures)  # rendering takes longer than all the rest
    result = engine("selftest", "restore_mono", "--size", "48x32", "--models", str(directory))
    assert result.exit_code == 1
    assert "dB of what the network" in result.output and "1 of 5 trials failed" in result.output
    assert "not available: tensorrt: no device; install one" in result.output
