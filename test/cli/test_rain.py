"""`derain rain`: the gallery with and without data, the speed, and sequences."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_scenes import write_camvid
from typer.testing import CliRunner

from derain_ros.cli.rain import app
from derain_ros.data.samples import DataError
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


def test_sequence_of_pictures_video_and_bag(tmp_path: Path) -> None:
    data = write_camvid(tmp_path / "camvid")
    few = ("--frames", 6, "--seed", 2)
    code, output = run("sequence", data, tmp_path / "pictures", *few)
    assert code == 0 and "written" in output and "drawing frames" in output
    assert [len(list((tmp_path / "pictures" / part).iterdir())) for part in ("image", "mask", "clean", "label")] == [
        6
    ] * 4
    assert run("sequence", data / "train/image", tmp_path / "video.mp4", *few, "--rate", 5)[0] == 0
    assert cv2.VideoCapture(str(tmp_path / "video.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert run("sequence", data, tmp_path / "bag", *few, "--bag", "--split", "test")[0] == 0
    assert (tmp_path / "bag/bag.mcap").is_file() and (tmp_path / "bag/metadata.yaml").is_file()
    # What is held out does not come into the sequence of another split.
    assert run("sequence", data, tmp_path / "held_out", *few, "--split", "validation")[0] == 0
    first = cv2.imread(str(tmp_path / "held_out/clean/000000.png"))
    np.testing.assert_array_equal(first, cv2.imread(str(data / "val/image/0016E5_000.png")))


def test_sequences_that_cannot_be_made(tmp_path: Path) -> None:
    data = write_camvid(tmp_path / "camvid")
    result = CliRunner().invoke(app, ["sequence", str(tmp_path / "nowhere"), str(tmp_path / "out")])
    assert isinstance(result.exception, DataError) and "no such folder" in str(result.exception)
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["sequence", str(tmp_path / "empty"), str(tmp_path / "out")])
    assert isinstance(result.exception, DataError) and "leftImg8bit" in str(result.exception)
    for arguments, told in (
        ((data, data), "exists already"),
        ((data, tmp_path / "out", "--split", "val"), "train, validation, test"),
        ((data, tmp_path / "out.mp4", "--bag"), "a bag is a directory"),
        ((data, tmp_path / "no/out.mp4"), "there is no folder"),
        ((data, tmp_path / "out", "--frames", 1), "--frames"),
    ):
        code, output = run("sequence", *arguments)
        assert code == 2 and told in " ".join(output.split()), output
    assert not (tmp_path / "out").exists()
