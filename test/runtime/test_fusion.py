"""Fusion within the pipeline: it is what goes first where time is short, and nothing else depends on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_networks import (
    BALANCED,
    CLEAN,
    FUSE,
    LIGHT,
    MS,
    QUALITY,
    SIZE,
    WET,
    World,
    actions,
    pair,
    passed_on,
)

from derain_ros import Action, Frame, FrameSet, Pipeline, Result
from derain_ros.engine import EngineError
from derain_ros.runtime.loading.loader import Loader

Make = Callable[..., Pipeline]
SAME = {"thermal": True, "thermal_homography": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}
ALL = (QUALITY, BALANCED, LIGHT, FUSE)


def warm(number: int, level: int = 60) -> Frame:
    """A thermal frame of which no two are alike, with a warm spot."""
    image = np.random.default_rng(number).integers(level, level + 4, SIZE, np.uint8)
    image[8:12, 10:18] = 240
    return Frame(image, "mono8", frame_id="t")


class Stream:
    """Pairs ten times a second with a thermal frame each, unless told otherwise."""

    def __init__(self, pipeline: Pipeline, world: World) -> None:
        self.pipeline, self.world, self.number, self.begun_ns = pipeline, world, 0, world.clock()

    def send(self, level: int = WET, thermal: Frame | None | str = "warm") -> tuple[FrameSet, Result]:
        self.number += 1
        clock = self.world.clock
        clock.now_ns = max(clock.now_ns, self.begun_ns + self.number * 100 * MS)
        frames = replace(
            pair(level, level, clock() / 1e9, clock(), 100.0),
            thermal=warm(self.number) if isinstance(thermal, str) else thermal,
        )
        result = self.pipeline.process(frames)
        clock.wait(2.0)
        self.pipeline.published()
        return frames, self.pipeline.fuse(result)


@pytest.fixture
def stream(make: Make, world: World) -> Stream:
    return Stream(make(*ALL, **SAME), world)


def test_a_clean_view_is_fused_and_passed_on(stream: Stream) -> None:
    frames, result = stream.send(CLEAN)
    assert actions(result) == [Action.PASSED_CLEAN] * 2 and passed_on(result, frames)
    assert (result.plan, result.models, result.fusion) == ("passthrough", "", "fused")
    assert result.fused is not None and result.fused.frame_id == "l" and result.fused.encoding == "mono8"
    assert result.fused.stamp_ns == frames.frames["left"].stamp_ns
    assert frames.thermal is not None
    assert (result.fused.image[9:11, 12:16] > 150).all() and (result.fused.image[0] < 65).all()
    assert "fuse" in result.stage_ms and result.stage_ms["fuse"] == pytest.approx(15)


def test_a_wet_one_is_restored_first(stream: Stream) -> None:
    stream.send()
    frames, result = stream.send()
    assert (result.plan, result.models, result.fusion) == ("quality + fuse", "quality, fuse", "fused")
    assert [name for name, _ in stream.world.runs][-3:] == ["detect", "quality", "fuse"]
    assert stream.world.runs[-1][1] == (1, *SIZE, 1), "one image: that of the first camera"
    assert result.fused is not None and result.fused.image[10, 2] == WET + 1
    assert (result.cameras["left"].frame.image == WET + 1).all(), "the camera's own image shows nothing of it"


def test_fusion_goes_first_under_load_and_comes_back(stream: Stream) -> None:
    assert {stream.send()[1].plan for _ in range(50)} == {"quality + fuse"}
    # 90 ms of 98 are enough for quality alone: it does not step down with fusion.
    stream.world.ms |= {"quality": 90.0, "fuse": 22.0}
    under = [stream.send()[1] for _ in range(100)]
    assert {result.plan for result in under[-40:]} <= {"quality", "quality + fuse"}
    assert sum(result.plan == "quality" for result in under[-40:]) >= 36
    assert {result.fusion for result in under if result.fused is None} == {"no time"}
    stream.world.ms |= {"quality": 60.0, "fuse": 15.0}
    after = [stream.send()[1] for _ in range(200)]
    assert {result.plan for result in after[-20:]} == {"quality + fuse"}


def test_a_clean_view_goes_out_in_time_though_there_is_none_to_fuse(stream: Stream) -> None:
    for _ in range(20):
        stream.send(CLEAN)
    stream.world.ms["fuse"] = 300.0
    results = [stream.send(CLEAN)[1] for _ in range(60)]
    assert {tuple(actions(result)) for result in results} == {(Action.PASSED_CLEAN,) * 2}
    assert sum(result.fused is not None for result in results[-40:]) <= 3
    assert results[-1].fusion in ("no time", "fused")


@pytest.mark.parametrize("level", [CLEAN, WET])
def test_a_fuser_that_fails_changes_nothing_else(stream: Stream, level: int) -> None:
    stream.world.failure["fuse"] = EngineError("an operator is unknown")
    results = [stream.send(level)[1] for _ in range(8)]
    expected = Action.PASSED_CLEAN if level == CLEAN else Action.RESTORED
    assert {tuple(actions(result)) for result in results} == {(expected,) * 2}
    assert not any(result.detail for result in results) and not any(result.fused for result in results)
    assert results[0].fusion == "an operator is unknown" and results[-1].fusion == "the fuser fails"


def test_what_the_cameras_publish_is_the_same_with_and_without(make: Make, world: World) -> None:
    found, fused = [], 0
    for settings in ({}, SAME):
        stream = Stream(make(*ALL, **settings), world)
        results = [
            stream.send(WET if 15 < k < 45 else CLEAN, None if k % 7 > 4 else warm(k // 3))[1] for k in range(60)
        ]
        found.append(
            [
                (done.action, done.frame.image.tobytes(), done.mask.tobytes())
                for result in results
                for done in result.cameras.values()
            ]
        )
        fused = sum(result.fused is not None for result in results)
    assert found[0] == found[1] and fused > 20


def test_switched_off_the_view_is_fused_as_it_is(make: Make, world: World) -> None:
    stream = Stream(make(*ALL, enabled=False, **SAME), world)
    frames, result = stream.send()
    assert actions(result) == [Action.PASSED_DISABLED] * 2 and passed_on(result, frames)
    assert result.fused is not None and result.fused.image[10, 2] == WET


def test_beside_a_stream_the_thermal_frame_is_asked_for_late(stream: Stream) -> None:
    later = warm(99)
    asked: list[Frame] = []

    def nearest(frame: Frame) -> Frame:
        asked.append(frame)
        return later

    stream.pipeline.fusion.nearest = nearest
    frames, result = stream.send(CLEAN, None)
    assert result.fused is not None and asked[0].stamp_ns == frames.frames["left"].stamp_ns
    assert [name for name, _ in stream.world.runs][-2:] == ["detect", "fuse"]


def test_nobody_wants_it(stream: Stream) -> None:
    stream.pipeline.fusion.wanted = False
    _, result = stream.send()
    assert result.fused is None and result.fusion == "" and "fuse" not in dict(stream.world.runs)


def test_models_without_a_fuser_are_told(make: Make, world: World) -> None:
    _, result = Stream(make(QUALITY, **SAME), world).send()
    assert result.fusion == "there is no fuser among the models of models" and actions(result) == [Action.RESTORED] * 2


@pytest.mark.parametrize(
    "thermal",
    [
        Frame(np.zeros((4, 4, 3), np.uint8), "mono8"),
        Frame(np.zeros((4, 4), np.uint8), "no such"),
        Frame(np.zeros((0, 4), np.uint8), "mono8"),
        Frame(None, "mono8"),
    ],
)  # type: ignore[arg-type]
def test_a_malformed_thermal_frame_is_told_and_nothing_else_changes(stream: Stream, thermal: Frame) -> None:
    _, result = stream.send(WET, thermal)
    assert result.fusion.startswith("thermal: ") and result.fused is None and actions(result) == [Action.RESTORED] * 2
    assert stream.send()[1].fusion == "fused"


def test_offline_the_fuser_is_waited_for(make: Make, world: World) -> None:
    pipeline = make(*ALL, background=False, **SAME)
    assert pipeline.process(replace(pair(CLEAN, CLEAN), thermal=warm(1))).fusion == "fused"
    assert pipeline.process(replace(pair(WET, WET), thermal=warm(2))).plan == "quality + fuse"


def test_while_networks_are_loaded_it_goes_as_well(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """What loading slows down teaches the restorers nothing, as wet frames must be restored; fusion can wait."""
    for _ in range(10):
        stream.send()
    stream.world.ms |= {"quality": 70.0, "fuse": 60.0}
    with monkeypatch.context() as loading:
        loading.setattr(Loader, "busy", True)
        busy = [stream.send()[1].plan for _ in range(30)]
    assert busy.count("quality") >= 24 and set(busy[-2:]) == {"quality"}
    stream.world.ms |= {"quality": 60.0, "fuse": 15.0}
    assert [stream.send()[1].plan for _ in range(200)][-1] == "quality + fuse"


def test_fusion_that_does_not_end_holds_nothing_up(stream: Stream) -> None:
    stream.send(CLEAN)
    stream.world.hangs.add("fuse")
    frames, result = stream.send(CLEAN)
    assert actions(result) == [Action.PASSED_CLEAN] * 2 and passed_on(result, frames) and result.fused is None
    assert result.fusion == "fusion has not ended in time"
    _, wet = stream.send()
    assert actions(wet) == [Action.PASSED_BUDGET] * 2, "the thread is still at it"
