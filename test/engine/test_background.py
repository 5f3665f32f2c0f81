from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from derain_ros.engine import EngineError, background, load
from derain_ros.engine.auto import Choice
from derain_ros.engine.background import Preparation
from derain_ros.manifest import Manifest


class Steps:
    """Stands for `choose`: goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.result: Choice | Exception = EngineError("not set")
        monkeypatch.setattr(background, "choose", self.choose)

    def choose(self, models: Any, shape: Any, engine: str, threads: int, tell: Any, before_measuring: Any) -> Choice:
        for say in (lambda: tell("building, 40 %"), lambda: before_measuring("measuring 2 engines")):
            say()
            self.at.release()
            assert self.go.acquire(timeout=20)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def test_frames_go_on_by_a_slower_engine_until_the_choice_is_ready(manifest: Manifest, steps: Steps) -> None:
    model = manifest.get("restore_mono")
    best = load(model)
    steps.result = Choice(best, "restore_mono by tensorrt")
    preparation = Preparation([model], (1, 16, 16))
    assert steps.at.acquire(timeout=20)
    assert preparation.state == "building, 40 %" and not preparation.ready
    slower = preparation.engine
    assert slower is not None and slower is not best
    assert (slower.run(np.full((1, 16, 16, 1), 20, np.uint8))["restored"] == 30).all()
    steps.go.release()
    assert steps.at.acquire(timeout=20)
    assert preparation.state == "measuring 2 engines" and preparation.engine is None
    steps.go.release()
    assert preparation.wait(20)
    assert preparation.ready and preparation.engine is best and preparation.state == "ready: restore_mono by tensorrt"


@pytest.mark.parametrize("error", [EngineError("no GPU"), RuntimeError("no GPU")])
def test_where_nothing_can_be_chosen_the_slower_one_stays(manifest: Manifest, steps: Steps, error: Exception,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    steps.result = error
    steps.go.release(2)
    preparation = Preparation([manifest.get("restore_mono")], (1, 16, 16), "tensorrt")
    assert preparation.wait(20) and preparation.failed and not preparation.ready
    assert preparation.engine is not None and preparation.engine.name == "onnxruntime"
    assert "no GPU; restore_mono by onnxruntime on cpu in fp32 runs instead" in preparation.state


def test_an_engine_that_fails_later_is_retired(manifest: Manifest, steps: Steps, monkeypatch: pytest.MonkeyPatch,
                                               caplog: pytest.LogCaptureFixture) -> None:
    best = load(manifest.get("restore_mono"))
    steps.result = Choice(best, "restore_mono by tensorrt")
    steps.go.release(2)
    preparation = Preparation([manifest.get("restore_mono")], (1, 16, 16))
    assert preparation.wait(20)
    monkeypatch.setattr(background, "load", None)  # frames wait meanwhile: nothing may be loaded
    forgotten: list[object] = []
    monkeypatch.setattr(background, "forget", lambda *choice: forgotten.append(choice))
    preparation.retire(EngineError("the GPU fell off the bus"))
    slower = preparation.engine
    assert slower is not None and slower is not best
    assert "the GPU fell off the bus" in preparation.state and "takes over" in caplog.text
    assert preparation.failed and not preparation.ready, "what has failed is to be told"
    assert forgotten == [([manifest.get("restore_mono")], (1, 16, 16), "auto", 0)]
    preparation.retire(EngineError("again"))
    assert preparation.engine is slower


def test_a_real_one_gets_ready(manifest: Manifest) -> None:
    preparation = Preparation([manifest.get("restore_mono")], (1, 16, 16))
    assert preparation.wait(60) and preparation.ready and preparation.state.startswith("ready: restore_mono by ")
