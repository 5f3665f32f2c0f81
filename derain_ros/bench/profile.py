"""What the node itself costs beside the networks: `python -m derain_ros.bench.profile` prints its CPU by stage.

The node runs as on a robot, in this process; a camera and a receiver of all its topics are processes of their own. Only
the networks are replaced, by ones that return at once, so that all that is measured is taking, converting, pairing,
choosing, checking and publishing of both eyes, their masks and their status, over DDS.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from derain_ros.bench import BenchError
from derain_ros.bench.camera import CAMERAS, CameraProcess
from derain_ros.bench.frames import lenses
from derain_ros.engine.auto import Choice
from derain_ros.manifest import Model
from derain_ros.rain.drops import LensDrops
from derain_ros.replay.child import BOOTSTRAP, join_own_domain, transport_environment

WARM_PAIRS = 40
"""Restored pairs before anything is counted."""
READY_S = 60.0
"""How long these are waited for."""
CELL = 4
"""Pixels of a detector's view along each side of a cell of its mask."""
COVERED = 0.3
"""Share of a drop's opacity from which on a cell counts as covered."""
RECEIVER = f"import sys; from derain_ros.replay.link import Link\nwith Link({list(CAMERAS)}, {{}}): sys.stdin.read()"
LANES = ("derain networks",)
TAKING = ("MainThread", "derain receiver")


