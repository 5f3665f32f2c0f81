"""`derain table`, with tiny trainings and short timings."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from derain_ros.cli.main import app

pytestmark = pytest.mark.usefixtures("quick_exports")

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

TINY = """{network: printed, batch: 2, synthetic: 2, steps: 3, validate_every: 1,
           phases: [{real_share: 0.0}, {real_share: 1.0, synthetic: 0}]}"""


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of `derain` with these arguments."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros.papers import speed

    measured = speed.Speed("paper 1, G+E+A", 360, 540, 774_947, 13_230_000_000, (10.0, 20.0, 30.0))
    asked = {}
    monkeypatch.setattr(speed, "measure", lambda **options: asked.update(options) or [measured])
    code, output = run("table", "speed", "--repeats", 3, "--threads", 1, "--output", tmp_path / "speed.md")
    assert code == 0 and asked == {"repeats": 3, "threads": 1}
    assert (tmp_path / "speed.md").read_text() in output and "| paper 1, G+E+A | 540x360 | 0.77 M |" in output


@pytest.mark.parametrize(("table", "row", "trainings"), [("ablation", "G+E+A", 6), ("initialisation", "Our drops", 5)])
def test_tables_that_train(table: str, row: str, trainings: int, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(TINY)
    code, output = run(
        "table",
        table,
        "--data",
        data_folder,
        "--runs",
        tmp_path / "runs",
        "--steps",
        1,
        "--crop",
        32,
        "--config",
        tmp_path / "recipe.yaml",
        "--accelerator",
        "cpu",
        "--output",
        tmp_path / "table.md",
    )
    assert code == 0 and "at most 1 steps in each phase, with 2 crops of 32x32" in output
    assert f"| {row} | " in (tmp_path / "table.md").read_text() and f"| {row} | " in output
    logs = list((tmp_path / "runs").rglob("log.jsonl"))
    assert len(logs) == trainings and all(len(log.read_text().splitlines()) == 1 for log in logs)


TINY_TASK = """{attention: 6, units: [1, 1, 1, 1], coarse: 4, refine: 4, batch: 1, crop: 32, validate_every: 1,
                phases: [{stage: coarse, semantic: 0}, {stage: refine}]}"""


def test_task_driven(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the backbone needs the extra `train`")
    from tiny_streets import write_streets

    data = write_streets(tmp_path / "data", held_out=2)
    (tmp_path / "segment.yaml").write_text("{width: 16, batch: 1, crop: 32, steps: 1, validate_every: 1}")
    (tmp_path / "task.yaml").write_text(TINY_TASK)
    segment = ("train", "segmentation", "--data", data, "--config", tmp_path / "segment.yaml", "--accelerator", "cpu")
    code, output = run(*segment, "--output", tmp_path / "segment")
    judge = tmp_path / "segment/last.pt"
    assert code == 0 and f"next: derain export {judge} segment" in output, output
    task = ("train", "task-driven", "--data", data, "--config", tmp_path / "task.yaml", "--segmenter", judge)
    (tmp_path / "task.yaml").write_text(TINY_TASK.replace("batch: 1", "batch: 1, steps: 1"))
    code, output = run(*task, "--accelerator", "cpu", "--output", tmp_path / "task")
    assert code == 0 and "2/last.pt" in output, output
    table = ("table", "task-driven", "--data", data, "--config", tmp_path / "task.yaml", "--segmenter", judge)
    table += ("--runs", tmp_path / "runs", "--other", judge, "--accelerator", "cpu", "--output", tmp_path / "table.md")
    code, output = run(*table)
    assert code == 0, output
    text = (tmp_path / "table.md").read_text()
    rows = ("rainy", "A/C", "A/C+OJT", "A/C/R", "A/C/R+OJT", "A/C/R+TJT", "`light`", "dry scenes, the bound")
    assert all(f"| {row} | " in text for row in rows) and "mIoU, a second segmenter, heavy" in text
    assert "1 steps of stage I and 1 of stage II, 1 crops of 32x32 each, widths 6, 4 and 4" in text
    folders = sorted(path.parent.name for path in (tmp_path / "runs").rglob("last.pt"))
    assert folders == ["ac", "ac_ojt", "acr", "acr_ojt", "acr_tjt"], "stage I is trained once"
    (tmp_path / "one.yaml").write_text("{steps: 1}")
    code, output = run("table", "task-driven", "--data", data, "--runs", tmp_path, "--config", tmp_path / "one.yaml")
    assert code == 2 and "must have two phases" in output
