from __future__ import annotations

import dataclasses
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from derain_ros.runtime.dispatch import Choice
from tiny_models import STRIDE, restorer, write_manifest, write_model, write_models

from derain_ros import Action, Config, ConfigError, Frame, FrameSet, Pipeline, Result
from derain_ros.engine import EngineError
from derain_ros.frame import Alarm
from derain_ros.manifest import Manifest, ManifestError, Model
from derain_ros.runtime import pipeline as pipeline_module
from derain_ros.runtime.loading import models as models_module
from derain_ros.runtime.loading import networks as networks_module
from derain_ros.runtime.loading.lane import Lane, Late

SIZE = (20, 28)
CLEAN, WET = 50, 150
MS = 1_000_000


class Clock:
    """A clock that stands until it is told to go on."""

    now_ns = 7_000_000 * MS

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, ms: float) -> None:
        self.now_ns += round(ms * MS)


class World:
    """Engines that take the time they are told to, on a clock of their own, and fail when told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.restore_ms = {"balanced": 30.0, "fast": 10.0}
        self.temporal_ms = 5.0
        self.failure: dict[str, Exception] = {}
        self.runs: list[tuple[str, tuple[int, ...]]] = []

    def load(self, model: Model, engine: str, threads: int, streams: int = 1) -> FakeEngine:
        return FakeEngine(self, model)

    def prepare(self, models: tuple[Model, ...], shape: tuple[int, ...], engine: str, threads: int) -> FakePreparation:
        return FakePreparation(FakeEngine(self, models[-1]))


class FakePreparation:
    """An engine that is ready at once."""

    ready, failed, state = True, False, "ready"

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.retired: list[Exception] = []

    def retire(self, error: Exception) -> None:
        self.retired.append(error)

    def wait(self, seconds: float | None = None) -> bool:
        return True


class FakeEngine:
    device, precision, streams = "nowhere", "fp32", 1

    def __init__(self, world: World, model: Model, name: str = "onnxruntime") -> None:
        self.world, self.model, self.name = world, model, name

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        world, name = self.world, self.model.name
        world.runs.append((name, image.shape))
        if name in world.failure:
            raise world.failure[name]
        if self.model.task == "restore":
            world.clock.wait(world.restore_ms[self.model.plan])
            mask = np.zeros(image.shape[:3], np.uint8)
            mask[:, 0] = 255
            return {"restored": image + 1, "mask": mask}
        if self.model.task == "temporal":
            world.clock.wait(world.temporal_ms)
            weights = np.zeros((*image.shape[:3], 3), np.uint8)
            weights[..., 0] = 255
            return {"weights": weights, "mask": image[..., 3], "memory": image[..., 5:]}
        world.clock.wait(1)
        wet = image.mean((1, 2, 3)) > 100
        cells = np.zeros((len(image), 12, 16), np.float32)
        cells[:, :, :8] = 1
        probabilities = np.where(wet[:, None], [[0.1, 0.9, 0, 0, 0]], [[0.9, 0.1, 0, 0, 0]])
        return {"probabilities": probabilities.astype(np.float32), "mask": cells}


class InlineLane:
    """A lane whose work ends at once by the clock of the wall; that of the test goes on."""

    busy_ms = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def begin(self, work: Callable[[], Any]) -> InlineWork:
        return InlineWork(self, work)


@dataclasses.dataclass
class InlineWork:
    """Work that is done as soon as somebody waits for it."""

    lane: InlineLane
    work: Callable[[], Any]

    def result(self, timeout_ms: float) -> Any:
        return self.work()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(models_module, "load", world.load)
    monkeypatch.setattr(networks_module, "Preparation", world.prepare)
    monkeypatch.setattr(networks_module, "Lane", InlineLane)
    return world


@pytest.fixture
def make(world: World, manifest: Manifest) -> Callable[..., Pipeline]:
    def make(models: Manifest = manifest, **settings: object) -> Pipeline:
        pipeline = Pipeline(Config.from_mapping(settings), models, world.clock)
        pipeline.load()
        pipeline.process(pair(CLEAN, CLEAN))
        world.runs.clear()
        return pipeline
    return make


@pytest.fixture
def with_temporal(tmp_path: Path) -> Manifest:
    return Manifest.load(write_models(tmp_path / "with temporal", with_temporal=True))


def pair(left: int, right: int, at_s: float = 0.0, received_ns: int = 0) -> FrameSet:
    stamp = round(at_s * 1e9)
    return FrameSet({"left": Frame(np.full(SIZE, left, np.uint8), "mono8", stamp, "l"),
                     "right": Frame(np.full(SIZE, right, np.uint8), "mono8", stamp, "r")}, received_ns=received_ns)


def actions(result: Result) -> list[Action]:
    return [camera.action for camera in result.cameras.values()]


def passed_on(result: Result, frames: FrameSet) -> bool:
    """Whether every camera's frame is the very object that went in."""
    return all(result.cameras[name].frame is frame for name, frame in frames.frames.items())


@pytest.mark.parametrize(("left", "right"), [(WET, CLEAN), (CLEAN, WET), (WET, WET)])
def test_both_eyes_are_restored_if_one_is_affected(make: Callable[..., Pipeline], world: World, left: int,
                                                   right: int) -> None:
    frames = pair(left, right, 3.0)
    result = make().process(frames)
    assert actions(result) == [Action.RESTORED] * 2 and result.detail == ""
    assert (result.plan, result.models) == ("balanced", "restore_mono")
    for name, value in (("left", left), ("right", right)):
        camera = result.cameras[name]
        assert set(camera.frame.image.flat) == {value + 1} and set(frames.frames[name].image.flat) == {value}
        assert (camera.frame.stamp_ns, camera.frame.frame_id) == (3_000_000_000, name[0])
        assert camera.anomaly is not None and camera.anomaly.affected == (value == WET)
        # What the restorer drew, the first row.
        expected = np.zeros(SIZE, np.uint8)
        expected[0] = 255
        assert np.array_equal(camera.mask, expected) and camera.mask.dtype == np.uint8
    assert [shape for name, shape in world.runs if name == "detect"] == [(2, 96, 128, 1)]


