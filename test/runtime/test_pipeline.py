"""The way of a frame set through the pipeline: what is judged, chosen, run and published."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_networks import (
    BALANCED,
    CLEAN,
    LIGHT,
    MS,
    QUALITY,
    RAIN,
    SIZE,
    TEMPORAL,
    WET,
    World,
    actions,
    manifest_of,
    pair,
    passed_on,
    restored,
)
from tiny_models import BRIGHTER_BY, MASKED_ABOVE, write_manifest, write_models, write_restorer
from waiting import PATIENCE_S, wait_for

from derain_ros import Action, Config, ConfigError, Frame, FrameSet, Pipeline
from derain_ros.frame import Alarm
from derain_ros.manifest import Manifest
from derain_ros.runtime.judge import judge as judge_module

Make = Callable[..., Pipeline]


@pytest.mark.parametrize(("left", "right"), [(WET, CLEAN), (CLEAN, WET), (WET, WET)])
def test_both_eyes_are_restored_if_one_is_affected(make: Make, world: World, left: int, right: int) -> None:
    frames = pair(left, right, 3.0)
    result = make().process(frames)
    assert restored(result) and (result.plan, result.models, result.detail) == ("quality", "quality", "")
    for name, value in (("left", left), ("right", right)):
        camera = result.cameras[name]
        assert set(camera.frame.image.flat) == {value + 1} and set(frames.frames[name].image.flat) == {value}
        assert (camera.frame.stamp_ns, camera.frame.frame_id) == (3_000_000_000, name[0])
        assert camera.anomaly is not None and camera.anomaly.affected == (value == WET)
        # What the restorer drew, the first row, and its share of the view.
        expected = np.zeros(SIZE, np.uint8)
        expected[0] = 255
        assert np.array_equal(camera.mask, expected) and camera.mask.dtype == np.uint8
        assert camera.anomaly.coverage == 1 / SIZE[0]
    assert world.runs == [("detect", (2, 24, 32, 1)), ("quality", (2, *SIZE, 1))]
    assert result.stage_ms == {"detect": 1, "quality": 60, "total": 61} and result.left_ms == 199


def test_a_clean_pair_is_passed_on_bit_for_bit(make: Make, world: World) -> None:
    frames = pair(CLEAN, CLEAN)
    result = make().process(frames)
    assert actions(result) == [Action.PASSED_CLEAN] * 2 and passed_on(result, frames)
    assert result.plan == "passthrough" and not result.affected and [name for name, _ in world.runs] == ["detect"]
    assert set(result.stage_ms) == {"detect", "total"}
    for camera in result.cameras.values():
        assert camera.mask.shape == SIZE and not camera.mask.any() and camera.mask.dtype == np.uint8


def test_without_gating_a_clean_pair_is_restored_too(make: Make) -> None:
    result = make(gating=False).process(pair(CLEAN, CLEAN))
    assert restored(result) and result.plan == "quality"


def test_restoring_starts_at_once_and_goes_on_until_the_flag_falls(make: Make) -> None:
    pipeline = make(on_hold_s=0.2, off_hold_s=0.5)
    results = [pipeline.process(pair(value, CLEAN, 0.1 * n)) for n, value in enumerate([WET] * 4 + [CLEAN] * 8)]
    assert [result.affected for result in results] == [False] * 2 + [True] * 7 + [False] * 3
    assert [restored(result) for result in results] == [True] * 9 + [False] * 3


def test_switched_off_it_passes_on_but_still_says_what_it_sees(make: Make, world: World) -> None:
    frames = pair(WET, CLEAN)
    result = make(enabled=False).process(frames)
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
    assert result.detail == "restoration is switched off"
    left, right = result.cameras.values()
    assert left.anomaly is not None and left.anomaly.kind == "raindrop"
    assert left.mask[:, :14].all() and not left.mask[:, 14:].any() and not right.mask.any()
    assert {name for name, _ in world.runs} == {"detect"}


def test_while_it_is_switched_off_the_alarm_follows_what_is_seen(make: Make) -> None:
    pipeline = make(on_hold_s=0.0, off_hold_s=0.0)
    assert pipeline.process(pair(WET, WET)).affected
    pipeline.apply(Config(enabled=False, on_hold_s=0.0, off_hold_s=0.0))
    assert pipeline.process(pair(WET, WET, 0.1)).affected and not pipeline.process(pair(CLEAN, CLEAN, 0.2)).affected


def test_settings_change_between_frames_but_not_those_that_need_a_new_pipeline(make: Make) -> None:
    pipeline = make()
    pipeline.apply(Config(enabled=False))
    assert actions(pipeline.process(pair())) == [Action.PASSED_DISABLED] * 2
    pipeline.apply(Config(on_score=0.95))
    assert actions(pipeline.process(pair())) == [Action.PASSED_CLEAN] * 2
    with pytest.raises(ConfigError, match="cameras: cannot be changed while the pipeline runs"):
        pipeline.apply(Config(cameras=["front"]))
    assert pipeline.config.on_score == 0.95
    pipeline.apply(Config(plan="light"))
    assert pipeline.process(pair()).plan == "light"


@pytest.mark.parametrize("plan", ["auto", "quality", "balanced", "light"])
@pytest.mark.parametrize("background", [True, False])
def test_the_setting_caps_the_ladder(make: Make, plan: str, background: bool) -> None:
    result = make(plan=plan, background=background).process(pair())
    assert result.plan == (plan if plan != "auto" else "quality")


def test_until_the_models_are_loaded_frames_are_passed_on(world: World) -> None:
    pipeline, frames = Pipeline(Config(), manifest_of(BALANCED), world.clock), pair()
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
    assert result.detail == "models: loading" and pipeline.engines == [] and pipeline.loading == ""
    assert all(camera.anomaly is None and not camera.mask.any() for camera in result.cameras.values())


def test_restorers_are_loaded_as_soon_as_frames_say_for_which_size(make: Make) -> None:
    pipeline = make()
    # The clean pair of `make` has said so.
    assert [engine.model.name for engine in pipeline.engines] == ["detect", "light", "balanced", "quality"]
    assert {engine.name for engine in pipeline.engines[1:]} == {"tensorrt"}


def test_prepared_the_first_frames_are_restored(world: World) -> None:
    pipeline = Pipeline(Config(), manifest_of(LIGHT, BALANCED, QUALITY, RAIN), world.clock, background=True)
    pipeline.prepare()  # there is nothing to prepare yet
    pipeline.load()
    pipeline.prepare()
    wait_for(lambda: not pipeline.loading, "what is loaded ahead")
    assert [engine.model.name for engine in pipeline.engines] == ["detect", "light"]
    assert restored(pipeline.process(pair()))
    pipeline.close(PATIENCE_S)


def test_images_of_another_size_are_restored_at_once(make: Make, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain_ros.runtime.loading import loader as loader_module

    pipeline = make()
    pipeline.process(pair())
    # What is being chosen for them does not come.
    monkeypatch.setattr(loader_module.threading, "Thread", lambda **how: type("Never", (), {"start": lambda self: 0})())
    result = pipeline.process(pair(size=(40, 56)))
    assert restored(result) and world.runs[-1] == (result.models, (2, 40, 56, 1))


@pytest.mark.parametrize(
    ("seen", "plan", "models"),
    [
        ({"streak": 0.9}, "rain", "rain"),
        ({"raindrop": 0.9}, "quality", "quality"),
        ({"raindrop": 0.9, "streak": 0.4}, "rain + quality", "rain, quality"),
        ({"raindrop": 0.9, "streak": 0.3}, "quality", "quality"),
    ],
)
def test_rain_is_taken_away_by_what_is_made_for_it_and_the_rest_by_another(
    make: Make, world: World, seen: dict[str, float], plan: str, models: str
) -> None:
    pipeline = make(QUALITY, BALANCED, LIGHT, RAIN, on_hold_s=0.1)
    world.seen = seen
    results = [pipeline.process(pair(at_s=0.1 * n)) for n in range(3)]
    assert all(map(restored, results)) and (results[-1].plan, results[-1].models) == (plan, models)
    # One after the other: each adds 1.
    assert set(results[-1].cameras["left"].frame.image.flat) == {WET + 1 + models.count(",")}


@pytest.mark.parametrize(("settings", "action"), [({}, Action.PASSED_NO_PLAN), ({"gating": False}, Action.RESTORED)])
def test_behind_dirt_that_no_plan_helps_against_pairs_are_passed_on(
    make: Make, world: World, settings: dict[str, bool], action: Action
) -> None:
    pipeline = make(*(replace(model, not_for=("dirt",)) for model in (QUALITY, LIGHT)), on_hold_s=0.1, **settings)
    world.seen = {"dirt": 0.9}
    last = [pipeline.process(pair(at_s=0.1 * n, period_ms=100.0)) for n in range(4)][-1]
    assert {camera.action for camera in last.cameras.values()} == {action} and last.affected
    assert last.detail == ("" if settings else "no plan that is allowed helps against dirt")


@pytest.mark.parametrize(("ms", "settings"), [(190.0, {}), (30.0, {"plan": "light"})])
def test_falling_rain_is_passed_on_where_what_is_made_for_it_does_not_keep_up_or_is_not_allowed(
    make: Make, world: World, ms: float, settings: dict[str, str]
) -> None:
    pipeline = make(QUALITY, BALANCED, LIGHT, RAIN, on_hold_s=0.1, **settings)
    world.seen, world.ms["rain"] = {"streak": 0.9}, ms
    results = [pipeline.process(pair(at_s=0.1 * n, period_ms=100.0)) for n in range(4)]
    # `light`, which is made for drops, hurts trackers there (derain evaluate matrix).
    assert {run[0] for run in world.runs} <= {"detect", "rain"}
    last = results[-1]
    action, told = (
        (Action.PASSED_NO_PLAN, "no plan that is allowed helps against streak")
        if settings
        else (Action.PASSED_BUDGET, "no plan that keeps up helps against streak")
    )
    assert {camera.action for camera in last.cameras.values()} == {action} and last.detail == told
    assert set(last.cameras["left"].frame.image.flat) == {WET} and last.affected
    world.seen = {"raindrop": 0.9}
    assert restored([pipeline.process(pair(at_s=0.4 + 0.1 * n, period_ms=100.0)) for n in range(4)][-1])


def test_rain_that_comes_over_drops_is_taken_away_after_its_hold_time(make: Make, world: World) -> None:
    pipeline = make(BALANCED, RAIN, on_hold_s=0.2)
    for n in range(4):
        assert pipeline.process(pair(at_s=0.1 * n)).plan == "balanced"
    world.seen = {"raindrop": 0.9, "streak": 0.9}
    plans = [pipeline.process(pair(at_s=0.4 + 0.1 * n)).plan for n in range(4)]
    assert plans == ["balanced"] * 2 + ["rain + balanced"] * 2


def test_the_filter_comes_after_the_restorer(make: Make, world: World) -> None:
    pipeline = make(BALANCED, TEMPORAL, temporal=True)
    results = [pipeline.process(pair(at_s=0.1 * n)) for n in range(3)]
    assert {(result.plan, result.models) for result in results} == {("balanced + temporal", "balanced, temporal")}
    assert [run for run in world.runs if run[0] == "temporal"] == [("temporal", (2, 10, 14, 9))] * 3
    # Away from the restorer's mask it keeps the frame, of which the restorer had made WET + 1.
    left = results[-1].cameras["left"]
    assert set(left.frame.image[4:].flat) == {WET} and left.mask[0].all() and not left.mask[4:].any()
    assert results[-1].stage_ms == {"detect": 1, "balanced": 30, "temporal": 5, "total": 36}
    assert make(BALANCED, TEMPORAL).process(pair()).plan == "balanced"


@pytest.mark.parametrize("alarm", [False, True])
def test_whether_the_alarm_is_up_is_known_as_a_pair_is_judged(
    make: Make, monkeypatch: pytest.MonkeyPatch, alarm: bool
) -> None:
    told: list[Any] = []
    pipeline = make(on_hold_s=0.0 if alarm else 1.0)
    pipeline.process(pair(at_s=0.1))

    def check(self: object, views: object, anomalies: Any, on_score: float, stamp_ns: int, alarm: bool) -> Any:
        told.append(alarm)
        return anomalies

    monkeypatch.setattr(judge_module.CrossCheck, "check", check)
    pipeline.process(pair(at_s=0.2))
    assert told == [alarm]


@pytest.mark.parametrize("models", [(QUALITY, BALANCED, LIGHT), (BALANCED, TEMPORAL), (BALANCED, RAIN)])
def test_elsewhere_than_in_a_stream_the_best_plan_is_waited_for_from_the_first_image_on(
    world: World, models: tuple[Any, ...]
) -> None:
    world.ms |= {"quality": 9000.0, "temporal": 9000.0}
    pipeline = Pipeline(Config(temporal=TEMPORAL in models), manifest_of(*models), world.clock)
    pipeline.load()
    frames = [replace(pair(at_s=0.1 * n), received_ns=world.clock(), period_ms=1.0) for n in range(4)]
    results = [pipeline.process(each) for each in frames]
    best = models[0].name + " + temporal" * (TEMPORAL in models)
    assert [result.plan for result in results] == [best] * 4
    # What is loaded takes no part in what the frame took.
    assert results[0].stage_ms["total"] == results[-1].stage_ms["total"]
    assert {engine.name for engine in pipeline.engines[1:]} == {"onnxruntime"}, "nothing is measured"


def test_the_first_image_gets_the_next_plan_where_the_best_cannot_be_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from derain_ros.engine import EngineError
    from derain_ros.runtime.loading import loader as loader_module

    load = world.load

    def refuse(model: Any, *how: Any) -> Any:
        if model.name == "quality":
            raise EngineError("quality.onnx: an operator is unknown")
        return load(model, *how)

    monkeypatch.setattr(loader_module, "load", refuse)
    pipeline = Pipeline(Config(), manifest_of(QUALITY, BALANCED), world.clock)
    pipeline.load()
    results = [pipeline.process(pair(at_s=0.1 * n)) for n in range(2)]
    assert [(result.plan, result.detail) for result in results] == [("balanced", "")] * 2


def test_smooth_changes_what_is_masked_and_little_around_it(tmp_path: Path) -> None:
    manifest = Manifest.load(write_models(tmp_path))
    image = np.random.default_rng(3).integers(120, MASKED_ABOVE, (120, 160), np.uint8)
    image[40:60, 50:80] = np.where(np.indices((20, 30)).sum(0) % 2, 210, 230)
    published = {}
    for fill in ("restored", "smooth"):
        pipeline = Pipeline(Config(cameras=["front"], fill=fill, engine="onnxruntime", gating=False), manifest)
        pipeline.load()
        published[fill] = pipeline.process(FrameSet({"front": Frame(image)})).cameras["front"]
        pipeline.close(PATIENCE_S)
    assert all(np.array_equal(done.mask, (image > MASKED_ABOVE) * 255) for done in published.values())
    plain, smooth = (published[fill].frame.image.astype(int) for fill in ("restored", "smooth"))
    assert np.array_equal(plain, np.minimum(image.astype(int) + BRIGHTER_BY, 255))
    assert np.abs(np.diff(plain[40:60, 50:80])).min() == 20 and np.abs(np.diff(smooth[42:58, 52:78])).max() < 8
    around = np.zeros(image.shape, bool)
    around[34:66, 44:86] = True
    assert np.array_equal(smooth[~around], plain[~around])


ENCODINGS = [
    ("mono8", np.uint8, ()),
    ("8UC1", np.uint8, ()),
    ("mono16", np.uint16, ()),
    ("rgb8", np.uint8, (3,)),
    ("bgr8", np.uint8, (3,)),
]


@pytest.mark.parametrize(("encoding", "dtype", "channels"), ENCODINGS)
@pytest.mark.parametrize("temporal", [False, True])
def test_real_networks_keep_size_and_encoding(
    tmp_path: Path, encoding: str, dtype: type, channels: tuple[int, ...], temporal: bool
) -> None:
    """The tiny filter recalls what came first; each of two cameras has its own size."""
    pipeline = Pipeline(
        Config(gating=False, engine="onnxruntime", temporal=temporal),
        Manifest.load(write_models(tmp_path, with_temporal=True)),
    )
    pipeline.load()
    wide = 2 if dtype is np.uint16 else 0
    for n in range(3):
        frames = {
            name: Frame(np.full((*size, *channels), (100 + n) << wide, dtype), encoding, 1 + n * 50 * MS, name)
            for name, size in (("left", (50, 66)), ("right", (42, 58)))
        }
        for frame in frames.values():
            frame.image[0], frame.image[1:8] = 0, (1 << (8 + wide)) - 1  # what the camera can show
        result = pipeline.process(FrameSet(frames))
        assert restored(result), result.detail
    assert result.plan == ("balanced + temporal" if temporal else "balanced")
    expected = (100 if temporal else 102) + BRIGHTER_BY
    for name, camera in result.cameras.items():
        given = frames[name]
        assert (camera.frame.image.shape, camera.frame.image.dtype) == (given.image.shape, given.image.dtype)
        assert (camera.frame.encoding, camera.frame.frame_id, camera.frame.stamp_ns) == (encoding, name, given.stamp_ns)
        assert set(camera.frame.image[10:].flat) == {expected << wide}
    assert pipeline.close(PATIENCE_S)


def test_real_networks_restore_grey_and_colour_of_any_layout(manifest: Manifest) -> None:
    pipeline = Pipeline(Config(engine="onnxruntime"), manifest)
    pipeline.load()
    whole = np.random.default_rng(2).integers(120, 240, (54, 90, 3), np.uint8)
    view = whole[:, :70]
    view.flags.writeable = False
    result = pipeline.process(FrameSet({"left": Frame(view, "bgr8"), "right": Frame(view[..., 0].copy(), "mono8")}))
    assert restored(result), result.detail
    assert np.array_equal(result.cameras["left"].frame.image, view + BRIGHTER_BY)
    assert np.array_equal(result.cameras["right"].frame.image, view[..., 0] + BRIGHTER_BY)
    assert result.cameras["left"].mask.shape == (54, 70)
    assert sorted((engine.model.name, engine.device) for engine in pipeline.engines) == [
        ("detect", "cpu"),
        ("restore_mono", "cpu"),
        ("restore_rgb", "cpu"),
    ]
    assert pipeline.close(PATIENCE_S)


def test_a_real_network_of_half_the_size_keeps_the_detail_of_the_image(tmp_path: Path) -> None:
    entries = [write_restorer(tmp_path, "half", plan="light", scale=2)]
    write_models(tmp_path / "others")
    detect = Manifest.load(tmp_path / "others").get("detect")
    (tmp_path / "detect.onnx").write_bytes(detect.file.read_bytes())
    write_manifest(
        tmp_path,
        [
            *entries,
            {
                "name": "detect",
                "task": "detect",
                "file": "detect.onnx",
                "channels": 1,
                "sha256": detect.sha256,
                "stride": 8,
                "classes": list(detect.classes),
                "size": list(detect.size or ()),
            },
        ],
    )
    image = np.random.default_rng(2).integers(110, 180, (51, 75), np.uint8)
    pipeline = Pipeline(Config(engine="onnxruntime"), Manifest.load(tmp_path))
    pipeline.load()
    result = pipeline.process(FrameSet({name: Frame(image) for name in ("left", "right")}))
    assert result.plan == "light" and np.array_equal(result.cameras["left"].frame.image, image + BRIGHTER_BY)
    assert pipeline.close(PATIENCE_S)


def test_in_a_stream_real_networks_are_loaded_beside_it(manifest: Manifest) -> None:
    pipeline = Pipeline(Config(engine="onnxruntime", budget_ms=10_000.0), manifest, background=True)
    pipeline.load()
    results = [pipeline.process(pair())]

    def is_restored() -> bool:
        results.append(pipeline.process(pair()))
        return restored(results[-1])

    wait_for(is_restored, "a restored pair")
    assert all(
        actions(result) == [Action.PASSED_DISABLED] * 2 and result.detail.startswith("models: ")
        for result in results[:-1]
    )
    assert pipeline.close(PATIENCE_S)


def test_one_named_restorer_serves_all_anomalies_of_its_channels(make: Make) -> None:
    pipeline = make(BALANCED, RAIN, cameras=["left", "right"], restorer="rain")
    result = pipeline.process(pair())
    assert restored(result) and (result.plan, result.models) == ("balanced", "rain")
    colour = pipeline.process(FrameSet({"front": Frame(np.full((*SIZE, 3), WET, np.uint8), "rgb8")}))
    assert actions(colour) == [Action.PASSED_ERROR] and "no restorer for such images" in colour.detail


def test_frames_that_are_not_looked_at_keep_the_alarm(make: Make) -> None:
    pipeline = make(on_hold_s=0.0)
    pipeline.process(pair(WET, CLEAN))
    frames = FrameSet({"left": Frame(np.full(SIZE, WET, np.uint8))})
    result = pipeline.pass_on(frames, Action.PASSED_UNPAIRED, "alone")
    assert passed_on(result, frames) and (result.detail, result.stage_ms, result.affected) == ("alone", {}, True)
    assert result.cameras["left"].alarm is Alarm.AFFECTED and not result.cameras["left"].mask.any()


@pytest.mark.parametrize("closed", [True, False])
def test_its_networks_go_with_a_pipeline(make: Make, closed: bool) -> None:
    pipeline = make(BALANCED, TEMPORAL, LIGHT, temporal=True)
    for n in range(3):
        pipeline.process(pair(at_s=0.1 * n))
    engines = [weakref.ref(engine) for engine in pipeline.engines]
    assert len(engines) == 4 and (not closed or pipeline.close(10.0))
    assert not closed or pipeline.engines == []
    gc.disable()
    try:
        del pipeline
        assert [engine() for engine in engines] == [None] * len(engines)
    finally:
        gc.enable()


def test_after_it_was_closed_frames_are_passed_on(make: Make) -> None:
    pipeline, frames = make(), pair()
    pipeline.close(1.0)
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
