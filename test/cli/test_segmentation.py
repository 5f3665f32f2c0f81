"""`derain evaluate segmentation`: a procedural drive in the rain, a segmenter by file, and mistakes."""

from __future__ import annotations

from pathlib import Path

import cv2
import onnx
import pytest
from tiny_models import SEGMENTS, segmenter, write_models
from typer.testing import CliRunner

from derain_ros.cli.main import app
from derain_ros.rain.scene import Scene, rig

pytest.importorskip("rosbags")


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain` with these arguments."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def shower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of a shower over a procedural drive, of which no labels are known."""
    folder = tmp_path_factory.mktemp("drive")
    scene, camera = Scene(7), rig(160, 120)["left"]
    (folder / "clean").mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"clean/{number}.png"), scene.render(camera, number / 10)[0])
    code, output = run("rain", "sequence", folder / "clean", folder / "shower", "--frames", 8, "--bag")
    assert code == 0, output
    return folder / "shower"


def test_a_drive_in_the_rain(shower: Path, tmp_path: Path) -> None:
    models = write_models(tmp_path / "models", with_segmenter=True)
    table, sheet = tmp_path / "segmentation.md", tmp_path / "sheet.png"
    given = ("evaluate", "segmentation", shower, "--models", models)
    code, output = run(*given, "--plan", "balanced", "--output", table, "--sheet", sheet)
    assert code == 0, output
    text = table.read_text(encoding="utf-8")
    assert "|  | wet | restored | dry |" in text and "| mIoU, % |" in text and "100.0 (100.0 to 100.0) |" in text
    assert "Reference: the segmentation of the dry images, because the bag has no labels on /truth/left/labels." in text
    # The tiny detector takes this drive, which is bright, for wet in every frame.
    assert "8 of 8 frames restored (100 %), by balanced (restore_rgb)." in text
    assert "Segmentation by segment" in output and all(line in output for line in text.splitlines()[-3:])
    assert cv2.imread(str(sheet)).shape[1] == 4 * round(160 * 140 / 120)
    sheet.unlink()

    model = segmenter()
    onnx.helper.set_model_props(model, {"classes": ",".join(SEGMENTS)})
    onnx.save(model, tmp_path / "other.onnx")
    code, output = run(*given, "--segmenter", tmp_path / "other.onnx")
    assert code == 0 and "Segmentation by other" in output
    assert text.splitlines()[2].split("|")[2].strip() in output


def test_what_is_wrong_is_told(shower: Path, tmp_path: Path) -> None:
    models = write_models(tmp_path / "models", with_segmenter=True)
    given = ("evaluate", "segmentation", shower, "--models", models)
    code, output = run(*given, "--segmenter", "restore_rgb")
    assert code == 1 and "restore_rgb: its task is to restore; name a segmenter" in output
    onnx.save(segmenter(), tmp_path / "unnamed.onnx")
    code, output = run(*given, "--segmenter", tmp_path / "unnamed.onnx")
    assert code == 1 and "unnamed.onnx: does not say its classes" in output
    code, output = run(*given, "--segmenter", tmp_path / "nowhere.onnx")
    assert code == 1 and "nowhere.onnx: cannot be loaded" in output
    code, output = run(*given, "--plan", "fast")
    assert code == 2 and "plan" in output
    assert run(*given, "--sheet", tmp_path / "sheet.txt")[0] == run(*given, "--output", tmp_path / "no/t.md")[0] == 2
    code, output = run("evaluate", "segmentation", tmp_path / "no bag", "--models", models)
    assert code == 1 and "no bag" in output
