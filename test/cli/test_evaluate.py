"""`derain evaluate` of restorers, of video and of odometry: figures and sheets of tiny models; mistakes are told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from tiny_models import write_models
from typer.testing import CliRunner

from derain_ros.cli.main import app

pytest.importorskip("torch", reason="training needs the extra `train`")


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain` with these arguments."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_two_folders_by_name_and_by_file(data_folder: Path, tmp_path: Path) -> None:
    models, folder = write_models(tmp_path / "models"), data_folder / "raindrop_real/train"
    # A file says nothing of its stride; 32, which all exported ones have, suits the tiny one as well.
    code, output = run(
        "evaluate",
        "restoration",
        "restore_rgb",
        models / "restore_mono.onnx",
        "--wet",
        folder / "rain",
        "--clean",
        folder / "clean",
        "--models",
        models,
        "--prefix",
        "2400_",
        "--output",
        tmp_path / "o",
    )
    assert code == 0 and output.count("| rain | restore_rgb | 1 |") == 2, "a row in each protocol"
    assert output.count("| rain | restore_mono | 1 |") == 1
    assert (tmp_path / "o/restoration.md").read_text() in output
    for model in ("restore_rgb", "restore_mono"):
        assert len((tmp_path / f"o/{model}_rain.csv").read_text().splitlines()) == 2
        assert cv2.imread(str(tmp_path / f"o/{model}_rain.png")) is not None


def test_a_folder_of_data(data_folder: Path, tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    code, output = run("evaluate", "restoration", "restore_mono", "--data", data_folder, "--models", models)
    assert code == 0 and "alpha above 0.3" in output
    assert all(f"| {kind} | restore_mono |" in output for kind in ("real", "synthetic", "focused", "pane", "clean"))


def test_a_model_that_serves_rain_is_measured_on_rain(data_folder: Path, tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    manifest = yaml.safe_load((models / "models.yaml").read_text())
    next(m for m in manifest["models"] if m["name"] == "restore_mono")["serves"] = ["night_rain"]
    (models / "models.yaml").write_text(yaml.safe_dump(manifest))
    code, output = run("evaluate", "restoration", "restore_mono", "--data", data_folder, "--models", models)
    assert code == 0 and "more than 10 of 255" in output
    assert all(f"| {kind} | restore_mono |" in output for kind in ("real_rain", "streak", "night_rain", "clean"))
    assert "| real |" not in output and "| focused |" not in output


def test_sequence(tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    code, output = run(
        "evaluate", "sequence", "restore_mono", "--frames", 2, "--models", models, "--output", tmp_path / "flicker.md"
    )
    assert code == 0 and "| drive | photograph |" in output and (tmp_path / "flicker.md").read_text() in output


def test_odometry(tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    code, output = run(
        "evaluate",
        "odometry",
        "restore_mono",
        "--frames",
        2,
        "--models",
        models,
        "--coverage",
        0.2,
        "--output",
        tmp_path / "odometry.md",
    )
    assert code == 0 and output.count("| drive |") == 5
    assert (tmp_path / "odometry.md").read_text() in output
    code, output = run("evaluate", "odometry", "restore_rgb", "--models", models)
    assert code == 1 and "restore_rgb: takes colour" in output
    code, output = run("evaluate", "odometry", "restore_mono", "--temporal", "restore_mono", "--models", models)
    assert code == 1 and "name a temporal filter" in output


def test_what_cannot_be_evaluated_is_told(tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    folders = ("--wet", tmp_path, "--clean", tmp_path, "--models", models)
    code, output = run("evaluate", "restoration", "restore_mono", *folders)
    assert code == 1 and "contains no .png or .jpg" in output
    code, output = run("evaluate", "restoration", "nonesuch", *folders)
    assert code == 1 and "nonesuch: no such model" in output
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40), np.uint8))
    code, output = run("evaluate", "restoration", "detect", *folders)
    assert code == 1 and "detect: its task is to detect" in output
    assert run("evaluate", "restoration", "restore_mono", "--models", models)[0] == 2
    assert run("evaluate", "restoration", "restore_mono", "--wet", tmp_path, "--models", models)[0] == 2
