from __future__ import annotations

import time

import numpy as np
import pytest
from fake_networks import Clock, pair, passed_on

from derain_ros.frame import Action, Anomaly, Frame, FrameSet
from derain_ros.runtime.judge.decision import Decision
from derain_ros.runtime.run import Run
from derain_ros.runtime.stages import RECONSTRUCTED, Images

RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("cells", "size", "edges"),
    [
        ((68, 90), (540, 720), (8 * 67, 8 * 89)),
        ((68, 90), (1080, 1440), (16 * 67, 16 * 89)),
        ((4, 6), (8, 12), (6, 10)),
        ((34, 46), (540, 720), (540 * 33 / 34, 720 * 45 / 46)),
        ((68, 90), (375, 1242), (375 * 67 / 68, 1242 * 89 / 90)),
    ],
    ids=["half a row outside", "twice as large", "whole rows", "no square cells", "another shape"],
)
def test_the_detectors_cells_are_where_it_saw_them(
    cells: tuple[int, int], size: tuple[int, int], edges: tuple[float, float]
) -> None:
    mask = np.zeros(cells, np.uint8)
    mask[-1, -1] = 255
    run = Run(FrameSet({"eye": Frame(np.zeros(size, np.uint8))}), Decision(), time.monotonic_ns)
    run.anomalies = {"eye": Anomaly("raindrop", 1.0, 0.1, mask)}
    found = run.passed(Action.PASSED_BUDGET).cameras["eye"].mask
    assert found.shape == size and found.flags.c_contiguous
    top, left = (int(where.min()) for where in np.nonzero(found))
    assert (top, left) == pytest.approx(edges, abs=1) and found[top:, left:].all()


def restored_run(image: np.ndarray, probability: np.ndarray, encoding: str = "mono8") -> tuple[Run, Images]:
    """A run whose one frame was restored to an inverted image, with a mask of these probabilities in 255th."""
    run = Run(FrameSet({"eye": Frame(image, encoding, 5, "optical")}), Decision(), Clock())
    run.anomalies = {"eye": Anomaly("dirt", 0.9, 0.5, np.full((2, 2), 255, np.uint8))}
    images = Images(["eye"], list(run.frames.values()))
    images.restored, images.masks, images.models = [255 - images.seen[0]], [probability], ["first", "second"]
    return run, images


@pytest.mark.parametrize("encoding", ["mono8", "rgb8", "bgr8"])
@pytest.mark.parametrize("fill", ["restored", "smooth"])
def test_what_is_published_is_as_it_came_and_coverage_is_that_of_the_mask(encoding: str, fill: str) -> None:
    image = RNG.integers(0, 256, (120, 160, 3) if encoding != "mono8" else (120, 160), np.uint8)
    probability = np.zeros((120, 160), np.uint8)
    probability[:30, :40], probability[30:] = 255, RECONSTRUCTED
    run, images = restored_run(image, probability, encoding)
    result = run.restored(images, "light", fill, "without temporal: broken")
    done = result.cameras["eye"]
    assert (result.plan, result.models, result.detail) == ("light", "first, second", "without temporal: broken")
    assert done.action is Action.RESTORED and (done.frame.encoding, done.frame.frame_id) == (encoding, "optical")
    assert done.mask.shape == (120, 160) and done.mask[:30, :40].all() and np.count_nonzero(done.mask) == 30 * 40
    assert done.anomaly is not None and done.anomaly.coverage == 30 * 40 / (120 * 160) and done.anomaly.kind == "dirt"
    changed = (done.frame.image != 255 - image).reshape(120, 160, -1).any(2)
    # Only under the mask and in its close surroundings.
    assert not changed[40:].any() and not changed[:, 50:].any()
    assert changed[:28, :38].mean() > 0.9 if fill == "smooth" else not changed.any()


def test_what_was_passed_on_is_the_frame_itself_with_the_detectors_mask_if_any() -> None:
    frames = pair()
    run = Run(frames, Decision(), Clock())
    run.anomalies = {
        name: Anomaly(kind, 0.9, 1.0, np.full((3, 4), 255, np.uint8))
        for name, kind in (("left", "dirt"), ("right", "clean"))
    }
    result = run.passed(Action.PASSED_BUDGET, "why")
    assert passed_on(result, frames) and (result.plan, result.models, result.detail) == ("passthrough", "", "why")
    assert result.cameras["left"].mask.all() and not result.cameras["right"].mask.any()


def test_stages_are_timed_and_what_is_excluded_counts_nowhere() -> None:
    clock = Clock()
    run = Run(pair(received_ns=clock() - 20_000_000), Decision(), clock)
    with run.stage("detect"):
        clock.wait(3)
    assert run.age_ms == 23
    with run.excluded():
        clock.wait(5000)
    with pytest.raises(ValueError), run.stage("light"):
        clock.wait(10)
        raise ValueError
    assert run.age_ms == 33
    assert run.passed(Action.PASSED_ERROR).stage_ms == {"detect": 3, "light": 10, "total": 13}


def test_without_a_time_of_arrival_frames_came_just_now() -> None:
    clock = Clock()
    run = Run(pair(), Decision(), clock)
    clock.wait(7)
    assert run.age_ms == 7


def test_a_result_is_not_changed_by_what_comes_after_it() -> None:
    """A run that was late goes on, and so does its account of time."""
    clock = Clock()
    run = Run(pair(), Decision(), clock)
    clock.wait(400)
    result = run.passed(Action.PASSED_BUDGET)
    told = dict(result.stage_ms)
    with run.stage("light"):
        clock.wait(300)
    run.passed(Action.PASSED_ERROR)
    assert result.stage_ms == told