def test_a_clean_pair_is_passed_on_bit_for_bit(make: Callable[..., Pipeline]) -> None:
    frames = pair(CLEAN, CLEAN)
    result = make().process(frames)
    assert actions(result) == [Action.PASSED_CLEAN] * 2 and passed_on(result, frames)
    assert result.plan == "passthrough" and not result.affected
    assert set(result.stage_ms) == {"detect", "total"}
    for camera in result.cameras.values():
        assert camera.mask.shape == SIZE and not camera.mask.any() and camera.mask.dtype == np.uint8


def test_without_gating_a_clean_pair_is_restored_too(make: Callable[..., Pipeline]) -> None:
    assert actions(make(gating=False).process(pair(CLEAN, CLEAN))) == [Action.RESTORED] * 2


def test_restoring_starts_at_once_and_goes_on_until_the_flag_falls(make: Callable[..., Pipeline]) -> None:
    pipeline = make(on_hold_s=0.2, off_hold_s=0.5)
    results = [pipeline.process(pair(value, CLEAN, 0.1 * n)) for n, value in enumerate([WET] * 4 + [CLEAN] * 8)]
    assert [result.affected for result in results] == [False] * 2 + [True] * 7 + [False] * 3
    assert [actions(result)[0] is Action.RESTORED for result in results] == [True] * 9 + [False] * 3


def test_switched_off_it_passes_on_but_still_says_what_it_sees(make: Callable[..., Pipeline], world: World) -> None:
    frames = pair(WET, CLEAN)
    result = make(enabled=False).process(frames)
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
    assert result.detail == "restoration is switched off"
    left, right = result.cameras.values()
    assert left.anomaly is not None and left.anomaly.kind == "raindrop"
    assert left.mask[:, :14].all() and not left.mask[:, 14:].any() and not right.mask.any()
    assert {name for name, _ in world.runs} == {"detect"}


def test_settings_change_between_frames_but_not_those_that_need_a_new_pipeline(make: Callable[..., Pipeline]) -> None:
    pipeline = make()
    pipeline.apply(Config(enabled=False))
    assert actions(pipeline.process(pair(WET, WET))) == [Action.PASSED_DISABLED] * 2
    pipeline.apply(Config(on_score=0.95))
    assert actions(pipeline.process(pair(WET, WET))) == [Action.PASSED_CLEAN] * 2
    with pytest.raises(ConfigError, match="cameras: cannot be changed while the pipeline runs"):
        pipeline.apply(Config(cameras=["front"]))
    assert pipeline.config.on_score == 0.95


def test_until_the_models_are_loaded_frames_are_passed_on(manifest: Manifest) -> None:
    pipeline, frames = Pipeline(Config(), manifest), pair(WET, WET)
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
    assert result.detail == "models: loading" and pipeline.engines == []
    assert all(camera.anomaly is None and not camera.mask.any() for camera in result.cameras.values())


def test_an_engines_first_run_is_not_learned(make: Callable[..., Pipeline], world: World) -> None:
    pipeline = make(budget_ms=50)
    world.restore_ms["balanced"] = 300.0
    assert actions(pipeline.process(pair(WET, WET))) == [Action.PASSED_BUDGET] * 2
    world.restore_ms["balanced"] = 30.0
    result = pipeline.process(pair(WET, WET))
    assert actions(result) == [Action.RESTORED] * 2
    assert result.stage_ms == {"detect": 1.0, "restore": 30.0, "total": 31.0}
    assert [name for name, _ in world.runs] == ["detect", "restore_mono"] * 2


def test_the_detector_is_warm_once_loaded(world: World, manifest: Manifest) -> None:
    Pipeline(Config(cameras=["left", "right", "rear"]), manifest, world.clock).load()
    assert world.runs == [("detect", (3, 96, 128, 1))]


def test_what_does_not_fit_the_budget_is_passed_on_with_the_detectors_mask(make: Callable[..., Pipeline],
                                                                          world: World) -> None:
    pipeline = make(budget_ms=50)
    for _ in range(2):
        pipeline.process(pair(WET, WET))
    frames = pair(WET, CLEAN, received_ns=world.clock() - 30 * MS)
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_BUDGET] * 2 and passed_on(result, frames)
    # 2 ms are set aside for publishing.
    assert result.detail == "restoring takes about 30 ms, 17 ms are left" and result.plan == "passthrough"
    assert result.left_ms == 17.0 and "restore" not in result.stage_ms
    assert result.cameras["left"].mask[:, :14].all() and not result.cameras["right"].mask.any()


def test_a_restoration_that_overran_is_not_published_and_it_recovers(make: Callable[..., Pipeline],
                                                                     world: World) -> None:
    pipeline = make(budget_ms=50)
    for _ in range(2):
        assert actions(pipeline.process(pair(WET, WET))) == [Action.RESTORED] * 2
    world.restore_ms["balanced"] = 80.0
    frames = pair(WET, WET)
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_BUDGET] * 2 and passed_on(result, frames)
    assert result.detail == "restoring took 80 ms and ended after the budget"
    assert actions(pipeline.process(pair(WET, WET))) == [Action.PASSED_BUDGET] * 2
    world.restore_ms["balanced"] = 30.0
    world.clock.wait(4001)
    assert actions(pipeline.process(pair(WET, WET))) == [Action.RESTORED] * 2


