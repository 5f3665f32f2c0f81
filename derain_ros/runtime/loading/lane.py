"""A thread that runs one network at a time, so that the caller can stop waiting at a deadline."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar, cast

ENDS_S = 2.0
"""How long the end of the program waits for running networks, which would abort it."""

T = TypeVar("T")


class Late(TimeoutError):
    """The work did not end in time. It continues, and its result is discarded."""


class Work(Generic[T]):
    """Work for a lane. A Future is slower because of its locks."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._result: T | None = None
        self._error: BaseException | None = None
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.done = False
        self.since_ns = time.monotonic_ns()

    def do(self) -> None:
        """Run it; called by the lane."""
        work, self._work = self._work, None
        assert work is not None
        try:
            self._result = work()
        except BaseException as error:
            self._error = error
        # No reference is kept: the work may hold images and, through the pipeline, networks.
        del work
        self.done = True
        self._ended.put(None)

    def result(self, timeout_ms: float | None) -> T:
        """What the work returns or raises; call it once. Late where the work has not ended after `timeout_ms`; None
        waits without a limit."""
        try:
            self._ended.get(timeout=None if timeout_ms is None else max(0.0, timeout_ms) / 1e3)
        except queue.Empty:
            if not self.done:  # else it ended at the last moment
                raise Late("") from None
        result, error, self._result, self._error = self._result, self._error, None, None
        try:
            if error is not None:
                raise error
            return cast(T, result)
        finally:
            del error


class Lane:
    """Runs work in a thread of its own. The thread ends with this object and does not delay the end of the program."""

    def __init__(self, name: str) -> None:
        self._waiting: queue.SimpleQueue[Work[object] | None] = queue.SimpleQueue()
        self._running: Work[object] | None = None
        threading.Thread(target=_run, args=(self._waiting,), name=f"derain {name}", daemon=True).start()
        weakref.finalize(self, self._waiting.put, None)
        _lanes.add(self)

    @property
    def busy_ms(self) -> float:
        """How long the lane's work has taken so far; 0 where it is free."""
        if self._running is None or self._running.done:
            return 0.0
        return (time.monotonic_ns() - self._running.since_ns) / 1e6

    def begin(self, work: Callable[[], T]) -> Work[T]:
        """Start `work`. Late where the lane is busy: work does not pile up."""
        if self.busy_ms:
            raise Late(f"the last run has not ended after {self.busy_ms:.0f} ms")
        begun = Work(work)
        self._running = cast("Work[object]", begun)
        self._waiting.put(self._running)
        return begun


_lanes: weakref.WeakSet[Lane] = weakref.WeakSet()


def _end() -> None:
    """Wait for networks that still run, for example after Ctrl-C."""
    until = time.monotonic() + ENDS_S
    while any(lane.busy_ms for lane in list(_lanes)) and time.monotonic() < until:
        time.sleep(0.01)


atexit.register(_end)


def _run(waiting: queue.SimpleQueue[Work[object] | None]) -> None:
    """Run work until None comes. The thread knows only the queue: a reference to its lane would keep that alive."""
    while (work := waiting.get()) is not None:
        work.do()
        del work
