"""`derain demo` as a user calls it: the whole way, short."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tiny_models import write_models

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")
sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))

from live import derain, start  # noqa: E402

from derain_ros.replay.bag import BagReader  # noqa: E402


def test_demo_twice_in_a_path_with_a_space(tmp_path: Path) -> None:
    output, models = tmp_path / "my demo", write_models(tmp_path / "models")
    for _ in range(2):
        code, out, err = derain("demo", "--output", output, "--seconds", "2", "--models", models)
        assert code == 0, err
    for words in ("Frames", "Latency", "Anomaly decisions", "PSNR", "cleaned", "report.html"):
        assert words in out
    assert str(output) in out
    assert "<h2>Before and after</h2>" in (output / "report.html").read_text()
    with BagReader(output / "cleaned") as reader:
        assert reader.topics["/derained/left/image_raw"].count > 10
        assert reader.topics["/thermal/image_raw"].count == 20
        assert not reader.damage


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all my work")
    code, _, err = derain("demo", "--output", tmp_path)
    assert code == 1 and "thesis.tex" in err and "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_interrupted_it_leaves_cleanly(tmp_path: Path) -> None:
    process = start("demo", "--output", tmp_path / "demo", "--models", write_models(tmp_path / "models"),
                    start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("demo/drive/*.mcap")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that render
            process.wait()
    assert process.returncode == 130, err
    assert "Traceback" not in err