def test_under_load_it_steps_down_to_the_fast_restorer_and_up_again(make: Callable[..., Pipeline], world: World,
                                                                    two_plans: Manifest) -> None:
    pipeline = make(two_plans, budget_ms=50)

    def plans(seconds: float) -> list[str]:
        found, end = [], world.clock() + seconds * 1e9
        while world.clock() < end:
            begun = world.clock()
            found.append(pipeline.process(pair(WET, WET, received_ns=begun)).plan)
            world.clock.wait(max(0.0, 50 - (world.clock() - begun) / MS))
        return found

    assert set(plans(2)) == {"balanced"}
    world.restore_ms = {"balanced": 90.0, "fast": 30.0}
    loaded = plans(10)
    # The restoration that overran, and later trials: every other frame set is restored, by the fast one.
    assert set(loaded) == {"fast", "passthrough"} and 1 <= loaded.count("passthrough") <= 4
    world.restore_ms = {"balanced": 900.0, "fast": 300.0}
    overloaded = plans(10)
    assert set(overloaded) <= {"fast", "passthrough"} and overloaded.count("fast") <= 1
    world.restore_ms = {"balanced": 30.0, "fast": 10.0}
    recovered = plans(100)
    assert set(recovered[-200:]) == {"balanced"}
    changes = sum(before != after for before, after in zip(recovered, recovered[1:], strict=False))
    assert changes <= 6, recovered


def test_a_better_plan_that_does_not_keep_up_with_the_camera_is_not_taken(make: Callable[..., Pipeline], world: World,
                                                                          two_plans: Manifest) -> None:
    pipeline = make(two_plans, budget_ms=200)
    plans = []
    for period in (0, 40, 20, 8, 4):
        for _ in range(3):
            frames = dataclasses.replace(pair(WET, WET, received_ns=world.clock()), period_ms=period)
            result = pipeline.process(frames)
            pipeline.published()
        plans.append(result.plan)
    assert plans == ["balanced"] * 2 + ["fast"] * 2 + ["passthrough"]


def test_the_temporal_filter_comes_after_the_restorer_where_there_is_time(
        make: Callable[..., Pipeline], world: World, with_temporal: Manifest) -> None:
    pipeline = make(with_temporal, budget_ms=80)
    results = [pipeline.process(pair(WET, WET, 0.1 * n)) for n in range(5)]
    # What restoring takes by itself is to be known first.
    assert [result.plan for result in results] == ["balanced"] * 2 + ["balanced + temporal"] * 3
    assert results[-1].models == "restore_mono, temporal"
    assert [run for run in world.runs if run[0] == "temporal"] == [("temporal", (2, 10, 14, 9))] * 3
    for camera in results[-1].cameras.values():
        # It keeps all of the frame, of which the restorer had made WET + 1.
        assert set(camera.frame.image.flat) == {WET} and camera.mask.shape == SIZE and camera.mask[0].all()
    assert results[-1].stage_ms["restore"] == 35.0
    world.temporal_ms = 90.0
    later = [pipeline.process(pair(WET, WET, 1 + 0.1 * n)) for n in range(4)]
    assert [result.plan for result in later][1:] == ["passthrough", "balanced", "balanced"]
    assert set(later[-1].cameras["left"].frame.image.flat) == {WET + 1}


def test_a_better_plan_that_comes_later_is_run_by_itself_first_and_then_joined(
        make: Callable[..., Pipeline], world: World, tmp_path: Path) -> None:
    directory = write_models(tmp_path, with_temporal=True)
    content = yaml.safe_load((directory / "models.yaml").read_text())
    general = next(entry for entry in content["models"] if entry["name"] == "restore_mono")
    content["models"].append({**general, "name": "restore_best", "plan": "quality"})
    (directory / "models.yaml").write_text(yaml.safe_dump(content))
    world.restore_ms["quality"] = 60.0
    pipeline = make(Manifest.load(directory), budget_ms=1000)
    plans = [pipeline.process(pair(WET, WET, 0.1 * n)).plan for n in range(8)]
    first = plans.index("quality")
    assert set(plans[:first]) <= {"balanced", "balanced + temporal"}
    assert set(plans[first + 2:]) == {"quality + temporal"}


def test_a_filter_for_which_there_is_no_time_costs_next_to_no_frames(
        make: Callable[..., Pipeline], world: World, with_temporal: Manifest) -> None:
    passed = {}
    for temporal in (False, True):
        pipeline = make(with_temporal, budget_ms=60, temporal=temporal)
        world.restore_ms["balanced"], world.temporal_ms = 40.0, 40.0
        plans = []
        for n in range(600):
            begun = world.clock()
            plans.append(pipeline.process(pair(WET, WET, 0.1 * n, begun)).plan)
            world.clock.wait(max(0.0, 100 - (world.clock() - begun) / MS))
        passed[temporal] = plans.count("passthrough")
    assert passed[True] <= passed[False] + 2


