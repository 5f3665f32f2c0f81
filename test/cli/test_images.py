"""`derain images`: files in, files out, each by itself."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_models import BRIGHTER_BY, write_models
from typer.testing import CliRunner

from derain_ros.cli.main import app

WET, CLEAN = 150, 50


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A clean picture between wet ones: grey, colour, and 16 bits of which 12 are used."""
    folder = tmp_path / "wet"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.full((40, 56), WET, np.uint8))
    cv2.imwrite(str(folder / "b.png"), np.full((40, 56), CLEAN, np.uint8))
    cv2.imwrite(str(folder / "c.png"), np.full((30, 50, 3), WET, np.uint8))
    deep = np.full((40, 56), WET << 4, np.uint16)
    deep[:4], deep[4:8] = 0, 4095
    cv2.imwrite(str(folder / "d.png"), deep)
    return folder


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["images", *map(str, arguments)])
    return result.exit_code, result.output


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def test_what_is_wet_is_restored_and_what_is_clean_stays(source: Path, models: Path, tmp_path: Path) -> None:
    code, output = run(source, tmp_path / "out", "--models", models, "--masks")
    assert code == 0 and "3 of 4 images restored, 1 found clean" in output
    restored = {name: read(tmp_path / f"out/{name}.png") for name in "abcd"}
    assert (restored["a"] == WET + BRIGHTER_BY).all() and (restored["b"] == CLEAN).all()
    assert restored["c"].shape == (30, 50, 3) and (restored["c"] == WET + BRIGHTER_BY).all()
    assert restored["d"].dtype == np.uint16 and (restored["d"][8:] == (WET + BRIGHTER_BY) << 4).all()
    assert read(tmp_path / "out/b_mask.png").shape == (40, 56)


def test_one_file_gives_what_it_gives_among_others(source: Path, models: Path, tmp_path: Path) -> None:
    assert run(source / "b.png", tmp_path / "one", "--models", models, "--all")[0] == 0
    assert (read(tmp_path / "one/b.png") == CLEAN + BRIGHTER_BY).all(), "restored though clean, as was asked for"
    assert not (tmp_path / "one/b_mask.png").exists()


def test_a_file_that_is_no_image_is_told_and_the_others_are_restored(
    source: Path, models: Path, tmp_path: Path
) -> None:
    (source / "broken.png").write_text("no image")
    code, output = run(source, tmp_path / "out", "--models", models)
    assert code == 1 and "broken.png: is no readable JPEG, PNG" in output and "3 of 5 images restored" in output


@pytest.mark.parametrize(("given", "told"), [("missing", "there is no such file"), ("empty", "contains no images")])
def test_what_cannot_be_done_is_told(tmp_path: Path, models: Path, given: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    code, output = run(tmp_path / given, tmp_path / "out", "--models", models)
    assert code == 1 and told in output


def test_nothing_is_written_onto_itself(source: Path, models: Path) -> None:
    code, output = run(source, source, "--models", models)
    assert code == 1 and "would be overwritten" in output and (read(source / "a.png") == WET).all()


@pytest.mark.parametrize(("names", "masks"), [(("e.png", "e.jpg"), False), (("e.jpg", "e_mask.png"), True)])
def test_no_name_is_written_twice(tmp_path: Path, models: Path, names: tuple[str, str], masks: bool) -> None:
    (tmp_path / "in").mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / "in" / name), np.full((40, 56), WET, np.uint8))
    code, output = run(tmp_path / "in", tmp_path / "out", "--models", models, *["--masks"] * masks)
    assert code == 1 and f"would both be written to {names[1][:-4]}.png; rename one" in output
    assert not (tmp_path / "out").exists()
    if masks:
        assert run(tmp_path / "in", tmp_path / "out", "--models", models)[0] == 0


@pytest.mark.parametrize("beside", ["e.png", "e_mask.png"])
def test_nothing_beside_the_images_is_overwritten(tmp_path: Path, models: Path, beside: str) -> None:
    cv2.imwrite(str(tmp_path / "e.jpg"), np.full((40, 56), WET, np.uint8))
    (tmp_path / beside).write_text("precious")
    code, output = run(tmp_path / "e.jpg", tmp_path, "--models", models, "--masks")
    assert code == 1 and f"{beside}: would be overwritten" in output and (tmp_path / beside).read_text() == "precious"


def test_a_photograph_comes_out_upright(tmp_path: Path, models: Path) -> None:
    pixels = np.full((40, 56), CLEAN, np.uint8)
    pixels[:, :28] = CLEAN - 40
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + bytes(4)
    (tmp_path / "held.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    assert run(tmp_path / "held.jpg", tmp_path / "out", "--models", models, "--masks")[0] == 0
    upright = read(tmp_path / "out/held.png")
    assert upright.shape == read(tmp_path / "out/held_mask.png").shape == (56, 40)
    assert upright[:20].max() < CLEAN - 20 < upright[-20:].min(), "what lay on the left is at the top"


def test_pixels_that_only_a_header_tells_of_are_not_made(source: Path, models: Path, tmp_path: Path) -> None:
    png = bytearray((source / "a.png").read_bytes())
    png[16:24] = (60000).to_bytes(4, "big") * 2
    (source / "a.png").write_bytes(png)
    code, output = run(source, tmp_path / "out", "--models", models)
    assert code == 1 and "a.png: states 60000x60000 pixels" in output and "3 of 4" not in output


def test_names_need_not_be_text(tmp_path: Path, models: Path) -> None:
    name = os.fsdecode(b"a\xff")
    (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", np.full((40, 56), WET, np.uint8))[1].tobytes())
    assert run(tmp_path / f"{name}.png", tmp_path / "out", "--models", models, "--masks")[0] == 0
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == [b"a\xff.png", b"a\xff_mask.png"]


def test_an_output_that_cannot_be_made_or_written_is_told(source: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    code, output = run(source, tmp_path / "file", "--models", models)
    assert code == 1 and "file: cannot be made (File exists)" in output
    (tmp_path / "out/a.png").mkdir(parents=True)
    code, output = run(source, tmp_path / "out", "--models", models)
    assert code == 1 and "a.png: cannot be written (Is a directory)" in output


def test_what_is_no_whole_image_is_told_and_left_out(source: Path, models: Path, tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))[1].tobytes()
    (source / "cut.jpg").write_bytes(jpeg[:-200])
    os.mkfifo(source / "pipe.png")
    output = run(source, tmp_path / "out", "--models", models)[1]
    assert "cut.jpg: is cut off" in output and "pipe.png: cannot be read: is no regular file" in output
    assert not (tmp_path / "out/cut.png").exists() and (tmp_path / "out/a.png").exists()
