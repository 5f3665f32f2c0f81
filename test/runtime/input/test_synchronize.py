from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from derain_ros.frame import Frame, FrameSet
from derain_ros.runtime.input.synchronize import DEPTH, STEPS, Synchronizer

MS = 1_000_000
IMAGE = np.zeros((1, 1), np.uint8)


class Counted(Synchronizer):
    """Counts what is given up."""

    def __init__(
        self,
        cameras: list[str],
        pair_ns: int,
        thermal_ns: int,
        given_up: Callable[[str, Frame], None] = lambda name, frame: None,
    ) -> None:
        self.dropped = 0

        def count(name: str, frame: Frame) -> None:
            self.dropped += 1
            given_up(name, frame)

        super().__init__(cameras, pair_ns, thermal_ns, count)


def frame(at_ms: float) -> Frame:
    return Frame(IMAGE, stamp_ns=round(at_ms * MS))


@pytest.fixture
def stereo() -> Counted:
    return Counted(["left", "right"], 5 * MS, 100 * MS)


def stamps(frames: FrameSet | None) -> dict[str, float] | None:
    return None if frames is None else {name: f.stamp_ns / MS for name, f in frames.frames.items()}


def test_a_pair_comes_out_in_the_order_of_the_cameras_with_its_time_of_arrival(stereo: Counted) -> None:
    before = time.monotonic_ns()
    left, right = frame(100), frame(103)
    assert stereo.add("right", right) is None
    frames = stereo.add("left", left)
    assert frames is not None and list(frames.frames.values()) == [left, right]
    assert list(frames.frames) == ["left", "right"] and frames.thermal is None
    assert before <= frames.received_ns <= time.monotonic_ns()
    assert stereo.dropped == 0


def test_the_tolerance_is_inclusive(stereo: Counted) -> None:
    stereo.add("left", frame(100))
    assert stereo.add("right", frame(105)) is not None
    stereo.add("left", frame(200))
    assert stereo.add("right", frame(205.000001)) is None


def test_one_camera_alone_needs_no_counterpart() -> None:
    mono = Counted(["front"], 0, 0)
    assert [stamps(mono.add("front", frame(t))) for t in (1, 2, 2)] == [{"front": 1}, {"front": 2}, {"front": 2}]
    assert mono.dropped == 0


def test_the_nearest_is_taken_and_what_is_older_is_dropped(stereo: Counted) -> None:
    for at in (0, 50, 97, 101):
        assert stereo.add("left", frame(at)) is None
    assert stamps(stereo.add("right", frame(100))) == {"left": 101, "right": 100}
    assert stereo.dropped == 3
    # Nothing of what was dropped can come back.
    assert stereo.add("right", frame(100.5)) is None


def test_newer_frames_stay_for_the_next_pair(stereo: Counted) -> None:
    for at in (0, 50, 100):
        stereo.add("left", frame(at))
    assert [stamps(stereo.add("right", frame(at))) for at in (0, 50, 100)] == [
        {"left": at, "right": at} for at in (0, 50, 100)
    ]
    assert stereo.dropped == 0


def test_a_lost_frame_costs_only_its_pair(stereo: Counted) -> None:
    pairs = []
    for at in range(0, 500, 50):
        pairs.append(stereo.add("left", frame(at)))
        if at != 200:
            pairs.append(stereo.add("right", frame(at + 1)))
    assert [s["left"] for s in map(stamps, pairs) if s] == [at for at in range(0, 500, 50) if at != 200]
    assert stereo.dropped == 1


def test_a_silent_camera_is_waited_for_only_so_long() -> None:
    given_up: list[tuple[str, float]] = []
    stereo = Counted(["left", "right"], 5 * MS, 0, lambda name, f: given_up.append((name, f.stamp_ns / MS)))
    for at in range(0, DEPTH * 50, 50):
        stereo.add("left", frame(at))
    assert given_up == []
    for at in range(DEPTH * 50, 50 * 1000, 50):
        stereo.add("left", frame(at))
        assert given_up[-1] == ("left", at)
    assert given_up == [("left", at) for at in range(0, 50 * 1000, 50)] and stereo.dropped == 1000
    # Once it sends again, pairs come out again.
    assert stereo.add("right", frame(50 * 999.5)) is None
    assert stereo.add("left", frame(50 * 1000)) is None
    assert stamps(stereo.add("right", frame(50 * 1000))) == {"left": 50_000, "right": 50_000}


def test_cameras_that_never_meet_do_not_fill_the_memory(stereo: Counted) -> None:
    for at in range(1000):
        stereo.add("left", frame(at * 50))
        stereo.add("right", frame(at * 50 + 20))
    assert 2000 - 2 * DEPTH <= stereo.dropped <= 2000
    assert sum(len(queue) for queue in stereo._waiting.values()) + stereo.dropped == 2000


def test_a_camera_whose_clock_lags_does_not_fill_the_memory(stereo: Counted) -> None:
    for at in range(1000):
        stereo.add("left", frame(at * 50 + 1000))
        stereo.add("right", frame(at * 50))
    assert stereo.dropped == 2000 - DEPTH


