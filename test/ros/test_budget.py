"""The real node under load: what is published is in time, and the stream goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from ros_bench import Bench, at_ms, pixels_of, wait_for

Start = Callable[..., Bench]
WET = np.random.default_rng(5).integers(160, 220, (24, 36), np.uint8)


class Heavy:
    """Makes restorers of a node take at least so many seconds as it is told to."""

    def __init__(self, bench: Bench) -> None:
        self.seconds = 0.0
        loader = bench.derain._worker._pipeline._loader
        engine_of = loader.engine
        loader.engine = lambda wanted: (engine := engine_of(wanted)) and HeavyEngine(engine, self)


class HeavyEngine:
    """An engine in its hands."""

    def __init__(self, engine: Any, heavy: Heavy) -> None:
        self._engine, self._heavy = engine, heavy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self._heavy.seconds)
        return self._engine.run(image=image)


@pytest.fixture
def load() -> Iterator[None]:
    """Another process that keeps every core busy."""
    code = "import time\nuntil = time.monotonic() + 60\nwhile time.monotonic() < until: pass"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)]
    yield
    for process in processes:
        process.kill()
        process.wait()


def test_under_load_results_are_in_time_and_no_frame_is_late_because_of_another(start: Start, load: None) -> None:
    budget_ms, period_s, sets = 400.0, 0.05, 60
    bench = start(budget_ms=budget_ms).ready()
    bench.send_pair(0, WET, WET)
    bench.wait_status(0)
    heavy = Heavy(bench)
    came: dict[float, float] = {}
    sent: dict[float, float] = {}
    for n in range(1, sets + 1):
        # Load comes and goes: nothing, far too much, a little.
        heavy.seconds = (0.0, 1.5, 0.01)[3 * (n - 1) // sets]
        sent[float(n)] = time.monotonic()
        bench.send_pair(float(n), WET, WET)
        time.sleep(max(0.0, sent[float(n)] + period_s - time.monotonic()))
        for image in bench.restored("left"):
            came.setdefault(at_ms(image), time.monotonic())
    wait_for(
        lambda: bench.counts("left")["received"] == bench.counts("left")["published"] + bench.counts("left")["dropped"],
        "all to be accounted for",
    )
    statuses = [{v.key: v.value for v in message.status[0].values} for message in bench.got["/derain/status"]]
    overran = [s for s in statuses if s["action"] == "passed_budget"]
    assert any("restoring has not ended after" in s["detail"] for s in overran), statuses
    # While the slow one runs, nothing waits for it; nor is another one begun at once.
    assert any(
        "the last run has not ended after" in s["detail"] or "periods of the camera" in s["detail"] for s in overran
    )
    assert sum(s["action"] == "restored" for s in statuses) >= 5
    # The node's own account of time: from arrival to publication, with room for the machine's other load.
    late = [s for s in statuses if float(s["total_ms"]) > 1.25 * budget_ms]
    assert not late, late
    stamps = [at_ms(image) for image in bench.restored("left")]
    assert stamps == sorted(set(stamps)) and len(stamps) >= sets // 2


def test_a_late_result_is_never_published(start: Start) -> None:
    bench = start(budget_ms=150.0).ready()
    bench.send_pair(0, WET, WET)
    bench.wait_status(0)
    heavy = Heavy(bench)
    heavy.seconds = 0.6
    bench.send_pair(50, WET, WET)
    bench.wait_status(50)
    assert np.array_equal(pixels_of(bench.wait_images("left", 2)[1]), WET)
    heavy.seconds = 0.0
    wait_for(lambda: not bench.derain._worker._pipeline._lane.busy_ms, "the late result")
    bench.send_pair(100, WET, WET)
    bench.wait_status(100)
    assert [at_ms(image) for image in bench.wait_images("left", 3)] == [0, 50, 100]
    assert bench.counts("left")["passed_budget"] >= 1


def test_a_set_that_is_late_is_dropped_where_a_newer_one_waits(start: Start) -> None:
    bench = start(budget_ms=100.0, budget_from="stamp", use_sim_time=False).ready()
    worker = bench.derain._worker
    now_ms = time.time() * 1e3
    process, go, started = worker._pipeline.process, threading.Event(), threading.Event()

    def slow(frames: Any) -> Any:
        started.set()
        assert go.wait(20)
        return process(frames)

    worker._pipeline.process = slow
    bench.send_pair(now_ms, WET, WET)
    assert started.wait(20)
    worker._mailbox._changed.acquire()
    try:
        # Both are there before the worker looks; stamps of an hour ago are late.
        jobs = worker._mailbox._jobs
        for age in (3600e3, 0.0):
            jobs.append(job_of(bench, now_ms - age))
    finally:
        worker._mailbox._changed.release()
    go.set()
    wait_for(lambda: bench.counts("left")["dropped"] == 1, "the late one to be dropped")


def job_of(bench: Bench, ms: float) -> Any:
    """A job of a pair of that stamp."""
    from rclpy.serialization import serialize_message
    from ros_bench import image_message

    jobs: list[Any] = []
    put, bench.derain._intake._put = bench.derain._intake._put, jobs.append
    bench.derain._intake.synchronizer.clear()
    for camera in bench.cameras:
        bench.derain._intake.take(camera, serialize_message(image_message(WET, ms=ms)), 0)
    bench.derain._intake._put = put
    return jobs[-1]
