"""What the pipeline does with time: plans that keep up, runs without end, networks that hang. A clock is played."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from fake_networks import (
    BALANCED,
    LIGHT,
    MS,
    TEMPORAL,
    FakeEngine,
    PlayedLane,
    World,
    actions,
    pair,
    passed_on,
    restored,
)
from waiting import PATIENCE_S, wait_for

from derain_ros import Action, Config, Pipeline, Result
from derain_ros.engine import EngineError
from derain_ros.runtime import pipeline as pipeline_module
from derain_ros.runtime.loading.lane import Lane
from derain_ros.runtime.loading.loader import Loader

Make = Callable[..., Pipeline]
PUBLISH_MS = 2.0


class Stream:
    """Pairs that come ten times a second, of which the newest is taken as soon as the last is out, as the node does."""

    def __init__(self, pipeline: Pipeline, world: World, period_ms: float = 100.0) -> None:
        self.pipeline, self.world, self.period_ns = pipeline, world, round(period_ms * MS)
        self.begun_ns, self.next = world.clock(), 0

    def run(self, seconds: float) -> list[Result]:
        clock, results = self.world.clock, []
        until = clock() + seconds * 1e9
        while clock() < until:
            clock.now_ns = max(clock.now_ns, self.begun_ns + self.next * self.period_ns)
            newest = (clock.now_ns - self.begun_ns) // self.period_ns
            self.next = newest + 1
            arrived = self.begun_ns + newest * self.period_ns
            results.append(
                self.pipeline.process(pair(at_s=arrived / 1e9, received_ns=arrived, period_ms=self.period_ns / MS))
            )
            clock.wait(PUBLISH_MS)
            self.pipeline.published()
        return results


def plans(results: list[Result]) -> Counter[str]:
    return Counter(result.plan for result in results)


def slow_down(world: World, times: float) -> None:
    world.ms = {name: times * ms for name, ms in world.ms.items()}


@pytest.mark.parametrize(("times", "runs"), [(2, "balanced"), (3, "balanced"), (6, "light")])
def test_under_load_it_steps_down_and_comes_back_soon_after(make: Make, world: World, times: float, runs: str) -> None:
    stream = Stream(make(), world)
    assert plans(stream.run(10)).keys() == {"quality"}
    slow_down(world, times)
    under = stream.run(10)
    assert plans(under)[runs] > 0.6 * len(under)
    # Only where a trial itself stalls the stream is anything passed on.
    assert plans(under)["passthrough"] <= (0 if times < 6 else 20)
    slow_down(world, 1 / times)
    after = stream.run(30)
    assert plans(after)["passthrough"] == 0 and plans(after[80:]).keys() == {"quality"}


def test_where_not_even_the_cheapest_keeps_up_the_rate_falls_and_all_is_restored(make: Make, world: World) -> None:
    stream = Stream(make(LIGHT), world)
    stream.run(2)
    world.ms["light"] = 290.0
    under = stream.run(20)
    assert all(map(restored, under)) and 60 <= len(under) <= 70


@pytest.mark.parametrize("budget_ms", [5.0, 20.0, 60.0, 200.0])
def test_whatever_the_budget_something_is_restored(make: Make, world: World, budget_ms: float) -> None:
    results = Stream(make(budget_ms=budget_ms), world).run(20)
    best = {5.0: "light", 20.0: "light", 60.0: "balanced", 200.0: "quality"}[budget_ms]
    assert all(map(restored, results)) and plans(results)[best] > 0.95 * len(results)


def test_a_better_plan_that_does_not_keep_up_with_the_camera_is_not_taken(make: Make, world: World) -> None:
    best = {period: plans(Stream(make(), world, period).run(20)).most_common(1)[0][0] for period in (100, 50, 25)}
    assert best == {100: "quality", 50: "balanced", 25: "light"}


def test_what_is_around_the_stages_is_set_aside(make: Make, world: World) -> None:
    # 80 ms fit into 100 ms, but not with 1 ms to detect and 24 to publish.
    world.ms["quality"] = 80.0
    pipeline = make()
    stream = Stream(pipeline, world)
    assert plans(stream.run(5)).keys() == {"quality"}
    before = pipeline_module.Pipeline.published

    def slowly(self: Pipeline) -> None:
        world.clock.wait(22)
        before(self)

    pipeline.published = lambda: slowly(pipeline)  # type: ignore[method-assign]
    later = plans(stream.run(20))
    assert later["balanced"] > 0.9 * later.total()


def test_what_ends_after_its_budget_but_within_four_periods_is_published(make: Make, world: World) -> None:
    world.ms["light"] = 390.0
    result = make(LIGHT, budget_ms=50).process(pair(period_ms=100))
    assert restored(result) and result.detail == ""


@pytest.mark.parametrize(("budget_ms", "period_ms", "patience_ms"), [(50, 100, 400), (500, 100, 500), (300, 0, 300)])
def test_frames_go_on_untouched_when_the_budget_and_four_periods_are_over(
    make: Make, world: World, budget_ms: float, period_ms: float, patience_ms: float
) -> None:
    pipeline = make(LIGHT, budget_ms=budget_ms)
    world.ms["light"] = 3000.0
    begun = world.clock()
    frames = pair(received_ns=begun - 30 * MS, period_ms=period_ms)
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_BUDGET] * 2 and passed_on(result, frames)
    assert result.detail == f"restoring has not ended after {patience_ms:g} ms" and result.plan == "passthrough"
    assert world.clock() - begun == (patience_ms - 30) * MS
    # Until it has ended the others go on at once.
    result = pipeline.process(pair(period_ms=period_ms))
    assert actions(result) == [Action.PASSED_BUDGET] * 2 and "the last run has not ended after" in result.detail
    assert world.clock() - begun == (patience_ms - 30) * MS


def test_an_outlier_changes_nothing_afterwards(make: Make, world: World) -> None:
    stream = Stream(make(), world)
    stream.run(5)
    for _ in range(2):
        slow_down(world, 50)
        assert not restored(stream.pipeline.process(pair(at_s=1.0, period_ms=100)))
        slow_down(world, 1 / 50)
        world.clock.wait(3000)
        stream.next = (world.clock() - stream.begun_ns) // stream.period_ns
        assert plans(stream.run(5)).keys() == {"quality"}


def test_a_plan_that_would_stall_the_stream_is_not_run_but_tried_once_a_second(make: Make, world: World) -> None:
    stream = Stream(make(LIGHT), world)
    stream.run(2)
    world.ms["light"] = 600.0
    stream.run(5)
    world.runs.clear()
    under = stream.run(20)
    assert 15 <= [name for name, _ in world.runs].count("light") <= 21
    told = next(result for result in under if "more than 4 periods of the camera" in result.detail)
    assert told.detail.startswith("light takes 600 ms") and actions(told) == [Action.PASSED_BUDGET] * 2
    assert told.cameras["left"].mask[:, :14].all(), "with the detector's mask"
    world.ms["light"] = 10.0
    assert plans(stream.run(10)[15:]).keys() == {"light"}


def test_what_loading_slows_down_teaches_nothing_but_the_first_time(
    make: Make, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loader, "busy", True)
    stream = Stream(make(), world)
    slow_down(world, 3)
    assert plans(stream.run(5)).keys() == {"quality"}
    monkeypatch.setattr(Loader, "busy", False)
    assert plans(stream.run(5)[10:])["quality"] < 5


def test_an_engine_of_which_nothing_is_known_is_learnt_though_others_are_loaded(
    make: Make, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loader, "busy", True)
    monkeypatch.setattr(Loader, "measured_ms", lambda self, wanted: 0.0)
    world.ms["quality"] = 300.0
    assert [result.plan for result in Stream(make(), world).run(1)][:2] == ["quality", "balanced"]


def test_the_filter_is_left_out_where_there_is_no_time_for_it(make: Make, world: World) -> None:
    stream = Stream(make(BALANCED, LIGHT, TEMPORAL, temporal=True), world)
    assert plans(stream.run(5)).keys() == {"balanced + temporal"}
    world.ms["temporal"] = 75.0
    later = stream.run(30)
    assert plans(later)["balanced"] > 0.9 * len(later) and all(map(restored, later))


def test_a_frame_set_that_is_late_is_told(make: Make, world: World) -> None:
    pipeline = make(budget_ms=50)
    assert pipeline.is_late(pair(received_ns=world.clock() - 50 * MS))
    assert not pipeline.is_late(pair(received_ns=world.clock() - 49 * MS)) and not pipeline.is_late(pair())


def test_a_run_that_ended_late_is_not_taken_off_what_another_frame_set_took(make: Make, world: World) -> None:
    pipeline = make(LIGHT)
    world.ms["light"] = 3000.0
    for _ in range(3):
        assert not restored(pipeline.process(pair(period_ms=100)))
        pipeline.published()
        world.clock.wait(5000)
    assert pipeline._overhead.usual(None) >= 0.0


@pytest.mark.parametrize("name", ["detect", "light", "temporal"])
def test_a_network_that_hangs_stops_no_frame_and_is_replaced(make: Make, world: World, name: str) -> None:
    pipeline = make(LIGHT, TEMPORAL, temporal=True, on_hold_s=0.0)
    stream = Stream(pipeline, world)
    assert all(map(restored, stream.run(2)))
    engine = next(engine for engine in pipeline.engines if engine.model.name == name)
    world.hangs = {f"{name} by {engine.name}"}
    hanging = stream.run(19)
    assert len(hanging) > 180 and not any(map(restored, hanging))
    assert all(result.affected for result in hanging), "the alarm lasts"
    after = stream.run(5)
    assert sum(not restored(result) for result in after) < 15 and restored(after[-1])
    assert engine not in pipeline.engines and pipeline.state == "ready"
    assert next(e for e in pipeline.engines if e.model.name == name).name == "onnxruntime"
    assert not pipeline.close(0.0), "its thread is still there"


def test_what_goes_on_hanging_is_given_up(make: Make, world: World) -> None:
    pipeline = make(LIGHT)
    world.hangs = {"detect"}
    results = Stream(pipeline, world).run(120)
    assert pipeline.state.startswith("failed: a network has not returned for 20 s")
    assert actions(results[-1]) == [Action.PASSED_DISABLED] * 2 and results[-1].detail.startswith("models: failed")
    assert len(results) > 1100


def test_a_restorer_that_goes_on_hanging_is_out_and_the_others_go_on(make: Make, world: World) -> None:
    pipeline = make(BALANCED, LIGHT)
    world.hangs = {"balanced"}
    results = Stream(pipeline, world).run(100)
    assert pipeline.state == "ready" and "balanced is not used" in pipeline.loading
    assert plans(results[-200:]).keys() == {"light"}


def test_networks_that_return_after_all_are_not_given_up(make: Make, world: World) -> None:
    pipeline = make(LIGHT)
    stream = Stream(pipeline, world)
    for _ in range(pipeline_module.HANGS + 2):
        world.hangs = {"light", "detect"}
        stream.run(21)
        world.hangs.clear()
        for lane in (pipeline._lane, *pipeline._hung):
            assert isinstance(lane, PlayedLane)
            lane.ends_ns = 0  # it returns
        after = stream.run(70)
        assert all(map(restored, after[3:])) and pipeline.state == "ready"


@pytest.mark.parametrize("seconds", [0.5, 3.0, 30.0, 300.0])
def test_restoring_goes_on_soon_after_that_for_which_networks_failed(make: Make, world: World, seconds: float) -> None:
    stream = Stream(make(), world)
    stream.run(1)
    world.failure = {name: EngineError("no memory") for name in ("quality", "balanced", "light")}
    assert not any(map(restored, stream.run(seconds)))
    world.failure.clear()
    after = stream.run(2 + seconds / 4)
    first = next(k for k, result in enumerate(after) if restored(result))
    assert first <= 11 + 10 * seconds / 4 and all(map(restored, after[first:]))


def test_a_real_thread_that_hangs_is_left_behind(make: Make, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "Lane", Lane)
    pipeline = make(LIGHT, budget_ms=10_000)
    assert restored(pipeline.process(pair()))
    began, go, run, hung = threading.Event(), threading.Event(), FakeEngine.run, pipeline.engines[1]

    def hang(engine: FakeEngine, **images: np.ndarray) -> dict[str, np.ndarray]:
        if engine is hung:
            began.set()
            assert go.wait(PATIENCE_S)
        return run(engine, **images)

    monkeypatch.setattr(FakeEngine, "run", hang)
    pipeline.apply(Config(budget_ms=20))
    frames = pair()
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_BUDGET] * 2 and passed_on(result, frames) and began.is_set()
    pipeline.apply(Config(budget_ms=10_000))
    assert "the last run has not ended after" in pipeline.process(pair()).detail
    monkeypatch.setattr(pipeline_module, "HANG_MS", 0.001)
    pipeline.process(pair())
    monkeypatch.setattr(pipeline_module, "HANG_MS", 60_000.0)
    wait_for(lambda: restored(pipeline.process(pair())), "a restored pair")
    assert hung not in pipeline.engines
    assert not pipeline.close(0.0)
    go.set()
    wait_for(lambda: pipeline.close(0.1), "the thread to end")
