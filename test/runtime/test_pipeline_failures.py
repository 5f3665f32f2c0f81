"""What goes wrong in the pipeline: no frame is held up, each goes out with the reason, networks are replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
from fake_networks import (
    BALANCED,
    CLEAN,
    LIGHT,
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
from tiny_models import write_models
from waiting import PATIENCE_S

from derain_ros import Action, Config, Frame, FrameSet, Pipeline
from derain_ros.engine import EngineError
from derain_ros.manifest import Manifest, ManifestError
from derain_ros.runtime import pipeline as pipeline_module
from derain_ros.runtime.loading import loader as loader_module

Make = Callable[..., Pipeline]


@pytest.mark.parametrize("error", [EngineError("no memory"), ZeroDivisionError("no memory"), MemoryError()])
@pytest.mark.parametrize("stage", ["detect", "balanced"])
def test_a_failing_stage_passes_frames_on_with_the_reason(
    make: Make, world: World, stage: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make(BALANCED)
    world.failure[stage] = error
    for _ in range(2):
        frames = pair(WET, CLEAN)
        result = pipeline.process(frames)
        assert actions(result) == [Action.PASSED_ERROR] * 2 and passed_on(result, frames)
        assert result.detail == (str(error) or "MemoryError")
        assert result.cameras["left"].mask.any() == (stage == "balanced") and not result.cameras["right"].mask.any()
        assert result.cameras["left"].mask.shape == SIZE
    [record] = [record for record in caplog.records if record.name == "derain_ros.runtime.pipeline"]
    assert record.levelno == logging.ERROR and result.detail in record.getMessage()
    # Where the fault is in the code, the log says where.
    assert bool(record.exc_info) == (not isinstance(error, EngineError))
    world.failure.clear()
    assert restored(pipeline.process(pair(WET, CLEAN)))


def test_errors_without_end_do_not_fill_the_log(make: Make, world: World, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = make()
    for n in range(300):
        world.failure["detect"] = ValueError(f"error {n}")
        pipeline.process(pair())
    assert len(caplog.records) == pipeline_module.MESSAGES_LOGGED


@pytest.mark.parametrize("model", ["detect", "quality", "temporal"])
def test_an_engine_that_fails_is_replaced_by_onnx_runtime(make: Make, world: World, model: str) -> None:
    pipeline = make(QUALITY, LIGHT, TEMPORAL, temporal=True)
    broken = next(engine for engine in pipeline.engines if engine.model.name == model)
    world.failure[f"{model} by {broken.name}"] = EngineError("CUDA fails: an illegal memory access")
    failed = pipeline.process(pair())
    assert "illegal memory access" in failed.detail and restored(failed) == (model == "temporal")
    result = pipeline.process(pair(at_s=0.1))
    assert restored(result) and (result.plan, result.detail) == ("quality + temporal", "")
    assert broken not in pipeline.engines and pipeline.state == "ready"
    assert next(engine for engine in pipeline.engines if engine.model.name == model).name == "onnxruntime"


def test_a_restorer_that_fails_three_times_is_out_and_the_next_plan_serves(make: Make, world: World) -> None:
    pipeline = make()
    world.failure["quality"] = EngineError("quality: no memory")
    results = [pipeline.process(pair(at_s=0.1 * n)) for n in range(5)]
    assert [result.plan for result in results] == ["passthrough"] * 3 + ["balanced"] * 2
    assert [actions(result)[0] for result in results[:3]] == [Action.PASSED_ERROR] * 3
    assert pipeline.loading == "quality is not used: quality: no memory" and pipeline.state == "ready"
    world.failure |= {name: EngineError("none is left") for name in ("balanced", "light")}
    last = [pipeline.process(pair(at_s=1 + 0.1 * n)) for n in range(8)][-1]
    assert actions(last) == [Action.PASSED_ERROR] * 2 and "there is no restorer for such images" in last.detail
    assert "light is not used: none is left" in last.detail
    assert actions(pipeline.process(pair(CLEAN, CLEAN, 9.0)))[0] in (Action.PASSED_CLEAN, Action.PASSED_ERROR)


@pytest.mark.parametrize("error", [EngineError("temporal: broken"), RuntimeError("temporal: broken")])
def test_a_filter_that_fails_costs_no_restoration(make: Make, world: World, error: Exception) -> None:
    pipeline = make(BALANCED, TEMPORAL, temporal=True)
    world.failure["temporal"] = error
    results = [pipeline.process(pair(at_s=0.1 * n)) for n in range(5)]
    assert all(map(restored, results)) and {result.models for result in results} == {"balanced"}
    assert all(set(result.cameras["left"].frame.image.flat) == {WET + 1} for result in results)
    assert [result.detail for result in results] == ["without temporal: temporal: broken"] * 3 + [""] * 2
    assert results[-1].plan == "balanced" and "temporal is not used" in pipeline.loading


def test_where_the_second_restorer_fails_what_the_first_restored_is_published(make: Make, world: World) -> None:
    pipeline = make(BALANCED, RAIN, on_hold_s=0.0)
    world.seen = {"raindrop": 0.9, "streak": 0.9}
    world.failure["balanced"] = EngineError("no memory")
    result = pipeline.process(pair())
    assert restored(result) and (result.models, result.detail) == ("rain", "without balanced: no memory")
    assert set(result.cameras["left"].frame.image.flat) == {WET + 1}


@pytest.mark.parametrize(
    "bad",
    [np.zeros((0, 0), np.uint8), np.zeros((4, 4), np.float32), np.zeros(9, np.uint8), None],
    ids=["empty", "float", "flat", "nothing"],
)
def test_a_bad_frame_takes_its_counterpart_along_and_no_network(make: Make, bad: np.ndarray) -> None:
    pipeline = make()
    engines = pipeline.engines
    frames = FrameSet({"left": Frame(np.full(SIZE, WET, np.uint8)), "right": Frame(bad)})
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_ERROR] * 2 and passed_on(result, frames) and result.detail
    assert pipeline.engines == engines and restored(pipeline.process(pair()))


def test_an_empty_set_is_no_failure_of_a_network(make: Make) -> None:
    pipeline = make()
    engines = pipeline.engines
    assert pipeline.process(FrameSet({})).cameras == {} and pipeline.engines == engines


def test_an_unknown_encoding_is_told(make: Make, world: World) -> None:
    frames = FrameSet({"left": Frame(np.full(SIZE, WET, np.uint8), "nv24")})
    result = make().process(frames)
    assert actions(result) == [Action.PASSED_ERROR] and "encoding 'nv24' is not one of" in result.detail
    assert not world.runs


def test_images_without_a_restorer_are_passed_on_with_the_reason_where_they_are_affected(make: Make) -> None:
    pipeline = make()

    def process(value: int) -> tuple[list[Action], str]:
        image = np.full((*SIZE, 3), value, np.uint8)
        result = pipeline.process(FrameSet({"left": Frame(image, "rgb8"), "right": Frame(image, "rgb8")}))
        return actions(result), result.detail

    assert process(CLEAN) == ([Action.PASSED_CLEAN] * 2, "")
    assert process(WET) == ([Action.PASSED_ERROR] * 2, "there is no restorer for such images; set restorer to auto")


@pytest.mark.parametrize(
    "settings", [{"detector": "eyes"}, {"restorer": "best"}, {"temporal": True, "temporal_model": "stedy"}]
)
def test_a_model_that_is_missing_is_told_and_frames_flow(world: World, settings: dict[str, object]) -> None:
    pipeline, frames = Pipeline(Config.from_mapping(settings), manifest_of(BALANCED, TEMPORAL), world.clock), pair()
    with pytest.raises(ManifestError, match="no such model") as caught:
        pipeline.load()
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
    assert result.detail == f"models: failed: {caught.value}" and pipeline.state == f"failed: {caught.value}"


def test_without_a_manifest_frames_flow_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    pipeline = Pipeline(Config(), tmp_path_factory.mktemp("nothing"))
    with pytest.raises(ManifestError, match="models.yaml"):
        pipeline.load()
    assert actions(pipeline.process(pair())) == [Action.PASSED_DISABLED] * 2


@pytest.mark.parametrize("background", [True, False])
def test_a_damaged_file_costs_that_network_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, background: bool
) -> None:
    def verify(self: Manifest, model: object) -> None:
        if model is LIGHT:
            raise ManifestError("light.onnx: sha256 is wrong")

    from fake_networks import Whole

    monkeypatch.setattr(Whole, "verify", verify)
    pipeline = make(BALANCED, LIGHT, background=background)
    result = pipeline.process(pair())
    assert restored(result) and result.plan == "balanced"
    if background:
        assert pipeline.loading == "light is not used: light.onnx: sha256 is wrong"
        assert "light.onnx: sha256 is wrong" in caplog.text


def test_where_real_files_are_damaged_the_other_channels_are_restored(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = write_models(tmp_path_factory.mktemp("damaged"))
    (directory / "restore_rgb.onnx").write_bytes(b"")
    pipeline = Pipeline(Config(cameras=["front"], engine="onnxruntime"), Manifest.load(directory))
    pipeline.load()
    grey, colour = (
        FrameSet({"front": Frame(np.full(shape, WET, np.uint8), encoding)})
        for shape, encoding in ((SIZE, "mono8"), ((*SIZE, 3), "rgb8"))
    )
    for _ in range(2):
        assert restored(pipeline.process(grey))
        result = pipeline.process(colour)
        assert not restored(result) and passed_on(result, colour) and "restore_rgb.onnx: sha256" in result.detail
    assert pipeline.close(PATIENCE_S)


def test_a_restorer_that_is_still_loaded_is_told_and_frames_flow(
    make: Make, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Callable[[], None]] = []
    world.thread = lambda target, **how: type(
        "Later",
        (),
        {  # type: ignore[method-assign]
            "start": lambda self: started.append(target)
        },
    )()
    monkeypatch.setattr(loader_module.threading, "Thread", world.thread)
    pipeline = make()
    frames = pair()
    result = pipeline.process(frames)
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
    assert result.detail == "models: loading" and result.cameras["left"].mask.any()
    [load] = started
    load()
    assert restored(pipeline.process(pair()))
