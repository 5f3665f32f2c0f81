"""`derain evaluate slam`: what was called wrongly is told before any work; the real ORB-SLAM3 where it is there."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from tiny_models import write_models
from typer.testing import CliRunner

from derain_ros.cli.main import app
from derain_ros.evaluate.slam.environment import VARIABLE
from derain_ros.evaluate.slam.study import Study

pytest.importorskip("evo", reason="the judge of trajectories: pip install 'derain_ros[slam]'")
sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))

from live import derain  # noqa: E402

from derain_ros.replay.drive import Drive, record  # noqa: E402

needs_slam = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"no ORB-SLAM3: name a Python with pyorbslam3 in {VARIABLE}"
)


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain evaluate slam` with these arguments."""
    result = CliRunner().invoke(app, ["evaluate", "slam", *map(str, arguments)])
    return result.exit_code, result.output


def test_what_does_not_go_together_is_told(tmp_path: Path) -> None:
    for wrong, told in (
        (("--live",), "need a bag"),
        ((tmp_path, "--anomaly", "streak"), "need a folder"),
        (("--anomaly", "snow"), "'snow': must be one of raindrop heavy"),
        (("--plan", "best"), "'best': must be one of quality"),
    ):
        code, output = run(*wrong)
        assert code == 2 and told in output, output
    code, output = run("--slam-python", sys.executable)
    assert code == 1 and "pip install pyorbslam3" in output


@needs_slam
def test_a_bag_wet_and_restored(tmp_path: Path) -> None:
    record(Drive(1.0, 6.0, 320, 240), tmp_path / "bag", tmp_path / "truth")
    models = write_models(tmp_path / "models")
    output = tmp_path / "slam"
    code, told = run(
        *(tmp_path / "bag", "--plan", "balanced", "--repeats", 1, "--all-frames", "--no-masked"),
        *("--models", models, "--output", output),
    )
    assert code == 0, told
    study = Study.read(output / "slam.json")
    assert [row.views for row in study.rows] == ["wet", "balanced"] and "truth: /vehicle/pose" in study.notes
    assert "restore_mono" in study.rows[1].plans and study.frames == 6
    assert (output / "slam.md").read_text().splitlines()[2].startswith("|  |  | wet |")
    assert {path.name for path in output.iterdir()} >= {"slam.html", "wet_1.tum", "wet_1.kitti", "balanced_1.tum"}


@needs_slam
def test_a_bag_beside_a_dry_one_and_through_the_node(tmp_path: Path) -> None:
    """The dry bag gives the truth, as the wet one's poses are left out."""
    # Of so short a drive the lenses are dry all the time.
    record(Drive(2.0, 6.0, 320, 240), tmp_path / "wet", tmp_path / "truth")
    shutil.copytree(tmp_path / "wet", tmp_path / "dry")
    output = tmp_path / "slam"
    code, told, err = derain(
        *("evaluate", "slam", tmp_path / "wet", "--dry", tmp_path / "dry", "--live", "--all-frames", "--truth", "none"),
        *("--repeats", 1, "--models", write_models(tmp_path / "models"), "--output", output),
    )
    assert code == 0, told + err
    study = Study.read(output / "slam.json")
    assert [row.views for row in study.rows] == ["dry", "wet", "live auto", "live auto, masked"]
    assert "truth: the trajectory of the first run on the dry bag" in study.notes
    # On a busy machine the node, which has just started, may restore few.
    assert "restore_mono" in study.rows[2].plans
    assert {path.name for path in output.iterdir()} >= {"dry_1.tum", "wet_1.tum", "live-auto_1.tum"}


def test_a_bag_that_is_not_there_is_told_before_anything_is_installed(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "slam", str(tmp_path / "nowhere")])
    assert result.exit_code == 1 and "nowhere does not exist" in result.output and "installing" not in result.output