class Idle:
    """A network that does nothing: what is left is what is around it. See `derain_ros.engine.Engine`.

    A detector finds what is on the `lenses` of left and right.
    """

    name, device, precision, streams = "idle", "cpu", "none", 1

    def __init__(self, model: Model, lenses: Sequence[LensDrops]) -> None:
        self.model, self._lenses = model, lenses
        self._outputs: dict[str, np.ndarray] = {}

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """There is nothing to prepare."""

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`; the same arrays every time."""
        image = images["image"]
        if not self._outputs and self.model.size is not None:
            probabilities = np.zeros((len(image), len(self.model.classes)), np.float32)
            probabilities[:, 1] = 1
            self._outputs = {"probabilities": probabilities, "mask": _cells(self._lenses, *self.model.size)}
        elif not self._outputs:
            self._outputs = {"restored": image.copy(), "mask": np.zeros(image.shape[:3], np.uint8)}
        return self._outputs


class Stopwatch:
    """CPU time of all threads of this process since `start`, and of what is timed within them."""

    def start(self) -> None:
        """Begin anew."""
        self.timed: Counter[str] = Counter()
        self._threads, self._process, self._faults = _threads(), time.process_time(), _faults()

    def timing(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, whose CPU time in its own thread is added under `name`."""

        def timed(*given: Any) -> Any:
            begun = time.thread_time()
            try:
                return work(*given)
            finally:
                self.timed[name] += time.thread_time() - begun  # type: ignore[assignment]

        return timed

    def stages(self) -> dict[str, float]:
        """Milliseconds of CPU by stage, `all` first, and the `pages` that the process had to be given."""
        threads = {name: spent - self._threads.get(name, 0.0) for name, spent in _threads().items()}
        found = {
            "all": time.process_time() - self._process,
            "take": sum(threads.get(name, 0.0) for name in TAKING) - self.timed["convert, pair"],
            "convert, pair": self.timed["convert, pair"],
            "pipeline": self.timed["pipeline"] + sum(threads.get(lane, 0.0) for lane in LANES),
            "publish": self.timed["publish"],
        }
        found["middleware"] = 2 * found["all"] - sum(found.values())
        return {stage: spent * 1e3 for stage, spent in found.items()} | {"pages": _faults() - self._faults}


def overhead(height: int, width: int, rate: float, seconds: float) -> dict[str, float]:
    """What the node spends on each pair of `height` x `width` mono8, sent `rate` times a second for `seconds`.

    Milliseconds of CPU by stage, `all` of them first; `pages` are those that it had to be given. BenchError where it
    does not restore what it is sent.
    """
    os.environ.update(transport_environment())  # read when this process joins DDS
    join_own_domain()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter

    from derain_ros.ros.node import DerainNode
    from derain_ros.ros.process import tune_process

    tune_process()
    with _idle_networks(lenses(height, width)), _receiver():
        rclpy.init()
        overrides = [
            Parameter("gating", value=False),
            Parameter("temporal", value=False),
            Parameter("budget_ms", value=10000.0),
        ]
        node, executor = DerainNode(parameter_overrides=overrides), SingleThreadedExecutor()
        executor.add_node(node)
        try:
            with CameraProcess(rate, height, width) as camera:
                stages, pairs = _spend(node, executor, seconds)
                camera.end()
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown()
    return {stage: spent / pairs for stage, spent in stages.items()}


def _spend(node: Any, executor: Any, seconds: float) -> tuple[dict[str, float], int]:
    """Spin the node for so long; what it spent, in all, as `Stopwatch.stages` says, and how many pairs it restored."""
    from derain_ros.ros.node import SPIN_S

    watch, worker = Stopwatch(), node._worker
    node._intake.take = watch.timing("convert, pair", node._intake.take)
    worker._publish = watch.timing("publish", worker._publish)
    worker._pipeline.process = watch.timing("pipeline", worker._pipeline.process)
    watch.start()

    def restored() -> int:
        return int(node.statistics.counts(CAMERAS[0])["restored"])

    def spin(ends: float, pairs: int = sys.maxsize) -> None:
        while time.monotonic() < ends and restored() < pairs:
            executor.spin_once(timeout_sec=SPIN_S)

    spin(time.monotonic() + READY_S, WARM_PAIRS)
    if restored() < WARM_PAIRS:
        raise BenchError(f"the node restored {restored()} pairs within {READY_S:g} s; its models: {node.engine}")
    watch.start()
    before = restored()
    spin(time.monotonic() + seconds)
    return watch.stages(), restored() - before


def _cells(lenses: Sequence[LensDrops], height: int, width: int) -> np.ndarray:
    """Masks (eyes, rows, columns) float32 of a detector that sees views of this size: 1 where there are drops."""
    size = -(-width // CELL), -(-height // CELL)
    alphas = [lens.apply(np.zeros((lens.height, lens.width), np.uint8))[1] for lens in lenses]
    return np.stack([cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) > COVERED for alpha in alphas]).astype(
        np.float32
    )


def _threads() -> dict[str, float]:
    """CPU seconds of the threads of Python, by name."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
    }


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@contextmanager
def _idle_networks(lenses: Sequence[LensDrops]) -> Iterator[None]:
    """The pipeline gets networks that do nothing."""
    from derain_ros.runtime.judge import judge
    from derain_ros.runtime.loading import loader

    before = judge.load_detector, loader.load, loader.choose
    judge.load_detector = lambda model, *rest: Idle(model, lenses)
    loader.load = lambda model, *rest: Idle(model, ())
    loader.choose = lambda models, *rest, **named: Choice(Idle(models[-1], ()), "idle")
    try:
        yield
    finally:
        judge.load_detector, loader.load, loader.choose = before


@contextmanager
def _receiver() -> Iterator[None]:
    """A process that listens to all that the node publishes."""
    environment = {key: value for key, value in os.environ.items() if key != BOOTSTRAP}
    process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdin=subprocess.PIPE, env=environment)
    try:
        yield
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="CPU of the node beside the networks, by stage.")
    parser.add_argument("--size", default="720x540", help="width x height of each eye")
    parser.add_argument("--rate", type=float, default=20.0, help="pairs a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    found = overhead(height, width, arguments.rate, arguments.seconds)
    pages = found.pop("pages")
    for stage, ms in found.items():
        print(f"{stage:14} {ms:6.3f} ms of CPU a pair")
    print(f"{'pages':14} {pages:6.1f} a pair")


if __name__ == "__main__":
    import rclpy  # noqa: F401  the wheels of ROS 2 start this process anew, so before any work

    main()
