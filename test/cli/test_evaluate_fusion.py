"""`derain evaluate fusion`: tables, files and the sheet of a folder of pairs; mistakes are told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models
from tiny_fusion import write_pairs
from typer.testing import CliRunner

from derain_ros.cli.main import app

pytest.importorskip("pywt", reason="figures of fused images need the extra `train`")
pytest.importorskip("torch", reason="figures of fused images need the extra `train`")


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain` with these arguments."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs, and a method's images of them."""
    rng = np.random.default_rng(0)
    for place in ("visible", "infrared", "ours"):
        (tmp_path / "pairs" / place).mkdir(parents=True)
        for name in "abc":
            image = cv2.GaussianBlur(rng.integers(0, 256, (60, 80), dtype=np.uint8), (0, 0), 2)
            cv2.imwrite(str(tmp_path / f"pairs/{place}/{name}.png"), image)
    return tmp_path / "pairs"


def test_tables_files_and_sheet(folder: Path, tmp_path: Path) -> None:
    code, output = run(
        "evaluate", "fusion", folder, "--scenes", 2, "--output", tmp_path / "figures", "--sheet", tmp_path / "sheet.png"
    )
    assert code == 0, output
    assert all(f"| {method} |" in output for method in ("ours", "average", "maximum", "laplacian", "guided"))
    assert (tmp_path / "figures/fusion.md").read_text() in output and "over 2 pairs" in output
    lines = (tmp_path / "figures/fusion.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 5 and {line.split(",")[1] for line in lines[1:]} == {"a", "c"}
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * (22 + 220), 7 * round(80 * 220 / 60), 3)


def test_fusers_of_the_manifest_and_pairs_held_out(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path) / "msrs/train"
    models = tiny_models.write_models(tmp_path / "models", with_fuser=True)
    code, output = run(
        "evaluate", "fusion", folder, "--held-out", "--model", "fuse", "--models", models, "--output", tmp_path
    )
    assert code == 0, output
    lines = (tmp_path / "fusion.csv").read_text().splitlines()[1:]
    ours, brighter = ([line.split(",")[1:] for line in lines if line.startswith(name)] for name in ("fuse", "maximum"))
    # Each ninth pair from the first on is held out; the tiny fuser gives the brighter of both.
    assert [line[0] for line in ours] == ["000", "009"] and ours == brighter
    code, output = run("evaluate", "fusion", folder, "--model", "restore_mono", "--models", models)
    assert code == 1 and "name a fuser" in output


def test_mistakes_are_told(folder: Path, tmp_path: Path) -> None:
    code, output = run("evaluate", "fusion", tmp_path)
    assert code == 1 and "contains no folders of visible and infrared images" in output
    for sheet in (tmp_path / "sheet.txt", tmp_path / "nowhere/sheet.png"):
        code, output = run("evaluate", "fusion", folder, "--sheet", sheet)
        assert code == 2 and "name a .png or .jpg file in a folder that exists" in output
    cv2.imwrite(str(folder / "infrared/b.png"), np.zeros((80, 80), np.uint8))
    code, output = run("evaluate", "fusion", folder)
    assert code == 1 and "b: the visible image has 80x60 pixels, but the infrared one 80x80" in output
    (folder / "ours/c.png").unlink()
    code, output = run("evaluate", "fusion", folder)
    assert code == 1 and "ours: has no image for c.png" in output
