"""The set-up of the soak test: the node in its process, cameras, receiver, services, other subscribers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rosbags.typesys import Stores, get_typestore

from derain_ros.bench import BenchError
from derain_ros.bench.ailing import ail
from derain_ros.bench.camera import CAMERAS
from derain_ros.bench.senders import ENCODINGS, SIZES, Senders, identity, identity_of
from derain_ros.config import Config
from derain_ros.frame import Action
from derain_ros.replay.account import Output, output_of
from derain_ros.replay.child import BOOTSTRAP, NodeProcess
from derain_ros.replay.link import Link

READY_S = 300.0
"""Longest wait until the node restores: engines may have to be built and measured first."""
WARM_PAIRS = 5
"""Pairs that the node must restore, for each combination of sizes and encodings in the warm-up."""
ANSWERS_S = 60.0
"""Longest time for the node to answer a request, or to find a camera."""
LOOKS_S = 0.01
MAIN = (
    "import rclpy, sys; from derain_ros.bench.ailing import main; from derain_ros.replay.child import end_with_parent; "
    "end_with_parent(); sys.exit(main({path!r}))"
)
SUBSCRIBER = (
    "import sys; from derain_ros.replay.link import Link\n"
    f"with Link({list(CAMERAS)}, {{}}):\n    print('ready', flush=True); sys.stdin.read()"
)
STATUS = "diagnostic_msgs/msg/DiagnosticArray"


class OutputReceiver:
    """Takes what the node publishes.

    `came` has camera, number (0 if it has none) and receive time in ns of each image, in order. `told` has what
    ~/status says of a frame, by camera and number. `plans` counts the restored frame sets by plan and models.
    """

    def __init__(self, link: Link) -> None:
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self.came: list[tuple[str, int, int]] = []
        self.told: dict[tuple[str, int], Output] = {}
        self.plans: Counter[tuple[str, str]] = Counter()
        self.restored: dict[str, tuple[int, int]] = {}
        """By camera: the number of the last restored frame, and the time in ns at which its status came."""
        link.on_output = self._take

    def _take(self, topic: str, data: bytes) -> None:
        now = time.monotonic_ns()
        if topic == "/derain/status":
            self._take_status(data, now)
        elif topic.endswith("/image_raw"):
            camera, known = topic.split("/")[2], identity(data)
            self.came.append((camera, known[1] if known else 0, now))

    def _take_status(self, data: bytes, now: int) -> None:
        array: Any = self._types.deserialize_cdr(data, STATUS)
        stamp_ns, values = array.header.stamp.sec * 1_000_000_000 + array.header.stamp.nanosec, {}
        for status in array.status:
            known, values = identity_of(status.hardware_id), {v.key: v.value for v in status.values}
            if known is None:
                continue
            self.told[known] = output_of(status.name, stamp_ns, values, float("nan"), float("nan"))
            if values["action"] == Action.RESTORED.value:
                self.restored[status.name] = (known[1], now)
        if values.get("action") == Action.RESTORED.value:
            self.plans[values.get("plan", ""), values.get("models", "")] += 1


class Control:
    """Calls the node's services."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("derain_soak", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._clients: dict[str, Any] = {}

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """The node's answer to a request to the service `name`; BenchError if none comes within ANSWERS_S."""
        if name not in self._clients:
            self._clients[name] = self._node.create_client(kind, f"/derain/{name}")
        client = self._clients[name]
        if not client.wait_for_service(ANSWERS_S):
            raise BenchError(f"the node's service {name} was not available within {ANSWERS_S:g} s")
        future = client.call_async(kind.Request(**fields))
        self._executor.spin_until_future_complete(future, ANSWERS_S)
        if not future.done():
            raise BenchError(f"the node did not answer {name} within {ANSWERS_S:g} s")
        return future.result()

    def subscribers(self, topic: str) -> set[bytes]:
        """The GIDs of the subscribers of a topic. One that was killed stays until its lease ends."""
        return {bytes(info.endpoint_gid) for info in self._node.get_subscriptions_info_by_topic(topic)}

    def close(self) -> None:
        """Destroy the ROS node of this class."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


class Rig:
    """The node with the settings `config`, cameras at `rate` (Hz) and a receiver, while the context is open.

    ReplayError or BenchError if the node does not get ready or ends badly.
    """

    def __init__(self, config: Config, models: Path | None, rate: float) -> None:
        self.config = config
        self._open = ExitStack()
        with ExitStack() as opening:
            directory = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="derain")))
            self._ailment = directory / "ailment"
            self.node = opening.enter_context(NodeProcess(config, models, MAIN.format(path=str(self._ailment))))
            self.link = opening.enter_context(Link(list(CAMERAS), {}))
            self.receiver = OutputReceiver(self.link)
            self.control = Control()
            opening.callback(self.control.close)
            self.senders = opening.enter_context(Senders(rate))
            self._await_ready()
            self._open = opening.pop_all()

    def wait(self, seconds: float) -> None:
        """Wait; ReplayError if the node ends meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.node.check()
            time.sleep(min(left, 0.1))
        self.node.check()

    def await_true(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until `condition` holds; false if it does not within `seconds`.

        ReplayError if the node ends meanwhile.
        """
        until = time.monotonic() + seconds
        while not condition():
            self.node.check()
            if time.monotonic() > until:
                return False
            time.sleep(LOOKS_S)
        return True

    def await_matched(self) -> None:
        """Wait until the node is matched with all cameras and with the receiver; BenchError after ANSWERS_S."""
        if not self.await_true(lambda: self.link.matched() and self.senders.matched(), ANSWERS_S):
            raise BenchError(f"node and cameras did not find each other within {ANSWERS_S:g} s")

    def await_loaded(self) -> None:
        """Wait until the node's models are loaded; BenchError if this fails, or takes longer than ANSWERS_S."""
        reports = self.link.reports
        if not self.await_true(lambda: self.link.reports > reports and self.link.engine != "loading", ANSWERS_S):
            raise BenchError(f"the node's models were not loaded within {ANSWERS_S:g} s: {self.link.engine}")
        if self.link.engine.startswith("failed"):
            raise BenchError(f"the node's engine {self.link.engine}")

    def ail(self, what: str, task: str, seconds: float) -> None:
        """Make the node's engines of a task fail or hang; see `ailing.ail`."""
        ail(self._ailment, what, task, seconds)

    @staticmethod
    def now_ns() -> int:
        """The current time in ns of the clock that stamps are from."""
        return time.time_ns()

    @contextmanager
    def subscriber(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process that subscribes to all topics of the node, and yield it once it is matched.

        BenchError if it is not matched within ANSWERS_S.
        """
        environment = {key: value for key, value in os.environ.items() if key != BOOTSTRAP}
        topic = f"/derained/{CAMERAS[0]}/image_raw"
        before = self.control.subscribers(topic)
        process = subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        try:
            stdout = process.stdout
            assert stdout is not None
            # If the process ends instead, the pipe is readable too, at its end of file.
            told = self.await_true(lambda: bool(select([stdout], [], [], 0.0)[0]), ANSWERS_S)
            if not told or stdout.readline() != b"ready\n":
                raise BenchError(f"a subscriber {'ended' if told else f'was not ready within {ANSWERS_S:g} s'}")
            if not self.await_true(lambda: bool(self.control.subscribers(topic) - before), ANSWERS_S):
                raise BenchError(f"a subscriber and the node did not find each other within {ANSWERS_S:g} s")
            yield process
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=ANSWERS_S)
        finally:
            process.kill()
            process.wait()

    def _await_ready(self) -> None:
        """Make the node load every engine that it will need; at the end the cameras send what they send first.

        Libraries keep threads and memory for the largest number of engines that were loaded at once. What is measured
        later must not exceed that number.
        """
        self.await_matched()
        kinds = [(size, encoding) for size in range(len(SIZES)) for encoding in ENCODINGS]
        # Two images of one size and encoding go through a network together, two different ones separately.
        for left, right in (*pairwise(kinds), *zip(kinds, kinds, strict=True), (kinds[0], kinds[0])):
            for camera, (size, encoding) in zip(CAMERAS, (left, right), strict=True):
                self.senders.sending[camera].size, self.senders.sending[camera].encoding = size, encoding
            self._await_chosen()

    def _await_chosen(self) -> None:
        """Wait until the node restores what it gets now, with its final choice of engines; BenchError after READY_S."""
        wanted, reports = sum(self.receiver.plans.values()) + WARM_PAIRS, self.link.reports + 2

        def ready() -> bool:
            if self.link.engine.startswith("failed"):
                raise BenchError(f"the node's engine {self.link.engine}")
            enough = sum(self.receiver.plans.values()) >= wanted and self.link.reports >= reports
            return enough and self.link.engine == "ready"

        if not self.await_true(ready, READY_S):
            raise BenchError(
                f"the node did not restore {WARM_PAIRS} pairs within {READY_S:g} s (its engine: {self.link.engine}); "
                "try a lower rate, and `derain node` alone"
            )

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
