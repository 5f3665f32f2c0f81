"""A thread that runs one network at a time, so that whoever waits for it can give up at a deadline."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from typing import TypeVar

ENDS_S = 2.0
"""How long the end of the program waits for networks at work, which would abort it."""

T = TypeVar("T")
Job = tuple[Callable[[], object], "Future[object]"]


class Late(TimeoutError):
    """The work did not end in time: it goes on, and what it gives is thrown away."""


class Lane:
    """Runs what it is given in a thread of its own, which ends with this object and holds up no program's end."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running: Future[object] | None = None
        self._since_ns = 0
        threading.Thread(target=_work, args=(self._jobs,), name=f"derain {name}", daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)
        _lanes.add(self)

    @property
    def busy_ms(self) -> float:
        """For how long the lane has been at work that nobody waits for any more; 0 where it is free."""
        if self._running is None or self._running.done():
            return 0.0
        return (time.monotonic_ns() - self._since_ns) / 1e6

    def run(self, work: Callable[[], T], timeout_ms: float) -> T:
        """What `work` gives, or raises; Late where it has not ended after `timeout_ms`, or an earlier one has not.

        Nothing piles up: work that comes while the lane is busy is not begun.
        """
        if self.busy_ms:
            raise Late(f"the last run has not ended after {self.busy_ms:.0f} ms")
        future: Future[T] = Future()
        self._running, self._since_ns = future, time.monotonic_ns()  # type: ignore[assignment]
        self._jobs.put((work, future))  # type: ignore[arg-type]
        try:
            return future.result(max(0.0, timeout_ms) / 1e3)
        except NotDone as error:
            if future.done():
                return future.result()  # It ended at the last moment, or the error is the work's own.
            raise Late("") from error


_lanes: weakref.WeakSet[Lane] = weakref.WeakSet()


def _end() -> None:
    """Wait for networks that are still at work, as after Ctrl-C."""
    until = time.monotonic() + ENDS_S
    while any(lane.busy_ms for lane in list(_lanes)) and time.monotonic() < until:
        time.sleep(0.01)


atexit.register(_end)


def _work(jobs: queue.SimpleQueue[Job | None]) -> None:
    """Run jobs until None comes. It knows only the queue: a thread that knew its lane would keep it alive."""
    while (job := jobs.get()) is not None:
        work, future = job
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        del job, work, future