def test_the_filter_is_waited_for_though_other_restorers_are_being_loaded(
        make: Callable[..., Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros.runtime.dispatch import Dispatch
    monkeypatch.setattr(Dispatch, "idle", False)
    pipeline = make(Manifest.load(write_models(tmp_path, with_temporal=True)))
    plans = [pipeline.process(pair(WET, WET, 0.1 * n)).plan for n in range(3)]
    assert plans[-1] == "balanced + temporal"


def test_a_broken_file_of_the_filter_costs_the_filter_alone(make: Callable[..., Pipeline], with_temporal: Manifest,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    with_temporal.get("temporal").file.write_bytes(b"broken")
    pipeline = make(with_temporal)
    assert [pipeline.process(pair(WET, WET, 0.1 * n)).plan for n in range(3)] == ["balanced"] * 3
    assert "each frame is restored by itself" in caplog.text and "temporal.onnx" in caplog.text


@pytest.mark.parametrize(("encoding", "dtype", "channels"), [("mono8", np.uint8, 0), ("mono16", np.uint16, 0),
                                                             ("bgr8", np.uint8, 3)])
def test_real_networks_keep_size_and_encoding_through_the_filter(tmp_path: Path, encoding: str, dtype: type,
                                                                 channels: int) -> None:
    """The tiny filter recalls what came first; of two cameras, each of its own size."""
    pipeline = Pipeline(Config(gating=False, engine="onnxruntime", budget_ms=10000.0),
                        Manifest.load(write_models(tmp_path, with_temporal=True)))
    pipeline.load()
    bits = 10 if encoding == "mono16" else 0
    for n in range(5):
        frames = {}
        for name, size in (("left", (50, 66)), ("right", (42, 58))):
            image = np.full((*size, channels) if channels else size, (100 + n) << max(0, bits - 8), dtype)
            frames[name] = Frame(image, encoding, 1 + n * 50 * MS, name, bits)
        result = pipeline.process(FrameSet(frames))
        assert actions(result) == [Action.RESTORED] * 2, result.detail
    assert result.plan == "balanced + temporal"
    for name, camera in result.cameras.items():
        given = frames[name]
        assert (camera.frame.image.shape, camera.frame.image.dtype) == (given.image.shape, given.image.dtype)
        # The first that was joined was the third; the restorer adds 10.
        assert set(camera.frame.image.flat) == {(102 + 10) << max(0, bits - 8)}
    pipeline.close(10.0)


def test_without_the_filter_each_frame_is_restored_by_itself(make: Callable[..., Pipeline], world: World,
                                                             with_temporal: Manifest) -> None:
    pipeline = make(with_temporal, temporal=False)
    assert {pipeline.process(pair(WET, WET, 0.1 * n)).plan for n in range(4)} == {"balanced"}
    assert "temporal" not in {name for name, _ in world.runs}


def test_the_filter_is_the_one_that_is_named(make: Callable[..., Pipeline], with_temporal: Manifest,
                                             manifest: Manifest) -> None:
    directory = with_temporal.directory
    entries = yaml.safe_load((directory / "models.yaml").read_text())["models"]
    for name, precision in (("steady", "float32"), ("steady_int8", "int8")):
        entries.append({**entries[-1], "name": name, "precision": precision})
    write_manifest(directory, entries)
    for name, taken in (("temporal", "temporal"), ("steady", "steady_int8"), ("steady_int8", "steady_int8")):
        pipeline = make(Manifest.load(directory), temporal_model=name)
        results = [pipeline.process(pair(WET, WET, 0.1 * n)).models for n in range(4)]
        assert results[-1] == f"restore_mono, {taken}"
    with pytest.raises(ManifestError, match="stedy"):
        make(Manifest.load(directory), temporal_model="stedy")
    with pytest.raises(EngineError, match="detect: its task is to detect, not to join frames; name another model"):
        make(Manifest.load(directory), temporal_model="detect")
    # A manifest may hold none, or one in eight bits alone; but not only others than the one that is named.
    assert make(manifest).process(pair(WET, WET)).plan == "balanced"
    write_manifest(directory, [entry if entry["name"] != "temporal" else {**entry, "name": "temporal_int8"}
                               for entry in entries if not str(entry["name"]).startswith("steady")])
    pipeline = make(Manifest.load(directory))
    assert [pipeline.process(pair(WET, WET, 0.1 * n)).models for n in range(4)][-1] == "restore_mono, temporal_int8"
    write_manifest(directory, [entry for entry in entries if not str(entry["name"]).startswith("temporal")])
    with pytest.raises(ManifestError, match="temporal"):
        make(Manifest.load(directory))
    assert make(Manifest.load(directory), temporal_model="stedy", temporal=False).process(pair(WET, WET)).plan


def test_a_filter_that_fails_costs_no_restoration(make: Callable[..., Pipeline], world: World,
                                                  with_temporal: Manifest) -> None:
    pipeline = make(with_temporal)
    world.failure["temporal"] = EngineError("temporal: broken")
    results = [pipeline.process(pair(WET, WET, 0.1 * n)) for n in range(5)]
    assert {result.plan for result in results} == {"balanced"}
    assert [result.detail for result in results] == ["", "", "not joined with the frames before: temporal: broken", "",
                                                     ""]
    assert all(set(result.cameras["left"].frame.image.flat) == {WET + 1} for result in results)


def test_a_filter_that_hangs_stops_no_frame_and_is_loaded_anew(make: Callable[..., Pipeline], world: World,
                                                               with_temporal: Manifest,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks_module, "Lane", Lane)
    pipeline = make(with_temporal, budget_ms=200, on_hold_s=0)
    for n in range(4):
        assert actions(pipeline.process(pair(WET, WET, 0.1 * n))) == [Action.RESTORED] * 2
    engine = next(engine for engine in pipeline.engines if engine.model.name == "temporal")
    hanging = Hanging(engine)  # type: ignore[arg-type]
    engine.run = hanging.run  # type: ignore[method-assign]
    frames = pair(WET, WET, 1)
    assert actions(pipeline.process(frames)) == [Action.PASSED_BUDGET] * 2
    monkeypatch.setattr(networks_module, "HANG_S", 0.0)
    pipeline.process(frames)
    monkeypatch.setattr(networks_module, "HANG_S", 60.0)
    assert wait_for(lambda: actions(pipeline.process(frames)) == [Action.RESTORED] * 2)
    assert engine not in pipeline.engines
    hanging.go.set()
    assert pipeline.close(20.0)


def test_what_the_restorer_takes_alone_is_learned_beside_the_filter(make: Callable[..., Pipeline], world: World,
                                                                     with_temporal: Manifest) -> None:
    pipeline = make(with_temporal, budget_ms=1000)
    for n in range(6):
        pipeline.process(pair(WET, WET, 0.1 * n))
    # 30 ms by itself, with the filter 35: five times as much is within the budget, or not.
    dispatch = pipeline._networks.dispatch
    assert dispatch is not None and dispatch.time_for_quality
    pipeline.apply(Config(temporal=True, budget_ms=160))
    pipeline.process(pair(WET, WET, 1))
    assert dispatch.time_for_quality
    pipeline.apply(Config(temporal=True, budget_ms=140))
    pipeline.process(pair(WET, WET, 1.1))
    assert not dispatch.time_for_quality


def test_what_is_made_for_rain_does_not_go_through_the_filter(make: Callable[..., Pipeline], tmp_path: Path) -> None:
    entries = yaml.safe_load((write_models(tmp_path, with_temporal=True) / "models.yaml").read_text())["models"]
    entries[0] |= {"serves": ["raindrop"]}
    entries.append({**entries[0], "name": "general", "serves": []})
    write_manifest(tmp_path, entries)
    pipeline = make(Manifest.load(tmp_path))
    assert {pipeline.process(pair(WET, WET, 0.1 * n)).models for n in range(4)} == {"restore_mono"}


def test_the_stream_does_not_stall_for_two_periods_though_the_budget_would_allow_it(
        make: Callable[..., Pipeline], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []

    def result(inline: InlineWork, timeout_ms: float) -> Any:
        timeouts.append(timeout_ms)
        return inline.work()

    monkeypatch.setattr(InlineWork, "result", result)
    pipeline = make(budget_ms=500)

    def process(waited_ms: float) -> Result:
        timeouts.clear()
        received = world.clock() - round(waited_ms * MS)
        return pipeline.process(dataclasses.replace(pair(WET, WET, received_ns=received), period_ms=50))

    # The camera began just now: one period from the arrival, less 2 ms to publish and 1 ms to detect.
    assert process(0).plan == "balanced" and timeouts == [48.0, 47.0]
    pipeline.published()
    world.clock.wait(20)
    # Two periods after the last result.
    assert process(10).plan == "balanced" and timeouts[0] == pytest.approx(80 - pipeline.budget.finish_ms(500))
    pipeline.published()
    world.restore_ms["balanced"] = 120.0
    late = process(0)
    assert late.detail == "restoring took 120 ms and ended after the budget"
    pipeline.published()
    world.clock.wait(60_000)
    process(0)
    assert timeouts[0] == pytest.approx(50 - pipeline.budget.finish_ms(500))


def test_the_one_that_serves_the_anomaly_restores_it(make: Callable[..., Pipeline], tmp_path: Path) -> None:
    directory = write_models(tmp_path)
    entries = [*yaml.safe_load((directory / "models.yaml").read_text())["models"],
               write_model(directory, restorer(1), name="restore_drops", task="restore", channels=1, stride=STRIDE,
                           serves=["raindrop"])]
    write_manifest(directory, entries)
    result = make(Manifest.load(directory)).process(pair(WET, CLEAN))
    assert actions(result) == [Action.RESTORED] * 2 and result.models == "restore_drops"


@pytest.mark.parametrize("error", [EngineError("no memory"), ZeroDivisionError("no memory"), MemoryError()])
@pytest.mark.parametrize("stage", ["detect", "restore_mono"])
def test_a_failing_stage_passes_on_and_is_logged_once(make: Callable[..., Pipeline], world: World, stage: str,
                                                      error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = make()
    pipeline.process(pair(WET, WET))
    world.failure[stage] = error
    for _ in range(3):
        frames = pair(WET, CLEAN)
        result = pipeline.process(frames)
        assert actions(result) == [Action.PASSED_ERROR] * 2 and passed_on(result, frames)
        assert result.detail == (str(error) or "MemoryError")
        assert result.cameras["left"].mask.any() == (stage == "restore_mono") and not result.cameras["right"].mask.any()
        assert result.cameras["left"].mask.shape == SIZE
    [record] = caplog.records
    assert (record.name, record.levelno) == ("derain_ros.runtime.loading.networks", logging.ERROR)
    assert result.detail in record.getMessage()
    # Where the fault is in the code, the log says where.
    assert bool(record.exc_info) == (not isinstance(error, EngineError))
    world.failure.clear()
    assert actions(pipeline.process(pair(WET, CLEAN))) == [Action.RESTORED] * 2


def test_errors_without_end_do_not_fill_the_log(make: Callable[..., Pipeline], world: World,
                                                caplog: pytest.LogCaptureFixture) -> None:
    pipeline = make()
    for n in range(300):
        world.failure["detect"] = EngineError(f"error {n}")
        pipeline.process(pair(WET, WET))
    assert len(caplog.records) == networks_module.MESSAGES_LOGGED


@pytest.mark.parametrize("bad", [np.zeros((0, 0), np.uint8), np.zeros((4, 4), np.float32), np.zeros(9, np.uint8), None],
                         ids=["empty", "float", "flat", "nothing"])
def test_a_bad_frame_takes_its_counterpart_along(make: Callable[..., Pipeline], bad: np.ndarray) -> None:
    frames = FrameSet({"left": Frame(np.full(SIZE, WET, np.uint8)), "right": Frame(bad)})
    result = make().process(frames)
    assert actions(result) == [Action.PASSED_ERROR] * 2 and passed_on(result, frames) and result.detail


def test_an_empty_set_does_not_stop_it(make: Callable[..., Pipeline]) -> None:
    assert make().process(FrameSet({})).cameras == {}


def test_a_missing_or_damaged_model_is_told_and_frames_flow(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
                                                            ) -> None:
    directory = write_models(tmp_path_factory.mktemp("damaged"))
    (directory / "restore_rgb.onnx").write_bytes(b"")
    for pipeline in (Pipeline(Config(), Manifest.load(directory)), Pipeline(Config(detector="eyes"), manifest)):
        with pytest.raises(ManifestError, match=r"restore_rgb\.onnx: sha256|eyes: no such model") as caught:
            pipeline.load()
        result = pipeline.process(pair(WET, WET))
        assert actions(result) == [Action.PASSED_DISABLED] * 2 and result.detail == f"models: failed: {caught.value}"


def test_there_must_be_a_restorer_for_all_anomalies_of_grey_and_of_colour(tmp_path: Path) -> None:
    directory = write_models(tmp_path)
    entries = yaml.safe_load((directory / "models.yaml").read_text())["models"]
    entries[1]["serves"] = ["dirt"]
    write_manifest(directory, entries)
    with pytest.raises(ManifestError, match="no restorer for colour images that serves every anomaly"):
        Pipeline(Config(), Manifest.load(directory)).load()


def test_a_model_of_the_wrong_task_is_refused(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="detect: its task is to detect, not to restore; name another model"):
        Pipeline(Config(restorer="detect"), manifest).load()


def test_the_real_engine_restores_grey_and_colour_of_any_layout(manifest: Manifest) -> None:
    pipeline = Pipeline(Config(budget_ms=10000.0, engine="onnxruntime"), manifest)
    pipeline.load()
    whole = np.random.default_rng(2).integers(120, 240, (54, 90, 3), np.uint8)
    view = whole[:, :70]
    view.flags.writeable = False
    frames = FrameSet({"left": Frame(view, "bgr8"), "right": Frame(view[..., 0].copy(), "mono8")})
    result = pipeline.process(frames)
    assert actions(result) == [Action.RESTORED] * 2, result.detail
    assert np.array_equal(result.cameras["left"].frame.image, view + 10)
    assert np.array_equal(result.cameras["right"].frame.image, view[..., 0] + 10)
    assert result.cameras["left"].mask.shape == (54, 70)
    assert sorted((engine.model.name, engine.device) for engine in pipeline.engines) \
        == [("detect", "cpu"), ("restore_mono", "cpu"), ("restore_rgb", "cpu")]


def test_one_named_restorer_serves_its_own_channels(make: Callable[..., Pipeline]) -> None:
    pipeline = make(cameras=["front"], restorer="restore_mono")
    assert [engine.model.name for engine in pipeline.engines] == ["detect", "restore_mono"]
    assert actions(pipeline.process(FrameSet({"front": Frame(np.full(SIZE, WET, np.uint8))}))) == [Action.RESTORED]
    colour = pipeline.process(FrameSet({"front": Frame(np.full((*SIZE, 3), WET, np.uint8), "rgb8")}))
    assert actions(colour) == [Action.PASSED_ERROR] and "no restorer for colour" in colour.detail


@pytest.fixture
def two_plans(tmp_path: Path) -> Manifest:
    """The tiny models and a fast restorer."""
    directory = write_models(tmp_path)
    entries = [*yaml.safe_load((directory / "models.yaml").read_text())["models"],
               write_model(directory, restorer(1), name="restore_fast", task="restore", channels=1, stride=STRIDE,
                           plan="fast")]
    write_manifest(directory, entries)
    return Manifest.load(directory)


class Hanging:
    """An engine that does not return until it is let go."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.go, self.began = engine, threading.Event(), threading.Event()

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.began.set()
        assert self.go.wait(20)
        return FakeEngine.run(self.engine, image)


def test_while_the_alarm_is_up_a_pair_is_judged_and_restored_at_once(make: Callable[..., Pipeline], world: World,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks_module, "Lane", Lane)
    pipeline = make(budget_ms=10_000, on_hold_s=0, off_hold_s=0)
    assert actions(pipeline.process(pair(WET, WET))) == [Action.RESTORED] * 2
    detect, restorer = pipeline.engines[0], next(e for e in pipeline.engines if e.model.name == "restore_mono")
    begun, restore, judge = threading.Event(), restorer.run, detect.run

    def restoring(image: np.ndarray) -> dict[str, np.ndarray]:
        begun.set()
        return restore(image)

    def judging(image: np.ndarray) -> dict[str, np.ndarray]:
        assert begun.wait(5), "nothing is restored while the pair is judged"
        return judge(image)

    restorer.run, detect.run = restoring, judging  # type: ignore[method-assign]
    result = pipeline.process(pair(WET, WET, 0.1))
    assert actions(result) == [Action.RESTORED] * 2 and result.cameras["left"].anomaly.kind == "raindrop"
    assert set(result.stage_ms) == {"detect", "restore", "total"}
    # What was restored in vain is thrown away; then the order is the old one again.
    frames = pair(CLEAN, CLEAN, 0.2)
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_CLEAN] * 2 and passed_on(result, frames) and not result.affected
    detect.run = judge  # type: ignore[method-assign]
    world.runs.clear()
    pipeline.process(pair(CLEAN, CLEAN, 0.3))
    assert [name for name, _ in world.runs] == ["detect"]


@pytest.mark.parametrize("why", ["detect", "restore_mono", "bayer"])
def test_what_fails_while_the_alarm_is_up_passes_frames_on_and_tells_what_was_seen(
        make: Callable[..., Pipeline], world: World, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    monkeypatch.setattr(networks_module, "Lane", Lane)
    pipeline = make(budget_ms=10_000, on_hold_s=0)
    pipeline.process(pair(WET, WET))
    frames = pair(WET, WET, 0.1)
    if why == "bayer":
        monkeypatch.setattr(pipeline_module, "batches", lambda images: {(2, 4, 4, 5): [0, 1]})
    else:
        world.failure[why] = EngineError(f"{why}: broken")
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_ERROR] * 2 and passed_on(result, frames) and result.affected
    seen = result.cameras["left"].anomaly
    assert seen is None if why == "detect" else seen is not None and seen.kind == "raindrop"
    world.failure.clear()
    monkeypatch.undo()
    assert not pipeline._networks.lanes["detect"].busy_ms and not pipeline._networks.lanes["restore"].busy_ms


def test_what_went_wrong_in_restoring_is_told_though_detection_is_late(
        make: Callable[..., Pipeline], world: World, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(networks_module, "Lane", Lane)
    pipeline = make(budget_ms=150, on_hold_s=0)
    pipeline.process(pair(WET, WET))
    detect = pipeline.engines[0]
    hanging = Hanging(detect)  # type: ignore[arg-type]
    detect.run = hanging.run  # type: ignore[method-assign]
    world.failure["restore_mono"] = ValueError("a bug in restoring")
    result = pipeline.process(pair(WET, WET, 0.1))
    assert actions(result) == [Action.PASSED_ERROR] * 2 and result.detail == "a bug in restoring"
    assert "a bug in restoring" in caplog.text and np.isnan(result.stage_ms["detect"])
    hanging.go.set()
    assert pipeline.close(20.0)


def test_while_it_is_switched_off_the_alarm_follows_what_is_seen(make: Callable[..., Pipeline],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks_module, "Lane", Lane)
    pipeline = make(on_hold_s=0, off_hold_s=0)
    assert pipeline.process(pair(WET, WET)).affected
    pipeline.apply(Config(enabled=False, on_hold_s=0, off_hold_s=0))
    assert pipeline.process(pair(WET, WET, 0.1)).affected and not pipeline.process(pair(CLEAN, CLEAN, 0.2)).affected


@pytest.mark.parametrize("gating", [True, False])
def test_a_clean_cameras_pairs_are_judged_before_anything_is_restored(
        make: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, gating: bool) -> None:
    alarms: list[bool] = []
    pipeline = make(gating=gating, on_hold_s=0)
    monkeypatch.setattr(pipeline._crosscheck, "check",
                        lambda views, found, on, stamp, alarm: alarms.append(alarm) or found)
    asked: list[str] = []
    dispatch = pipeline._networks.dispatch
    assert dispatch is not None
    choices = dispatch.choices
    monkeypatch.setattr(dispatch, "choices", lambda shapes, kind: asked.append(kind) or choices(shapes, kind))
    pipeline.process(pair(WET, WET, 0.1))
    assert asked[0] == "raindrop" and alarms == [False]
    pipeline.process(pair(WET, WET, 0.2))
    assert alarms == [False, True]


@pytest.mark.parametrize("stage", ["detect", "restore_mono"])
def test_a_network_that_hangs_stops_no_frame_and_is_loaded_anew(make: Callable[..., Pipeline], world: World, stage: str,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks_module, "Lane", Lane)
    pipeline = make(budget_ms=60, on_hold_s=0)
    engine = next(engine for engine in pipeline.engines if engine.model.name == stage)
    hanging = Hanging(engine)  # type: ignore[arg-type]
    engine.run = hanging.run  # type: ignore[method-assign]
    frames = pair(WET, WET)
    for _ in range(3):
        result = pipeline.process(frames)
        assert actions(result) == [Action.PASSED_BUDGET] * 2 and passed_on(result, frames), result.detail
    assert "has not ended after" in result.detail
    monkeypatch.setattr(networks_module, "HANG_S", 0.0)
    pipeline.process(frames)
    monkeypatch.setattr(networks_module, "HANG_S", 60.0)
    assert wait_for(lambda: pipeline.state == "ready" and actions(pipeline.process(frames)) == [Action.RESTORED] * 2)
    assert not pipeline.close(0.0)  # Its thread is still there.
    hanging.go.set()
    assert pipeline.close(20.0)


def test_a_network_that_goes_on_hanging_is_given_up(make: Callable[..., Pipeline], world: World,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks_module, "Lane", type("Hung", (InlineLane,), {"busy_ms": 60_000.0}))
    pipeline = make()
    for _ in range(networks_module.HANGS + 2):
        wait_for(lambda: not pipeline.state.startswith("loading"))
        result = pipeline.process(pair(WET, WET))
    assert pipeline.state.startswith("failed: ") and "20 s" in pipeline.state
    assert actions(result) == [Action.PASSED_DISABLED] * 2


def wait_for(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.001)
    return found


def test_in_the_background_frames_are_passed_on_until_a_restorer_is_ready(manifest: Manifest, world: World,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(FakePreparation):
        ready, state = False, "measuring"

        def __init__(self, engine: FakeEngine) -> None:
            super().__init__(engine)
            self.coming, self.engine = engine, None  # type: ignore[assignment]
            preparations.append(self)

        def wait(self, seconds: float | None) -> bool:
            waited.append(seconds)
            world.clock.wait(1000 * (seconds or 0.0))
            time.sleep(seconds or 0.0)
            return False

    preparations: list[Slow] = []
    waited: list[float | None] = []
    monkeypatch.setattr(networks_module, "Preparation",
                        lambda models, *rest: Slow(FakeEngine(world, models[-1])))
    pipeline = Pipeline(Config(budget_ms=20.0), manifest, world.clock, background=True)
    pipeline.load()
    for _ in range(3):
        frames = pair(WET, WET)
        result = pipeline.process(frames)
        assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
        assert result.detail == "models: restore_mono: measuring" and result.cameras["left"].mask.any()
    # Only the first one waited, within its budget.
    assert len(waited) == 1 and waited[0] is not None and waited[0] < 0.02
    [preparation] = preparations
    world.restore_ms["balanced"] = 5.0
    preparation.engine, preparation.ready = preparation.coming, True
    assert actions(pipeline.process(pair(WET, WET))) == [Action.RESTORED] * 2


def test_an_engine_that_fails_as_it_runs_is_retired(make: Callable[..., Pipeline], world: World) -> None:
    pipeline = make()
    world.failure["restore_mono"] = EngineError("device lost")
    assert actions(pipeline.process(pair(WET, WET))) == [Action.PASSED_ERROR] * 2
    [slot] = pipeline._networks.dispatch._slots.values()
    assert [str(error) for error in slot.preparation.retired] == ["device lost"]


def test_where_an_engine_does_not_take_the_detector_another_does(manifest: Manifest, world: World,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: Model, engine: str, threads: int, streams: int = 1) -> FakeEngine:
        asked.append(engine)
        if engine != "onnxruntime":
            raise EngineError("no such library")
        return FakeEngine(world, model)

    asked: list[str] = []
    monkeypatch.setattr(models_module, "load", load)
    pipeline = Pipeline(Config(engine="tensorrt"), manifest, world.clock)
    pipeline.load()
    assert asked == ["tensorrt", "onnxruntime"] and pipeline.state == "ready"


def test_a_detector_whose_engine_fails_as_it_runs_is_replaced(manifest: Manifest, world: World,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(FakeEngine):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            if broken:
                raise EngineError("CUDA fails: an illegal memory access")
            return super().run(image)

    def load(model: Model, engine: str, threads: int, streams: int = 1) -> FakeEngine:
        return (FakeEngine if engine == "onnxruntime" else Failing)(world, model, engine)

    broken: list[bool] = []
    monkeypatch.setattr(models_module, "load", load)
    pipeline = Pipeline(Config(engine="tensorrt"), manifest, world.clock)
    pipeline.load()
    assert actions(pipeline.process(pair(WET, WET))) == [Action.RESTORED] * 2
    broken.append(True)
    failed = pipeline.process(pair(WET, WET))
    assert actions(failed) == [Action.PASSED_ERROR] * 2 and "illegal memory access" in failed.detail
    assert wait_for(lambda: pipeline.state == "ready")
    assert actions(pipeline.process(pair(WET, WET))) == [Action.RESTORED] * 2
    assert pipeline.engines[0].name == "onnxruntime"


def test_its_networks_go_with_a_pipeline_that_is_closed(make: Callable[..., Pipeline]) -> None:
    pipeline = make()
    pipeline.process(pair(WET, WET))
    engines = [weakref.ref(engine) for engine in pipeline.engines]
    assert len(engines) >= 2 and pipeline.close(10.0)
    gc.disable()
    try:
        del pipeline
        assert [engine() for engine in engines] == [None] * len(engines)
    finally:
        gc.enable()


def test_a_frame_set_that_is_late_is_told(make: Callable[..., Pipeline], world: World) -> None:
    pipeline = make(budget_ms=50)
    assert pipeline.is_late(pair(WET, WET, received_ns=world.clock() - 49 * MS))
    assert not pipeline.is_late(pair(WET, WET, received_ns=world.clock() - 47 * MS))
    assert not pipeline.is_late(pair(WET, WET))
    pipeline.process(pair(WET, WET))
    world.clock.wait(10)
    pipeline.published()
    assert pipeline.is_late(pair(WET, WET, received_ns=world.clock() - 41 * MS))


def test_waking_up_late_after_an_overrun_is_set_aside_for_the_next(make: Callable[..., Pipeline], world: World,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make(budget_ms=100)

    def result(inline: InlineWork, timeout_ms: float) -> Any:
        if inline.lane.name == "detect":
            return inline.work()
        world.clock.wait(timeout_ms + 15)
        raise Late("")

    monkeypatch.setattr(InlineWork, "result", result)
    assert pipeline.process(pair(WET, WET)).detail == "restoring did not end within the budget"
    world.clock.wait(3)
    pipeline.published()
    assert pipeline.budget.finish_ms(100) == pytest.approx(18)


def test_frames_that_are_not_looked_at_keep_the_alarm(make: Callable[..., Pipeline]) -> None:
    pipeline = make(on_hold_s=0)
    pipeline.process(pair(WET, CLEAN))
    frames = FrameSet({"left": Frame(np.full(SIZE, WET, np.uint8))})
    result = pipeline.pass_on(frames, Action.PASSED_UNPAIRED, "alone")
    assert passed_on(result, frames) and (result.detail, result.stage_ms, result.affected) == ("alone", {}, True)
    assert result.cameras["left"].alarm is Alarm.AFFECTED and not result.cameras["left"].mask.any()


@pytest.mark.parametrize(("took_ms", "budget_ms", "period_ms", "device", "there_is"), [
    (None, 200.0, 0.0, "nowhere", False), (30.0, 200.0, 0.0, "nowhere", True), (30.0, 100.0, 0.0, "nowhere", False),
    (30.0, 200.0, 50.0, "nowhere", False), (5.0, 200.0, 50.0, "nowhere", True), (30.0, 200.0, 0.0, "cpu", False),
    (24.0, 200.0, 0.0, "cpu", True)])
def test_there_is_time_for_quality_where_several_times_balanced_fit(
        world: World, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, took_ms: float | None, budget_ms: float,
        period_ms: float, device: str, there_is: bool) -> None:
    pipeline = Pipeline(Config(budget_ms=budget_ms))
    if took_ms is not None:
        pipeline.budget.learn("key", took_ms)
    monkeypatch.setattr(FakeEngine, "device", device)
    engine = FakeEngine(world, manifest.get("restore_mono"))
    choices = [Choice("balanced", "key", {(2, 4, 4, 1): engine}), Choice("fast", "other", {})]
    assert pipeline._time_for_quality(choices, period_ms) is there_is
    assert not pipeline._time_for_quality(choices[1:], period_ms)