def test_a_slow_camera_may_lag_by_as_many_frames_as_wait(stereo: Counted) -> None:
    for at in range(DEPTH):
        stereo.add("left", frame(at * 50))
    assert [stamps(stereo.add("right", frame(at * 50))) for at in range(DEPTH)] == [
        {"left": at * 50, "right": at * 50} for at in range(DEPTH)
    ]


def test_a_frame_is_given_up_as_soon_as_no_counterpart_can_come() -> None:
    given_up: list[tuple[str, float]] = []
    stereo = Counted(["left", "right"], 5 * MS, 0, lambda name, f: given_up.append((name, f.stamp_ns / MS)))
    stereo.add("left", frame(100))
    stereo.add("right", frame(105.5))
    assert given_up == [("left", 100)]
    stereo.add("left", frame(110))
    assert given_up == [("left", 100)] and stereo.dropped == 1


def test_every_frame_comes_out_or_is_given_up() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        given_up: list[Frame] = []
        cameras = ["a", "b", "c"][: rng.integers(1, 4)]
        synchronizer = Counted(cameras, 5 * MS, 0, lambda name, f, into=given_up: into.append(f))
        sent, paired = 0, 0
        for at in range(0, 2000, 50):
            for camera in rng.permutation(cameras):
                if rng.random() < 0.8:
                    sent += 1
                    frames = synchronizer.add(camera, frame(at + rng.uniform(-4, 4)))
                    paired += len(frames.frames) if frames else 0
        synchronizer.clear()
        assert paired + len(given_up) == sent and len(given_up) == synchronizer.dropped


def test_three_cameras_must_all_be_within_the_tolerance() -> None:
    three = Counted(["a", "b", "c"], 5 * MS, 0)
    three.add("a", frame(0))
    three.add("b", frame(8))
    assert three.add("c", frame(4)) is None
    assert three.dropped == 1
    assert stamps(three.add("a", frame(6))) == {"a": 6, "b": 8, "c": 4}
    assert three.dropped == 1


def test_with_three_cameras_a_partner_that_has_come_is_not_given_up() -> None:
    three = Counted(["a", "b", "c"], 5 * MS, 0)
    for camera, at in (("a", 0), ("b", 0), ("b", 50), ("a", 50)):
        assert three.add(camera, frame(at)) is None
    assert [stamps(three.add("c", frame(at))) for at in (0, 50)] == [{"a": t, "b": t, "c": t} for t in (0, 50)]
    assert three.dropped == 0


def test_a_jump_back_clears_what_waits(stereo: Counted) -> None:
    for at in (10_000, 10_050):
        stereo.add("left", frame(at))
    assert stereo.add("left", frame(0)) is None
    assert stereo.dropped == 2
    assert stamps(stereo.add("right", frame(0))) == {"left": 0, "right": 0}
    # The loop goes on as the first time.
    stereo.add("left", frame(50))
    assert stamps(stereo.add("right", frame(50))) == {"left": 50, "right": 50}


def test_a_jump_back_of_both_cameras_is_one_jump(stereo: Counted) -> None:
    for camera in ("left", "right", "left", "right"):
        frames = stereo.add(camera, frame(10_000))
    assert frames is not None
    stereo.add("left", frame(0))
    assert stamps(stereo.add("right", frame(0))) == {"left": 0, "right": 0}
    assert stereo.dropped == 0


def test_after_a_jump_back_old_frames_never_pair_with_new_ones(stereo: Counted) -> None:
    stereo.add("left", frame(100))
    stereo.add("right", frame(100))
    stereo.add("left", frame(150))
    stereo.add("left", frame(0))
    assert stereo.add("right", frame(150)) is None


def test_thermal_is_attached_where_it_is_near_and_never_waited_for(stereo: Counted) -> None:
    def pair(at: float) -> Frame | None:
        stereo.add("left", frame(at))
        frames = stereo.add("right", frame(at))
        assert frames is not None
        return frames.thermal

    assert pair(0) is None
    early, late = frame(10), frame(90)
    stereo.add_thermal(early)
    stereo.add_thermal(late)
    assert pair(40) is early and pair(60) is late
    assert pair(190) is late and pair(190.1) is None
    for at in range(200, 5000, 10):
        stereo.add_thermal(frame(at))
    assert pair(250) is None


def test_thermal_that_jumps_back_starts_anew(stereo: Counted) -> None:
    stereo.add_thermal(frame(5000))
    again = frame(10)
    stereo.add_thermal(again)
    stereo.add("left", frame(0))
    frames = stereo.add("right", frame(0))
    assert frames is not None and frames.thermal is again
    stereo.add("left", frame(5000))
    frames = stereo.add("right", frame(5000))
    assert frames is not None and frames.thermal is None


def test_an_unknown_camera_is_told(stereo: Counted) -> None:
    with pytest.raises(ValueError, match="top: no such camera; there are left, right"):
        stereo.add("top", frame(0))


