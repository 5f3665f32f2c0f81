from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fake_networks import DETECT, SIZE, WET, FakeEngine, World

from derain_ros.config import Config
from derain_ros.engine import EngineError
from derain_ros.frame import Anomaly, Frame
from derain_ros.manifest import Model
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.judge import judge as judge_module
from derain_ros.runtime.judge.judge import FAILURES, Judge

LEFT, RIGHT = (Frame(np.full(SIZE, value, np.uint8), stamp_ns=5) for value in (WET, 50))


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were asked for, in order."""
    asked: list[str] = []

    def load(model: Model, config: Config) -> FakeEngine:
        asked.append(config.engine)
        return world.load(model, config.engine)

    monkeypatch.setattr(judge_module, "load_detector", load)
    return asked


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the comparison of both eyes was asked, and it finds nothing."""
    checked: list[tuple[Any, ...]] = []

    def check(
        self: object, views: np.ndarray, anomalies: Sequence[Anomaly], on_score: float, stamp_ns: int, alarm: bool
    ) -> list[Anomaly]:
        checked.append((views.shape, [anomaly.kind for anomaly in anomalies], on_score, stamp_ns, alarm))
        return list(anomalies)

    monkeypatch.setattr(judge_module.CrossCheck, "check", check)
    return checked


@pytest.mark.parametrize("alarm", [True, False])
def test_two_eyes_are_compared(world: World, checked: list[tuple[Any, ...]], alarm: bool) -> None:
    found = Judge(DETECT, Config()).judge([LEFT, RIGHT], 0.5, alarm, 7)
    assert [anomaly.kind for anomaly in found] == ["raindrop", "clean"] and world.runs[-1] == ("detect", (2, 24, 32, 1))
    assert checked == [((2, 24, 32, 1), ["raindrop", "clean"], 0.5, 7, alarm)]


@pytest.mark.parametrize("count", [1, 3])
def test_one_eye_or_many_are_not(world: World, checked: list[tuple[Any, ...]], count: int) -> None:
    assert len(Judge(DETECT, Config()).judge([LEFT] * count, 0.5, False, 7)) == count and not checked


def test_the_network_is_warm_for_as_many_cameras_as_there_are(world: World) -> None:
    Judge(DETECT, Config(cameras=["left", "right", "rear"]))
    assert world.runs == [("detect", (3, 24, 32, 1))]


def test_where_the_engine_fails_onnx_runtime_takes_over(
    world: World, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    judge = Judge(DETECT, Config(engine="tensorrt"))
    world.failure["detect by tensorrt"] = EngineError("CUDA fails")
    with pytest.raises(EngineError, match="CUDA fails"):
        judge.judge([LEFT], 0.5, False, 7)
    assert asked == ["tensorrt", "onnxruntime"] and judge.engine.name == "onnxruntime"
    assert "tensorrt: CUDA fails; ONNX Runtime on the processor takes over" in caplog.text
    assert judge.judge([LEFT], 0.5, False, 7)[0].kind == "raindrop"


def test_what_fails_all_the_time_is_loaded_anew_so_many_times_and_comes_back_by_itself(
    world: World, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_module.Detect, "warm_up", lambda self, frames: None)
    judge = Judge(DETECT, Config(engine="onnxruntime"))
    world.failure["detect"] = EngineError("out of memory")
    for _ in range(10):
        with pytest.raises(EngineError, match="out of memory"):
            judge.judge([LEFT], 0.5, False, 7)
    assert len(asked) == 1 + FAILURES
    world.failure.clear()
    assert judge.judge([LEFT], 0.5, False, 7)[0].kind == "raindrop"


def test_a_malformed_frame_is_no_failure_of_the_engine(world: World, asked: list[str]) -> None:
    judge = Judge(DETECT, Config())
    for _ in range(FAILURES + 2):
        with pytest.raises(FrameError):
            judge.judge([LEFT, Frame(np.zeros((4, 4), np.float32))], 0.5, False, 7)
    assert len(asked) == 1


def test_one_that_cannot_be_loaded_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.failure["detect"] = EngineError("an operator is unknown")
    with pytest.raises(EngineError, match="an operator is unknown"):
        Judge(DETECT, Config())
