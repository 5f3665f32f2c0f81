from __future__ import annotations

import runpy
import sys
from typing import Any

import pytest

from derain_ros.frame import Action
from derain_ros.runtime import pipeline
from derain_ros.runtime.profile import overhead

STAGES = {"pipeline", "views", "judge", "cross-check"}


def test_every_part_of_a_restored_frame_set_is_measured() -> None:
    before = pipeline.load_detector, pipeline.Preparation
    results: list[Any] = []
    spent = overhead(54, 72, 2, lambda frames, result: results.append(result))
    assert spent.keys() == STAGES | {"publish"} and all(ms >= 0 for ms in spent.values())
    assert results and {camera.action for camera in results[0].cameras.values()} == {Action.RESTORED}
    # Only one eye is affected, so the other is looked at.
    assert [camera.anomaly.affected for camera in results[0].cameras.values()] == [True, False]
    assert (pipeline.load_detector, pipeline.Preparation) == before


def test_it_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["profile", "--size", "72x54", "--count", "1"])
    runpy.run_module("derain_ros.runtime.profile", run_name="__main__")
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == STAGES
