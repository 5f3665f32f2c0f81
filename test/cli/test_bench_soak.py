"""`derain bench soak`: the command, its record and its exit code, on the real node over real DDS."""

from __future__ import annotations

import signal
import sys
from itertools import islice
from pathlib import Path

import pytest
from tiny_models import write_models
from waiting import PATIENCE_S

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")
sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))

from live import derain, start  # noqa: E402

from derain_ros.bench.faults import schedule  # noqa: E402
from derain_ros.bench.soaked import Limits, Soak, broken  # noqa: E402


def test_the_faults_of_the_seed_are_played_and_the_verdict_is_the_exit_code(tmp_path: Path) -> None:
    models, output = write_models(tmp_path / "models"), tmp_path / "soak"
    arguments = ("--hours", "0.002", "--seed", "3", "--rate", "5", "--models", models, "--output", output)
    code, out, err = derain("bench", "soak", *arguments)
    assert out, err
    soak = Soak.read(Path(f"{output}.json"))
    told = broken(soak, Limits())
    assert code == bool(told) and all(f"derain: {text}" in err for text in told), out + err
    assert [fault.kind for fault in soak.faults] == [f.kind for f in islice(schedule(3), len(soak.faults))]
    assert (soak.seed, soak.rate, soak.crash, soak.twice, soak.kept) == (3, 5.0, "", 0, 0), out + err
    page = Path(f"{output}.html").read_text()
    assert "soak test" in page and "<caption>Faults</caption>" in page
    assert "too short to judge the growth" in out and "too short to judge the growth" in page
    assert all(fault.kind in out for fault in soak.faults) and f"written: {output}.json" in out.replace("\n", "")


def test_after_ctrl_c_there_is_what_was_played(tmp_path: Path) -> None:
    models, output = write_models(tmp_path / "models"), tmp_path / "soak"
    process = start("bench", "soak", "--seed", "3", "--rate", "5", "--models", models, "--output", output)
    try:
        assert process.stdout is not None
        first = next(line for line in process.stdout if "restoring after" in line)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130 and "the run ended early: interrupted" in err, out + err
    soak = Soak.read(Path(f"{output}.json"))
    assert soak.crash == "interrupted" and soak.faults[0].kind in first and soak.record.account.outputs
    assert "ended early: interrupted" in Path(f"{output}.html").read_text()


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    code, out, err = derain("bench", "soak", "--output", tmp_path / "no" / "soak")
    assert code == 2 and "there is no folder" in out + err
