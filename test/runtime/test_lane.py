from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone

import pytest

from derain_ros.runtime import lane as lane_module
from derain_ros.runtime.lane import Lane, Late


def test_it_gives_what_the_work_gives_in_a_thread_of_its_own() -> None:
    lane = Lane("test")
    assert lane.run(lambda: threading.current_thread().name, 20_000) == "derain test"
    assert lane.busy_ms == 0.0


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("the work's own")])
def test_what_the_work_raises_is_raised(error: Exception) -> None:
    def work() -> None:
        raise error
    lane = Lane("test")
    with pytest.raises(type(error)) as caught:
        lane.run(work, 20_000)
    assert caught.value is error and lane.run(lambda: 5, 20_000) == 5


def test_who_waits_gives_up_at_the_deadline_and_nothing_piles_up() -> None:
    lane, go = Lane("test"), threading.Event()
    done: list[int] = []

    def work() -> None:
        assert go.wait(20)
        done.append(1)

    with pytest.raises(Late):
        lane.run(work, 1)
    assert lane.busy_ms > 0
    with pytest.raises(Late, match="the last run has not ended after"):
        lane.run(work, 20_000)
    go.set()
    until = time.monotonic() + 20
    while lane.busy_ms and time.monotonic() < until:
        time.sleep(0.001)
    assert done == [1] and lane.run(lambda: 7, 20_000) == 7


def test_what_ends_at_the_last_moment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tardy(Future):  # type: ignore[type-arg]
        """Is done just after the wait for it has ended."""

        def result(self, timeout: float | None = None) -> object:
            done = super().result(20)
            if timeout is not None:
                raise NotDone
            return done

    monkeypatch.setattr(lane_module, "Future", Tardy)
    assert Lane("test").run(lambda: 5, 1) == 5


def test_the_thread_ends_with_the_lane() -> None:
    lane = Lane("short")
    lane.run(lambda: None, 20_000)
    [thread] = [t for t in threading.enumerate() if t.name == "derain short"]
    del lane
    gc.collect()
    thread.join(20)
    assert not thread.is_alive() and thread.daemon
