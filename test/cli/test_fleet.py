"""`derain fleet` as a user calls it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rosbags")

from fleet_bags import write_bag  # noqa: E402
from tiny_models import write_models  # noqa: E402
from typer.testing import CliRunner  # noqa: E402
from waiting import PATIENCE_S, wait_for  # noqa: E402

from derain_ros.cli.main import app  # noqa: E402

runner = CliRunner()


def test_what_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    write_bag(tmp_path / "bags" / "r1" / "drive", frames=30, wet=range(5, 30), period_ns=6 * 10**9)
    models, output = write_models(tmp_path / "models"), tmp_path / "out"
    given = ["fleet", f"{tmp_path}/bags/**", "--output", str(output), "--models", str(models), "--workers", "1"]
    command = subprocess.Popen([sys.executable, "-c", "from derain_ros.cli.main import app; app()", *given])
    made = output / "r1" / "drive.part" / "drive_0.mcap"
    wait_for(made.with_suffix(".json").exists, "the first segment")
    command.send_signal(signal.SIGINT)
    assert command.wait(PATIENCE_S) == 130
    first = made.stat()
    assert not (output / "r1" / "drive").exists()

    for again in range(2):
        result = runner.invoke(app, given)
        assert result.exit_code == 0, result.output
        assert ("planning and finishing took" in result.output) is not again
    kept = (output / "r1" / "drive" / "drive_0.mcap").stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (first.st_ino, first.st_mtime_ns), "it was made again"
    assert len(list((output / "r1" / "drive").glob("*.mcap"))) == 3
    page = (output / "fleet.html").read_text()
    assert "<a href='r1/drive/report.html'>r1/drive</a>" in page and "<td>r1<td>left (/left/image_raw)" in page


def test_bad_bags_are_told_and_end_with_1(tmp_path: Path) -> None:
    (tmp_path / "bags" / "empty").mkdir(parents=True)
    (tmp_path / "bags" / "empty" / "empty_0.mcap").touch()
    models, output = write_models(tmp_path / "models"), tmp_path / "out"
    given = ["fleet", f"{tmp_path}/bags/*", "--output", str(output), "--models", str(models), "--workers", "1"]
    result = runner.invoke(app, given)
    assert result.exit_code == 1 and "empty_0.mcap is empty" in result.output
    assert "empty_0.mcap is empty" in (output / "fleet.html").read_text()


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [(["--workers", "1", "--cluster", "tcp://127.0.0.1:1"], 2, "for this machine only"), ([], 1, "no bag found")],
)
def test_wrong_calls(tmp_path: Path, more: list[str], code: int, says: str) -> None:
    result = runner.invoke(app, ["fleet", f"{tmp_path}/**", "--output", str(tmp_path / "out"), *more])
    assert result.exit_code == code and says in result.output
