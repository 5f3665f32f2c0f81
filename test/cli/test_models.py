from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import write_models
from typer.testing import CliRunner, Result

from derain_ros.cli.main import app
from derain_ros.cli.models import SHOWN
from derain_ros.tasks import TASKS


@pytest.fixture()
def directory(tmp_path: Path) -> Path:
    """A directory of tiny models that a test may damage."""
    return write_models(tmp_path / "models")


def models(*arguments: str) -> Result:
    """Run `derain models`."""
    return CliRunner().invoke(app, ["models", *arguments])


def row(result: Result, name: str) -> list[str]:
    """The cells of a model's row."""
    (line,) = (line for line in result.output.splitlines() if line.startswith("│") and f" {name} " in line)
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_lists_every_model_with_its_figures(directory: Path) -> None:
    result = models("--models", str(directory))
    assert result.exit_code == 0
    assert row(result, "restore_mono")[:2] == ["restore_mono", "grey"]
    assert row(result, "restore_rgb")[:2] == ["restore_rgb", "colour"]
    assert row(result, "detect")[1:] == ["grey", "0.0 MB", ""]
    assert str(directory) in result.output


def test_every_task_has_figures_for_the_list(tmp_path: Path) -> None:
    assert SHOWN.keys() == TASKS.keys()
    directory = write_models(tmp_path / "models", with_segmenter=True)
    (directory / "figures").mkdir()
    (directory / "figures/segment.yaml").write_text("colour_miou: 61.2\ncolour_accuracy: 90.1\n")
    result = models("--models", str(directory))
    assert result.exit_code == 0 and row(result, "segment")[3] == "colour_miou 61.2"


def test_shows_one_model_with_all_its_figures_and_its_card(directory: Path) -> None:
    (directory / "figures").mkdir()
    (directory / "figures/detect.yaml").write_text("psnr_gain_db: 1.0\n")
    result = models("detect", "--models", str(directory))
    assert result.exit_code == 0
    assert row(result, "detect")[1:] == ["grey", "0.0 MB", "psnr_gain_db 1"]
    assert f"Card: {directory / 'detect.md'}" in result.output and "restore" not in result.output
    assert models("nonesuch", "--models", str(directory)).exit_code == 1


def test_verify_says_yes(directory: Path) -> None:
    result = models("--models", str(directory), "--verify")
    assert result.exit_code == 0
    assert [row(result, name)[-1] for name in ("restore_mono", "restore_rgb", "detect")] == ["yes"] * 3


def test_verify_exits_1_and_names_what_is_damaged_or_missing(directory: Path) -> None:
    with (directory / "detect.onnx").open("ab") as file:
        file.write(b"x")
    (directory / "restore_rgb.onnx").unlink()
    result = models("--models", str(directory), "--verify")
    assert result.exit_code == 1
    assert row(result, "detect")[-1] == "no"
    assert row(result, "restore_rgb")[2:] == ["missing", "", "no"]
    assert row(result, "restore_mono")[-1] == "yes"
    assert f"{directory / 'detect.onnx'}: sha256 is" in result.output
    assert f"{directory / 'restore_rgb.onnx'}: cannot be read" in result.output


def test_shipped_models_are_whole() -> None:
    result = models("--verify")
    assert result.exit_code == 0
    assert [row(result, name)[-1] for name in ("restore_mono", "restore_rgb", "detect", "fuse")] == ["yes"] * 4
