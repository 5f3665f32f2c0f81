"""Processes that do the work, of which one may be killed."""

from __future__ import annotations

import multiprocessing
import operator
import os
import signal

import pytest

from derain_ros.fleet.workers import WorkerLost, Workers


def test_the_work_of_a_killed_worker_is_told_of_and_another_goes_on() -> None:
    with Workers(1) as workers:
        first = workers.submit(os.getpid).result()
        assert first != os.getpid() and workers.submit(os.getpid).result() == first
        with pytest.raises(WorkerLost, match="code -9"):
            workers.submit(os.kill, first, signal.SIGKILL).result()
        with pytest.raises(ZeroDivisionError):
            workers.submit(operator.truediv, 1, 0).result()
        second = workers.submit(os.getpid).result()
        assert second != first
    assert multiprocessing.active_children() == []
