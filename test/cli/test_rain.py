"""`derain rain`: the gallery with and without data, and the speed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from derain_ros.cli.rain import app
from derain_ros.rain import gallery


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "TILE", (48, 64))


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain rain` with these arguments."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def make_data(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for part in (*gallery.CLEAN_FOLDERS, *(f"raindrop_real/{p}" for p in ("train/rain", "train/clean", "inputs"))):
        (folder / part).mkdir(parents=True)
        for k in range(4):
            cv2.imwrite(str(folder / part / f"{k}.png"), rng.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    (folder / "droplet_masks/train").mkdir(parents=True)
    mask = cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 12, 255, -1)
    cv2.imwrite(str(folder / "droplet_masks/train/0.png"), mask)
    return folder


def test_gallery_with_and_without_real_ones(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    code, output = run("gallery", tmp_path / "own.png", "--seed", 1)
    assert code == 0 and "own.png" in output
    assert run("gallery", tmp_path / "both.png", "--data", data)[0] == 0
    own, both = (cv2.imread(str(tmp_path / name)) for name in ("own.png", "both.png"))
    assert own.shape[1] == 4 * 64 and own.shape[0] % (48 + 26) == 0
    assert both.shape[0] == own.shape[0] + 4 * (48 + 26)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    code, output = run("gallery", tmp_path / "sheet.txt")
    assert code == 2 and ".png" in output
    result = CliRunner().invoke(app, ["gallery", str(tmp_path / "sheet.png"), "--data", str(tmp_path)])
    assert isinstance(result.exception, gallery.GalleryError) and "camvid" in str(result.exception)
    code, output = run("gallery", tmp_path / "no/sheet.png")
    assert code == 2 and "there is no folder" in output


def test_speed() -> None:
    code, output = run("speed", "--seconds", 0.1)
    assert code == 0 and "photograph" in output and "fingerprint" in output and "720x540" in output
