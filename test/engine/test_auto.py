from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from derain_ros import engine as engines
from derain_ros.engine import EngineError, auto
from derain_ros.engine.auto import Candidate, choose, measure, pick
from derain_ros.engine.onnxruntime import OnnxRuntimeEngine
from derain_ros.manifest import Manifest, Model


class Played(OnnxRuntimeEngine):
    """A real engine under another name; a run takes as long as is said, by the `clock`."""

    now_s = 0.0

    def __init__(self, model: Model, name: str, seconds: float, streams: int = 1, wrong: bool = False) -> None:
        super().__init__(model, 1)
        self.name, self.seconds, self.streams, self.wrong, self.runs = name, seconds, streams, wrong, 0

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.runs += 1
        Played.now_s += self.seconds
        outputs = super().run(image=image)
        return {key: value // 2 if self.wrong else value for key, value in outputs.items()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes by in runs of `Played` only, however busy this machine is."""
    monkeypatch.setattr(
        auto, "time", SimpleNamespace(perf_counter=lambda: Played.now_s, monotonic=lambda: Played.now_s, time=time.time)
    )


@pytest.fixture
def machine(clock: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `load` gives by engine's name; an exception is raised. `loads` lists what was asked for."""
    held: dict[str, Any] = {"loads": []}

    def load(model: Model, name: str = "auto", threads: int = 0, streams: int = 1, tell: Any = None) -> Any:
        held["loads"].append((name, model.name, streams))
        made = held.get(name, EngineError(f"{name} is not installed"))
        if isinstance(made, Exception):
            raise made
        return made(model, streams)

    monkeypatch.setattr(auto, "load", load)
    monkeypatch.setattr(auto, "physical_cores", lambda: [0, 1])
    return held


def makes(name: str, seconds: float, **how: Any) -> Callable[[Model, int], Played]:
    return lambda model, streams: Played(model, name, seconds, streams, **how)


def test_the_fastest_is_chosen_told_and_remembered(manifest: Manifest, machine: dict[str, Any], cache: Path) -> None:
    model = manifest.get("restore_mono")
    machine |= {
        "onnxruntime": makes("onnxruntime", 0.02),
        "openvino": makes("openvino", 0.001),
        "tensorrt": EngineError("no device"),
    }
    said: list[str] = []
    choice = choose([model], (1, 16, 16), tell=said.append)
    assert choice.engine.name == "openvino"
    assert choice.why.startswith("restore_mono by openvino on cpu in fp32 ")
    assert "next: restore_mono by onnxruntime" in choice.why
    assert said[-2:] == ["measuring 2 engines", f"chosen: {choice.why}"]
    assert "tensorrt: no device" in choice.failures and len(choice.times) == 2
    machine["loads"].clear()
    again = choose([model], (1, 16, 16))
    assert again.engine.name == "openvino" and again.why == f"{choice.why} (remembered)"
    assert again.failures == choice.failures and machine["loads"] == [("openvino", "restore_mono", 1)]
    # Another shape, another number of threads, other models: measured anew.
    for arguments in (
        ([model], (1, 16, 24)),
        ([model], (1, 16, 16), "auto", 1),
        ([manifest.get("restore_rgb")], (1, 16, 16)),
    ):
        machine["loads"].clear()
        choose(*arguments)  # type: ignore[arg-type]
        assert len(machine["loads"]) > 2


def test_what_was_remembered_and_fails_now_is_chosen_anew(
    manifest: Manifest, machine: dict[str, Any], cache: Path
) -> None:
    machine |= {"onnxruntime": makes("onnxruntime", 0.02), "openvino": makes("openvino", 0.001)}
    choose([manifest.get("restore_mono")], (1, 16, 16))
    machine["openvino"] = EngineError("a library is gone")
    choice = choose([manifest.get("restore_mono")], (1, 16, 16))
    assert choice.engine.name == "onnxruntime" and "openvino: a library is gone" in choice.failures
    for file in cache.glob("choice-*.json"):
        file.write_text("{}")
    assert choose([manifest.get("restore_mono")], (1, 16, 16)).engine.name == "onnxruntime"


class Faulty(Played):
    """An engine that fails in a way that no engine of ours does, from its run number `first` on."""

    def __init__(self, model: Model, name: str, first: int) -> None:
        super().__init__(model, name, 0.0)
        self.first = first

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        if self.runs >= self.first:
            raise MemoryError("no room on the device")
        return super().run(image=image)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (TypeError("no such argument"), "TypeError: no such argument"),
        (lambda model, streams: Faulty(model, "openvino", 0), "MemoryError: no room on the device"),
        (lambda model, streams: Faulty(model, "openvino", 2), "MemoryError: no room on the device"),
    ],
    ids=["loading", "trying", "measuring"],
)
def test_whatever_one_engine_fails_with_the_others_are_chosen_from(
    manifest: Manifest, machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, made: Any, told: str
) -> None:
    machine |= {"onnxruntime": makes("onnxruntime", 0.001), "tensorrt": makes("tensorrt", 0.02), "openvino": made}
    choice = choose([manifest.get("restore_mono")], (1, 16, 16))
    assert choice.engine.name == "onnxruntime" and f"openvino: {told}" in choice.failures
    # What is installed and fails may work another day.
    assert choose([manifest.get("restore_mono")], (1, 16, 16)).why == f"{choice.why} (remembered)"
    monkeypatch.setattr(auto.time, "time", lambda: 4e9)
    again = choose([manifest.get("restore_mono")], (1, 16, 16)).why
    assert ("remembered" in again) == isinstance(made, Exception)


