from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny_models import write_models
from typer.testing import CliRunner, Result

from derain_ros.cli.bench import app


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny models, with an empty cache of engines."""
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "cache"))
    return write_models(tmp_path / "models")


def bench(*arguments: str) -> Result:
    """Run `derain bench`."""
    return CliRunner().invoke(app, list(arguments))


def test_measures_writes_and_compares(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    arguments = (
        "--model",
        "restore_mono",
        "--engine",
        "onnxruntime",
        "--engine",
        "tensorrt",
        "--size",
        "24x16",
        "--batch",
        "1",
        "--repeats",
        "3",
        "--warm-up",
        "0",
        "--models",
        str(directory),
    )
    first = bench(*arguments, "--output", str(tmp_path / "a"))
    assert first.exit_code == 0, first.output
    assert "| restore_mono | 1x16x24 | onnxruntime | fp32 | 1 |" in first.stdout
    assert "- not measured: tensorrt: " in first.stdout
    assert (tmp_path / "a.md").read_text().startswith("| model |") and (tmp_path / "a.svg").is_file()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    second = bench(*arguments, "--output", str(tmp_path / "b"))
    assert second.exit_code == 0 and "no plot: matplotlib is not installed" in second.output
    assert (tmp_path / "b.md").is_file() and not (tmp_path / "b.svg").exists()
    assert bench(*arguments, "--output", str(tmp_path / "b.v1")).exit_code == 0
    assert (tmp_path / "b.v1.json").is_file()
    compared = bench("compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert compared.exit_code == 0 and "| restore_mono 1x16x24 by onnxruntime |" in compared.output
    assert len(json.loads((tmp_path / "a.json").read_text())["cases"][0]["ms"]) == 3


def test_a_wrong_size_is_a_wrong_call() -> None:
    result = bench("--size", "large")
    assert result.exit_code == 2 and "'large' is not a size" in result.output
