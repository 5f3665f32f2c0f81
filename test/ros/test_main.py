from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "PYTHONUNBUFFERED": "1"}
COMMAND = [sys.executable, "-m", "derain_ros.ros.node", "--ros-args"]


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]],
    ids=lambda signals: "+".join(s.name for s in signals),
)
def test_a_signal_ends_the_node_with_0(models: Path, signals: list[signal.Signals]) -> None:
    with subprocess.Popen(
        [*COMMAND, "-p", f"models:={models}"],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "active for left, right" in line:
                break
        for number in signals:
            process.send_signal(number)
        rest = process.communicate(timeout=30)[1]
    assert process.returncode == 0, (lines, rest)
    assert "Traceback" not in rest and "rror" not in rest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-p", "engine:=magic"), "onnxruntime"),
        (("--params-file", "nowhere.yaml"), "nowhere.yaml"),
        (("-p", "budget_ms"), "budget_ms"),
        (("-r", "__ns:=a b"), "__ns:=a b"),
    ],
)
def test_a_bad_argument_is_told_without_a_traceback(arguments: tuple[str, str], said: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
