"""The demonstration's own judgement: its rate, its plan, the room on the disk, and whether it failed."""

from __future__ import annotations

import shutil
from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import write_models

from derain_ros.config import Config
from derain_ros.frame import Action, CameraResult, Frame, Result
from derain_ros.replay import demo
from derain_ros.replay.account import Account, Output
from derain_ros.replay.demo import check_room, failure_of, measure, rate_for
from derain_ros.replay.drive import Drive
from derain_ros.replay.records import ReplayError

DRIVE = Drive(seconds=1.0, width=64, height=48)
WET = {camera: dict.fromkeys(range(10), True) | dict.fromkeys(range(10, 20), False) for camera in ("left", "right")}


class FakePipeline:
    """A pipeline whose plans take so many milliseconds."""

    ms: dict[str, float] = {}

    def __init__(self, config: Config, *given: Any) -> None:
        self.config = config

    def load(self) -> None:
        pass

    def apply(self, config: Config) -> None:
        self.config = config

    def process(self, frames: Any) -> Result:
        assert not self.config.gating
        plan, image = self.config.plan, np.zeros((1, 1), np.uint8)
        cameras = {name: CameraResult(Frame(image), Action.RESTORED, image) for name in frames.frames}
        return Result(cameras, plan, True, {"total": self.ms[plan]}, models="restore_mono")


@pytest.mark.parametrize(
    ("light", "balanced", "quality", "chosen"),
    [
        (5, 10, 20, (20.0, "quality")),
        (5, 10, 200, (20.0, "balanced")),
        (20, 40, 300, (20.0, "light")),
        (40, 45, 300, (10.0, "balanced")),
        (200, 400, 900, (2.0, "light")),
        (3000, 5000, 9000, (2.0, "light")),
    ],
)
def test_rate_and_plan_are_what_the_machine_can_do(
    monkeypatch: pytest.MonkeyPatch, light: float, balanced: float, quality: float, chosen: tuple[float, str]
) -> None:
    monkeypatch.setattr(demo, "Pipeline", FakePipeline)
    monkeypatch.setattr(FakePipeline, "ms", {"light": light, "balanced": balanced, "quality": quality})
    assert measure(Config(), DRIVE, None, lambda done, total: None) == chosen


def test_a_drive_is_never_played_faster_than_asked_for() -> None:
    assert [rate_for(ms, 12.0) for ms in (1, 41, 49, 51, 9999)] == [
        12.0,
        12.0 if 41 <= 500 / 12 else 10.0,
        10.0,
        5.0,
        2.0,
    ]
    assert rate_for(9999, 1.0) == 1.0


def test_real_networks_are_measured(tmp_path: Path) -> None:
    told: list[int] = []
    rate, plan = measure(Config(engine="onnxruntime"), DRIVE, write_models(tmp_path), lambda done, _: told.append(done))
    assert rate in demo.RATES and plan in demo.PLANS and told[0] == 0 and told[-1] == len(demo.PLANS)


def test_models_that_restore_nothing_are_told_of_before_the_work(tmp_path: Path) -> None:
    (write_models(tmp_path) / "restore_mono.onnx").write_text("no model")
    with pytest.raises(ReplayError, match=r"nothing can be restored: .*restore_mono"):
        measure(Config(engine="onnxruntime"), DRIVE, tmp_path, lambda done, total: None)


def test_a_full_disk_is_told_of_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", ("total", "used", "free"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**9))
    check_room(tmp_path, Drive(seconds=10.0))
    with pytest.raises(ReplayError, match=r"take about 4.7 GB, but only 1.0 GB are free; name another --output"):
        check_room(tmp_path, Drive(seconds=60.0))


def account(*actions: str) -> Account:
    outputs = [Output(camera, k, action, True, 0.9, 10.0) for k, action in enumerate(actions) for camera in WET]
    return Account(Counter(left=20, right=20), outputs)


def test_half_of_the_wet_frames_is_enough() -> None:
    assert failure_of(account(*["restored"] * 5, *["passed_budget"] * 5), WET) == ""
    assert failure_of(account(), {}) == ""


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (["passed_budget"] * 6, "12 were passed budget: this machine is too slow"),
        ([], "12 were dropped: this machine"),
        (["passed_clean"] * 6, "classified them as clean"),
        (["passed_disabled"] * 6, "models were not ready"),
        (["passed_error"] * 4 + ["passed_clean"] * 2, "8 were passed error: restoring failed"),
        (["unknown"] * 6, "the node did not say why"),
    ],
)
def test_less_than_half_is_a_failure_with_its_reason(rest: list[str], said: str) -> None:
    found = failure_of(account(*["restored"] * 4, *rest), WET)
    assert found.startswith("less than half of the wet frames were restored, 8 of 20;") and said in found


def test_every_action_but_restored_has_a_reason() -> None:
    assert set(demo.REASONS) == {action.value for action in Action} - {"restored"} | {"dropped"}