def test_the_only_one_that_does_not_fail_while_measured_is_chosen(manifest: Manifest, machine: dict[str, Any]) -> None:
    machine |= {
        "onnxruntime": makes("onnxruntime", 0.001),
        "openvino": lambda model, streams: Faulty(model, "openvino", 2),
    }
    choice = choose([manifest.get("restore_mono")], (1, 16, 16))
    assert choice.engine.name == "onnxruntime" and choice.why.endswith("; there is no other candidate")


def test_one_that_failed_is_no_measure_for_the_others(manifest: Manifest, clock: None) -> None:
    model = manifest.get("restore_mono")
    faulty, sound = Candidate(Faulty(model, "faulty", 1)), Candidate(Played(model, "sound", 0.01))
    measure([faulty, sound], {"image": np.zeros((1, 16, 16, 1), np.uint8)})
    assert "no room on the device" in faulty.fault and len(faulty.ms) == 1
    assert not sound.fault and len(sound.ms) == auto.REPEATS


def test_a_choice_that_fails_is_forgotten(manifest: Manifest, machine: dict[str, Any], cache: Path) -> None:
    machine |= {"onnxruntime": makes("onnxruntime", 0.0)}
    models = [manifest.get("restore_mono")]
    choose(models, (1, 16, 16))
    assert "remembered" in choose(models, (1, 16, 16)).why
    auto.forget(models, (1, 16, 16), "auto", 0)
    assert "remembered" not in choose(models, (1, 16, 16)).why


def test_an_engine_that_computes_something_else_is_not_trusted(manifest: Manifest, machine: dict[str, Any]) -> None:
    machine |= {"onnxruntime": makes("onnxruntime", 0.01), "openvino": makes("openvino", 0.0, wrong=True)}
    choice = choose([manifest.get("restore_mono")], (1, 16, 16))
    assert choice.engine.name == "onnxruntime"
    assert any("openvino" in failure and "are wrong: " in failure for failure in choice.failures)


def test_streams_are_tried_on_processors_for_batches(manifest: Manifest, machine: dict[str, Any]) -> None:
    machine |= {
        "onnxruntime": lambda model, streams: Played(model, "onnxruntime", 0.06 / streams, streams),
        "tensorrt": makes("tensorrt", 0.05),
    }
    choice = choose([manifest.get("restore_mono")], (2, 16, 16))
    assert choice.engine.streams == 2 and "2 streams" in choice.why
    assert ("tensorrt", "restore_mono", 2) not in machine["loads"]
    machine["loads"].clear()
    choose([manifest.get("restore_mono")], (1, 16, 16))
    assert all(streams == 1 for _, _, streams in machine["loads"])


def test_only_the_named_engine_is_tried(manifest: Manifest, machine: dict[str, Any]) -> None:
    machine |= {"onnxruntime": makes("onnxruntime", 0.0)}
    with pytest.raises(EngineError, match="no engine runs restore_mono: tensorrt: tensorrt is not installed"):
        choose([manifest.get("restore_mono")], (1, 16, 16), "tensorrt")
    with pytest.raises(EngineError, match="warp: no such engine"):
        choose([manifest.get("restore_mono")], (1, 16, 16), "warp")
    assert "no other candidate" in choose([manifest.get("restore_mono")], (1, 16, 16), "onnxruntime").why


def test_better_quality_wins_where_it_costs_little(manifest: Manifest) -> None:
    best = manifest.get("restore_mono")
    small = replace(best, name="small")
    fine, coarse = (Candidate(OnnxRuntimeEngine(model, 1), [ms]) for model, ms in ((best, 10.9), (small, 10.0)))
    assert pick([coarse, fine], [best, small]) is fine
    fine.ms = [11.1]
    assert pick([coarse, fine], [best, small]) is coarse


def test_hopeless_ones_are_given_up_and_the_others_take_turns(manifest: Manifest, clock: None) -> None:
    model = manifest.get("restore_mono")
    slow, fast = Played(model, "slow", 0.03), Played(model, "fast", 0.0)
    measure([Candidate(slow), Candidate(fast)], {"image": np.zeros((1, 16, 16, 1), np.uint8)})
    assert (slow.runs, fast.runs) == (3, auto.REPEATS)


@pytest.mark.parametrize("rests", [True, False])
def test_beside_a_stream_it_rests_as_long_as_it_works(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, rests: bool
) -> None:
    now = [0.0]
    slept: list[float] = []

    class Timed(Played):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            now[0] += self.seconds
            return {}

    monkeypatch.setattr(
        auto, "time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0], sleep=slept.append)
    )
    model = manifest.get("restore_mono")
    candidates = [Candidate(Timed(model, name, seconds)) for name, seconds in (("a", 0.05), ("b", 0.06), ("c", 0.9))]
    measure(candidates, {"image": np.zeros((1, 16, 16, 1), np.uint8)}, rests)
    assert [len(candidate.ms) for candidate in candidates] == [auto.REPEATS, auto.REPEATS, 3]
    assert [candidate.median_ms for candidate in candidates] == pytest.approx([50, 60, 900])
    assert bool(slept) is rests
    if rests:
        # No longer than is good for a stream that waits for the result.
        assert slept[:3] == pytest.approx([0.05, 0.06, auto.LONGEST_REST_S]) and len(slept) == 2 * auto.REPEATS + 3


def test_the_real_engines_of_this_machine(manifest: Manifest) -> None:
    choice = choose([manifest.get("restore_mono")], (2, 24, 32))
    assert choice.engine.name in engines.ENGINES
    image = np.full((2, 24, 32, 1), 20, np.uint8)
    assert (choice.engine.run(image=image)["restored"] == 30).all()
