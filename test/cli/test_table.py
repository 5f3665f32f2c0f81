"""`derain table`, with tiny trainings and short timings."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from derain_ros.cli.main import app

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
    assert code == 0 and "1 steps at the most, of 2 crops of 32x32" in output
    assert f"| {row} | " in (tmp_path / "table.md").read_text() and f"| {row} | " in output
    logs = list((tmp_path / "runs").rglob("log.jsonl"))
    assert len(logs) == trainings and all(len(log.read_text().splitlines()) == 1 for log in logs)
