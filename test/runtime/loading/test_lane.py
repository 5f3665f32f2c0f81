from __future__ import annotations

import gc
import queue
import threading
import time
import weakref
from functools import partial

import pytest

from derain_ros.runtime.loading import lane as lane_module
from derain_ros.runtime.loading.lane import Lane, Late


def test_it_gives_what_the_work_gives_in_a_thread_of_its_own() -> None:
    lane = Lane("test")
    assert lane.begin(lambda: threading.current_thread().name).result(20_000) == "derain test"
    assert lane.busy_ms == 0.0


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("the work's own"), queue.Empty()])
def test_what_the_work_raises_is_raised(error: Exception) -> None:
    def work() -> None:
        raise error

    lane = Lane("test")
    with pytest.raises(type(error)) as caught:
        lane.begin(work).result(20_000)
    assert caught.value is error and lane.begin(lambda: 5).result(20_000) == 5


def test_who_waits_gives_up_at_the_deadline_and_nothing_piles_up() -> None:
    lane, go = Lane("test"), threading.Event()
    done: list[int] = []

    def work() -> None:
        assert go.wait(20)
        done.append(1)

    with pytest.raises(Late):
        lane.begin(work).result(1)
    assert lane.busy_ms > 0
    with pytest.raises(Late, match="the last run has not ended after"):
        lane.begin(work).result(20_000)
    go.set()
    until = time.monotonic() + 20
    while lane.busy_ms and time.monotonic() < until:
        time.sleep(0.001)
    assert done == [1] and lane.begin(lambda: 7).result(20_000) == 7


def test_what_ends_at_the_last_moment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tardy(queue.SimpleQueue):  # type: ignore[type-arg]
        """Gets its item just after the wait for it has ended."""

        def get(self, block: bool = True, timeout: float | None = None) -> object:
            item = super().get(block, 20)
            if timeout is not None:
                raise queue.Empty
            return item

    lane = Lane("test")
    monkeypatch.setattr(lane_module.queue, "SimpleQueue", Tardy)
    assert lane.begin(lambda: 5).result(1) == 5


def test_the_thread_ends_with_the_lane() -> None:
    lane = Lane("short")
    lane.begin(lambda: None).result(20_000)
    [thread] = [t for t in threading.enumerate() if t.name == "derain short"]
    del lane
    gc.collect()
    thread.join(20)
    assert not thread.is_alive() and thread.daemon


def test_nothing_of_what_was_done_is_kept() -> None:
    class Thing:
        """Something that can be referred to weakly."""

    def fail(thing: Thing) -> None:
        raise ValueError(thing)

    lane, things = Lane("test"), [Thing(), Thing()]
    gone = [weakref.ref(thing) for thing in things]
    gc.disable()
    try:
        assert lane.begin(partial(id, things[0])).result(20_000) == id(things[0])
        with pytest.raises(ValueError):
            lane.begin(partial(fail, things[1])).result(20_000)
        things.clear()
        until = time.monotonic() + 20
        while any(ref() for ref in gone) and time.monotonic() < until:
            time.sleep(0.001)
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()