@pytest.mark.parametrize("first", ["left", "right"])
def test_a_slow_camera_is_waited_for_as_long_as_it_is_slow(first: str) -> None:
    stereo = Counted(["left", "right"], 5 * MS, 0)
    pairs = 0
    for n in range(600):  # 60 Hz beside 10 Hz
        due = ["left", "right"] if n % 6 == 0 else ["left"]
        for camera in sorted(due, reverse=first == "right"):
            pairs += stereo.add(camera, frame(n * 1000 / 60)) is not None
    assert pairs >= 99, "how slow it is, is known from its second frame on"


def test_a_slow_camera_that_falls_silent_is_not_waited_for(stereo: Counted) -> None:
    for at in (0, 100):
        stereo.add("right", frame(at))
    assert stereo.add("left", frame(100)) is not None
    waited = []
    for at in range(110, 400, 10):
        stereo.add("left", frame(at))
        waited.append(len(stereo._waiting["left"]))
    assert max(waited[:10]) == DEPTH and waited[-1] == 0


def arrived(stamp_ms: float, at_ms: float) -> Frame:
    return Frame(IMAGE, stamp_ns=round(stamp_ms * MS), received_ns=round(at_ms * MS))


@pytest.mark.parametrize("stamp", [lambda n: 0.0, lambda n: 77.0, lambda n: n / 1e6], ids=["zero", "alike", "counted"])
@pytest.mark.parametrize("lost", ["left", "right"])
def test_stamps_that_stand_still_leave_it_to_the_arrivals(
    stereo: Counted, stamp: Callable[[int], float], lost: str
) -> None:
    """A lost frame would otherwise shift all pairs after it by one."""
    apart = []
    for number in range(20):
        for camera, delay in (("left", 0.0), ("right", 12.0)):
            if (number, camera) != (6, lost):
                frames = stereo.add(camera, arrived(stamp(number), 1000 + 50 * number + delay))
                if frames is not None:
                    times = [f.received_ns / MS for f in frames.frames.values()]
                    apart.append(max(times) - min(times))
    assert len(apart) == 19 and max(apart) == 12 and stereo.dropped == 1


GOOD = [1e6 + 50.0 * n for n in range(100)]


@pytest.mark.parametrize(
    "stamps_ms",
    [
        [5.0] * 100,
        [GOOD[n // 3 * 3] for n in range(100)],
        [GOOD[n // 2 * 2] for n in range(100)],
        GOOD[::-1],
        [float(n % 2) for n in range(100)],
        [GOOD[n % 5] for n in range(100)],
        [n % 2 * GOOD[n] for n in range(100)],
        [float(GOOD[n] // 1000 * 1000) for n in range(100)],
        [0.2 * n for n in range(100)],
    ],
    ids=["still", "thrice", "twice", "backwards", "two values", "sawtooth", "zero at times", "seconds", "slow"],
)
def test_one_camera_whose_stamps_tell_nothing_is_paired_by_arrival(stereo: Counted, stamps_ms: list[float]) -> None:
    pairs = []
    for number, stamp in enumerate(stamps_ms):
        stereo.add("left", arrived(GOOD[number], 1000 + 50 * number))
        frames = stereo.add("right", arrived(stamp, 1003 + 50 * number))
        if frames is not None:
            pairs.append([f.received_ns // (50 * MS) for f in frames.frames.values()])
    assert len(pairs) >= 94 and all(left == right for left, right in pairs)


def test_stamps_that_advance_again_are_believed_again(stereo: Counted) -> None:
    for number in range(10):
        stereo.add("left", arrived(5.0, 1000 + 50 * number))
        stereo.add("right", arrived(GOOD[number], 1003 + 50 * number))
    for number in range(10, 12 + STEPS):
        for camera in ("left", "right"):
            stereo.add(camera, arrived(GOOD[number], 1000 + 50 * number))
    for number in range(12 + STEPS, 30 + STEPS):
        stereo.add("left", arrived(GOOD[number], 1000 + 50 * number))
        frames = stereo.add("right", arrived(GOOD[number], 1049 + 50 * number))
        assert stamps(frames) == {"left": GOOD[number], "right": GOOD[number]}


def test_stamps_that_come_twice_are_stamps(stereo: Counted) -> None:
    for number in range(20):
        at_ms = 100.0 * (number // 2)
        stereo.add("left", arrived(at_ms, 1000 + 50 * number))
        assert stamps(stereo.add("right", arrived(at_ms, 1049 + 50 * number))) == {"left": at_ms, "right": at_ms}


def test_a_thermal_camera_that_stands_still_is_attached_by_arrival() -> None:
    stereo = Counted(["left"], 5 * MS, 100 * MS)
    for number in range(10):
        thermal = arrived(3.0, 1000 + 100 * number)
        stereo.add_thermal(thermal)
        frames = stereo.add("left", arrived(1e6 + 100 * number, 1020 + 100 * number))
        assert frames is not None and (frames.thermal is thermal) is (number >= 2)
    late = stereo.add("left", arrived(1e6 + 2000, 1020 + 2000))
    assert late is not None and late.thermal is None
