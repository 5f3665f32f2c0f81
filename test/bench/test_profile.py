from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE_S

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from derain_ros.bench.frames import lenses  # noqa: E402
from derain_ros.bench.profile import CELL, Idle, Stopwatch, _idle_networks  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.runtime.judge import judge  # noqa: E402
from derain_ros.runtime.loading import loader  # noqa: E402

ROOT = Path(__file__).parents[2]


def test_the_node_is_measured_over_dds(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    environment |= {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "DERAIN_CACHE": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(
        [sys.executable, "-m", "derain_ros.bench.profile", "--size", "72x54", "--rate", "50", "--seconds", "1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    spent = dict(re.findall(r"^([\w, ]+?) +([\d.-]+) ms of CPU a pair$", done.stdout, re.MULTILINE))
    stages = {"take", "convert, pair", "pipeline", "publish", "middleware"}
    assert spent.keys() == stages | {"all"}, done.stdout
    ms = {stage: float(number) for stage, number in spent.items()}
    assert all(ms[stage] > 0 for stage in stages - {"middleware"})
    assert ms["all"] == pytest.approx(sum(ms[stage] for stage in stages), abs=0.01)


def test_idle_networks_find_drops_and_are_taken_back(manifest: Manifest) -> None:
    def loads() -> list[object]:
        return [judge.load_detector, loader.load, loader.choose]

    before = loads()
    with _idle_networks([]):
        assert not any(now is then for now, then in zip(loads(), before, strict=True))
    assert loads() == before
    model = manifest.get("detect")
    assert model.size is not None
    found = Idle(model, lenses(540, 720)).run(image=np.zeros((2, *model.size, 1), np.uint8))
    assert found["mask"].shape == (2, model.size[0] // CELL, model.size[1] // CELL)
    assert all(0 < mask.mean() < 0.5 for mask in found["mask"]) and found["probabilities"].argmax(1).tolist() == [1, 1]


def test_a_stopwatch_counts_what_is_timed_and_all_of_it() -> None:
    watch = Stopwatch()
    watch.start()
    assert watch.timing("publish", lambda n: sum(range(n)))(300_000) == 300_000 * 299_999 // 2
    found = watch.stages()
    assert 0 < found["publish"] <= found["all"]
    # In this thread, so that taking and publishing count it both, and the rest is what is left.
    assert found["take"] >= found["publish"]
    parts = sum(found[stage] for stage in ("take", "convert, pair", "pipeline", "publish", "middleware"))
    assert parts == pytest.approx(found["all"])
