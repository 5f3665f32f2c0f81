"""The weather matrix: what a cell holds, when a rung hurts, and what the node does by default; as a page, too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_models import write_models
from typer.testing import CliRunner

from derain_ros.cli.main import app
from derain_ros.evaluate.matrix import BETTER, Cell, Matrix, clips_of, evaluate
from derain_ros.evaluate.odometry import StereoSequence, drive
from derain_ros.evaluate.pairs import engine_of, pipelines
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.slam.study import Study, StudyRow
from derain_ros.evaluate.slam.trajectory import TrajectoryFigures
from derain_ros.manifest import Manifest
from derain_ros.report.matrix import hurting, notes, write


def cell(matches: list[float], drift: list[float]) -> Cell:
    """A cell whose wet views have 100 matches and a drift of 0.1 on each clip."""
    views = {
        view: {figure: [1.0] * len(matches) for figure in BETTER} for view in ("wet", "light", "light, by default")
    }
    views["wet"] |= {"matches": [100.0] * len(matches), "drift": [0.1] * len(matches)}
    views["light"] |= {"matches": matches, "drift": drift}
    views["light, by default"] = views["wet"]
    return Cell("streak", "light", views, 0.0)


@pytest.mark.parametrize(
    ("matches", "drift", "hurt"),
    [
        ([90.0, 92, 95, 91], [0.1] * 4, ["matches"]),
        ([110.0, 120, 130, 140], [0.2, 0.3, 0.2, 0.25], ["drift"]),
        ([80.0, 90, 80, 85], [0.2, 0.3, 0.2, 0.25], ["matches", "drift"]),
        ([80.0, 120, 130, 70], [0.05, 0.2, 0.02, 0.15], []),  # chance
        ([120.0] * 4, [0.05] * 4, []),
        ([100.0] * 4, [0.1] * 4, []),
    ],
)
def test_a_rung_hurts_where_it_is_worse_by_more_than_chance(
    matches: list[float], drift: list[float], hurt: list[str]
) -> None:
    made = cell(matches, drift)
    assert made.rungs == ["light"] and made.hurts("light") == hurt and made.hurts("light, by default") == []
    matrix = Matrix("drives", 4, 7, [made])
    assert len(hurting(matrix, False)) == bool(hurt) and hurting(matrix, True) == []


@pytest.fixture(scope="module")
def sequence() -> StereoSequence:
    return drive(4, width=320, height=240)


def test_clips_are_spread_over_a_sequence_and_keep_its_poses(sequence: StereoSequence) -> None:
    first, last = clips_of(sequence, 2)
    assert np.array_equal(last.eyes[1][0], sequence.eyes[1][2]) and np.array_equal(first.poses, sequence.poses[:2])
    with pytest.raises(EvaluationError, match="4 frames, too few for 9 clips"):
        clips_of(sequence, 9)


def test_a_cell_holds_wet_and_restored_views_and_what_the_node_does(sequence: StereoSequence, tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    dark, bright = (
        [replace(clip, eyes=tuple([image // 4 + lift for image in eye] for eye in clip.eyes))]
        for clip in clips_of(sequence, 1)
        for lift in (0, 150)
    )
    for clips, acts in ((dark, 0.0), (bright, 1.0)):  # the tiny detector takes what is bright for wet
        made = {"balanced": (engine_of("balanced", models), pipelines(["balanced"], models, False)["balanced"])}
        (found,) = evaluate(clips, ["raindrop few"], ["light"], made, lambda image: image[..., 0] // 64)
        assert list(found.views) == ["wet", "balanced", "balanced, by default"] and found.used == acts
        same, other = ("balanced", "wet") if acts else ("wet", "balanced")
        assert found.views["balanced, by default"]["psnr"] == found.views[same]["psnr"] != found.views[other]["psnr"]
        # The tiny restorer brightens all there is.
        assert found.views["balanced"]["psnr"][0] < found.views["wet"]["psnr"][0]
        assert found.views["wet"]["matches"][0] > 20 and 0 <= found.views["wet"]["drift"][0] <= 1
        assert 0 < found.views["wet"]["miou"][0] <= 1 and np.isnan(found.views["wet"]["iou"][0])


def test_the_page_and_the_record(tmp_path: Path) -> None:
    matrix = Matrix("drives", 4, 7, [cell([90.0, 92, 95, 91], [0.1] * 4)])
    matrix.cells[0].views["wet"]["iou"] = [float("nan")] * 4
    study = Study(
        "drive",
        9,
        1,
        [
            StudyRow("streak", 0.2, 0.1, name, [TrajectoryFigures(1, x, 0, 0, 9)])
            for name, x in (("wet", 0.5), ("light", 0.75))
        ],
    )
    write(tmp_path / "matrix.html", matrix, study)
    page = (tmp_path / "matrix.html").read_text()
    assert page.count("hurts</b>") == 1 and "<td style='background:" in page and ">75<" in page and "http" not in page
    assert page.count("<div class=table><table>") == page.count("<table>") > 1, "on a phone each is moved by itself"
    assert "streak light by light (matches 100 to 92)" in " ".join(notes(matrix))
    matrix.save(tmp_path / "matrix.json")
    told = json.loads((tmp_path / "matrix.json").read_text(), parse_constant=pytest.fail)
    assert (told["format"], told["kind"], told["seed"]) == (1, "matrix", 7) and "processor" in told["machine"]
    assert told["cells"][0]["views"]["light"]["matches"] == [90, 92, 95, 91]
    assert told["cells"][0]["views"]["wet"]["iou"] == ["nan"] * 4
    Matrix.read(tmp_path / "matrix.json").save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == told


def test_the_command(sequence: StereoSequence, tmp_path: Path) -> None:
    kitti, output = tmp_path / "kitti", tmp_path / "matrix"
    for eye, images in zip("lr", sequence.eyes, strict=True):
        (kitti / f"image_{eye}").mkdir(parents=True)
        for n, image in enumerate(images):
            cv2.imwrite(str(kitti / f"image_{eye}/{n}.png"), image)
    shifts = (0.0, -sequence.focal * sequence.baseline)
    (column, row), focal = sequence.centre, sequence.focal
    np.savetxt(kitti / "calib.txt", [[focal, 0, column, shift, 0, focal, row, 0, 0, 0, 1, 0] for shift in shifts])
    np.savetxt(kitti / "poses.txt", sequence.poses[:, :3].reshape(-1, 12))
    models = write_models(tmp_path / "models", with_segmenter=True)
    arguments = ["--anomaly", "streak", "--severity", "light", "--clips", "2", "--kitti", kitti, "--models", models]
    code, told = run("--output", output, "--plan", "balanced", *arguments)
    assert code == 0 and "streak light" in told, told
    matrix = json.loads((output / "matrix.json").read_text(), parse_constant=pytest.fail)
    assert (matrix["scenes"], matrix["clips"], len(matrix["cells"])) == ("kitti", 2, 1)
    assert matrix["origin"]["models"]["restore_mono"] == Manifest.load(models).get("restore_mono").sha256
    page = (output / "matrix.html").read_text()
    assert "streak light" in page
    (output / "matrix.html").unlink()
    again = ["report", str(output / "matrix.json"), "--output", str(output / "again.html")]
    assert CliRunner().invoke(app, again).exit_code == 0 and (output / "again.html").read_text() == page
    refused = CliRunner().invoke(app, [*again, "--fail-if", "p99_ms > 50"])
    assert refused.exit_code == 2 and "'matrix' has no frames" in refused.output
    code, told = run("--output", output, "--severity", "mild")
    assert code == 2 and "'mild': must be one of light, moderate, heavy" in told


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain evaluate matrix` with these arguments."""
    result = CliRunner().invoke(app, ["evaluate", "matrix", *map(str, arguments)])
    return result.exit_code, result.output


def test_in_falling_rain_the_node_takes_what_helps_and_nothing_that_hurts() -> None:
    # Scenes and streaks that no model was chosen on. `light`, made for drops, takes nothing away but scene.
    made = {
        name: (engine_of(name, None), pipeline)
        for name, pipeline in pipelines(["balanced", "light"], None, all_frames=False).items()
    }
    (found,) = evaluate(
        clips_of(drive(6, seed=1001, width=480, height=360), 3), ["streak"], ["moderate"], made, seed=1001
    )
    psnr = {view: np.mean(values["psnr"]) for view, values in found.views.items()}
    assert psnr["light"] < psnr["wet"] < psnr["balanced, by default"] - 1.0
    assert found.hurts("balanced, by default") == [] and found.views["light, by default"] == found.views["wet"]
