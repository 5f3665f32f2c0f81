"""Measures the node end to end over DDS at several rates; camera, node and receiver are separate processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.bench import BenchError
from derain_ros.bench.camera import CAMERAS, CameraProcess
from derain_ros.config import Config
from derain_ros.engine import Tell
from derain_ros.frame import Action
from derain_ros.replay.child import NodeProcess, join_own_domain, transport_environment

READY_S = 300.0
"""Longest wait until the node restores: engines may have to be built and measured first."""
WARM_PAIRS = 20
"""Pairs that the node must have restored before anything is counted."""
LAST_S = 2.0
"""How long to wait for the last results."""
KEEPS_RATE = 0.98
"""Least share of the wanted rate that the camera must reach; below it the camera itself is too slow."""


@dataclass(frozen=True)
class RateResult:
    """What became of the pairs sent at one rate: `came` back complete, `restored` of these in both eyes.

    `sent_rate` is the rate in Hz that the camera reached. `plans` has the number of pairs restored by each plan.
    `latency_ms` of a pair is from before it was sent until its second eye was received. `restore_ms` is the time of the
    networks as the node reports it. `longest_gap_ms` is from one pair that came to the next. `in_budget` pairs came
    within the budget. The node's budget counts from arrival; here the time of camera and receiver counts too.
    """

    rate: float
    seconds: float
    sent: int
    sent_rate: float
    came: int
    restored: int
    latency_ms: list[float] = field(default_factory=list)
    restore_ms: list[float] = field(default_factory=list)
    plans: dict[str, int] = field(default_factory=dict)
    in_budget: int = 0
    longest_gap_ms: float = float("nan")

    @property
    def share_in_budget(self) -> float:
        """Share, of the pairs that came, of those within the budget; nan if none came."""
        return self.in_budget / self.came if self.came else float("nan")

    @property
    def no_loss(self) -> bool:
        """Whether every pair came back restored, and the camera kept the wanted rate."""
        return self.sent > 0 and self.restored == self.sent and self.sent_rate >= KEEPS_RATE * self.rate

    def latency(self, share: float) -> float:
        """The quantile `share` of the latency in ms; nan if no pair came."""
        return float(np.quantile(self.latency_ms, share)) if self.latency_ms else float("nan")

    def networks(self, share: float) -> float:
        """The quantile `share` of the time of the networks in ms; nan if no pair was restored."""
        return float(np.quantile(self.restore_ms, share)) if self.restore_ms else float("nan")


def measure(
    rates: Sequence[float],
    seconds: float,
    height: int,
    width: int,
    config: Config,
    models: Path | None,
    load: int,
    tell: Tell,
    progress: Callable[[int, int], None] | None = None,
) -> list[RateResult]:
    """Send pairs at each of `rates` (Hz) for `seconds` through one node, while `load` other processes compute.

    `config` has `gating` off, so that the node restores every pair. BenchError or ReplayError if the node does not get
    ready or ends badly.
    """
    os.environ.update(transport_environment())  # read when this process joins DDS
    if os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "OFF":
        raise BenchError("ROS_AUTOMATIC_DISCOVERY_RANGE is OFF, so processes cannot find each other; unset it")
    join_own_domain()
    from derain_ros.replay.link import Link

    results = []
    with NodeProcess(config, models) as node, Link(list(CAMERAS), {}) as link, busy(load):
        receiver = _Receiver(link)
        _warm_up(node, link, receiver, min(rates), height, width, tell)
        for done, rate in enumerate(rates):
            tell(f"{rate:g} Hz for {seconds:g} s")
            receiver.clear()
            with CameraProcess(rate, height, width) as camera:
                camera.await_sending()
                time.sleep(seconds)
                sent = camera.end()
            time.sleep(LAST_S)
            node.check()
            results.append(receiver.account(rate, seconds, sent, config.budget_ms))
            if progress is not None:
                progress(done + 1, len(rates))
        node.end()
    return results


def highest(results: Sequence[RateResult]) -> float:
    """The highest rate at which nothing was lost; 0 if there is none."""
    return max((result.rate for result in results if result.no_loss), default=0.0)


class _Receiver:
    """Takes the node's outputs: when each eye came, and what ~/status says."""

    def __init__(self, link: Any) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._lock = threading.Lock()
        self.clear()
        link.on_output = self._take

    def clear(self) -> None:
        """Forget all outputs."""
        with self._lock:
            self.came: dict[tuple[str, int], int] = {}
            self._statuses: list[bytes] = []

    def account(self, rate: float, seconds: float, sent: list[int], budget_ms: float) -> RateResult:
        """What became of the pairs with the stamps `sent`.

        Pairs sent before the first one that came back are left out: the topics were not yet matched.
        """
        with self._lock:
            came, said = dict(self.came), list(self._statuses)
        first = min((stamp for _, stamp in came), default=0)
        sent = [stamp for stamp in sent if stamp >= first]
        actions: dict[int, list[str]] = {}
        restore: dict[int, float] = {}
        plan: dict[int, str] = {}
        for data in said:
            stamp, values = self._read(data)
            actions[stamp] = [value["action"] for value in values]
            plan[stamp] = next((value["plan"] for value in values), "")
            restore[stamp] = max((float(value.get("restore_ms", "nan")) for value in values), default=float("nan"))
        whole = [stamp for stamp in sent if all((camera, stamp) in came for camera in CAMERAS)]
        restored = [stamp for stamp in whole if set(actions.get(stamp, [""])) == {Action.RESTORED.value}]
        arrived = {stamp: max(came[camera, stamp] for camera in CAMERAS) for stamp in whole}
        latency = [(arrived[stamp] - stamp) / 1e6 for stamp in whole]
        gaps = np.diff(sorted(arrived.values())) / 1e6
        span = (sent[-1] - sent[0]) / 1e9 if len(sent) > 1 else seconds
        return RateResult(
            rate,
            seconds,
            len(sent),
            max(0, len(sent) - 1) / span,
            len(whole),
            len(restored),
            latency,
            [restore[stamp] for stamp in restored],
            dict(Counter(plan[stamp] for stamp in restored)),
            sum(ms <= budget_ms for ms in latency),
            float(gaps.max()) if len(gaps) else float("nan"),
        )

    def restored(self) -> int:
        """The number of pairs that the node reports as restored."""
        with self._lock:
            said = list(self._statuses)
        return sum(all(value["action"] == Action.RESTORED.value for value in self._read(data)[1]) for data in said)

    def _take(self, topic: str, data: bytes) -> None:
        now = time.monotonic_ns()
        with self._lock:
            if topic == "/derain/status":
                self._statuses.append(data)
            elif topic.endswith("/image_raw"):
                seconds, nanoseconds = np.frombuffer(data, "<i4", 2, 4)
                self.came.setdefault((topic.split("/")[2], int(seconds) * 1_000_000_000 + int(nanoseconds)), now)

    def _read(self, data: bytes) -> tuple[int, list[dict[str, str]]]:
        array: Any = self._types.deserialize_cdr(data, "diagnostic_msgs/msg/DiagnosticArray")
        stamp = array.header.stamp.sec * 1_000_000_000 + array.header.stamp.nanosec
        return stamp, [{value.key: value.value for value in status.values} for status in array.status]


def _warm_up(
    node: NodeProcess, link: Any, receiver: _Receiver, rate: float, height: int, width: int, tell: Tell
) -> None:
    """Send frames until the node has restored WARM_PAIRS pairs: engines are chosen and built for the first ones.

    BenchError if this takes longer than READY_S, or if an engine fails.
    """
    tell("waiting for the node")
    deadline = time.monotonic() + READY_S
    with CameraProcess(rate, height, width) as camera:
        camera.await_sending()
        while receiver.restored() < WARM_PAIRS:
            node.check()
            if link.engine.startswith("failed"):
                raise BenchError(f"the node's engine {link.engine}")
            if time.monotonic() > deadline:
                raise BenchError(
                    f"the node restored only {receiver.restored()} pairs within {READY_S:.0f} s at {rate:g} Hz;"
                    " try a lower rate, and `derain node` alone"
                )
            time.sleep(0.1)
        camera.end()


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Run `number` processes that only compute; they end with the context, or with this process if it is killed."""
    code = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
