"""Plays a bag in real time through the node in another process, over DDS, and records what it publishes."""

from __future__ import annotations

import os
import queue
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from derain_ros.config import Config
from derain_ros.frame import Action
from derain_ros.replay.account import Account, Output
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.child import NodeProcess, transport_environment
from derain_ros.replay.offline import Progress, keep
from derain_ros.replay.records import Message, ReplayError, Topic
from derain_ros.replay.topics import COMPRESSED, INFO, Cameras
from derain_ros.runtime.input.instants import GAP_NS

READY_S = 60.0
SILENCE_S = 1.5
LIVE = "Latency, from camera to receiver"
AHEAD = 128
"""Messages that are read ahead of their time."""
WAITING_BYTES = 1 << 30
"""Messages that may wait for the disk."""
SLOW_SHARE = 0.1
"""Share of the frames passed on for the budget from which on that is told."""
FUSED = "/derained/fused/image_raw"
HEADER_BYTES = 16
"""Of a serialized message that begins with a header: encapsulation, stamp and length of the frame_id."""


def play(
    reader: BagReader,
    output: Path,
    cameras: Cameras,
    config: Config,
    models: Path | None = None,
    rate: float = 1.0,
    progress: Progress | None = None,
) -> Account:
    """Play `reader` at `rate` times the recorded speed; write its topics and the node's outputs to the bag `output`.

    `config.cameras` are the names of `cameras`; its transport is that of the bag. Latency is taken from publishing an
    image to receiving its result. Raises ReplayError where the node cannot load its models, does not get ready or ends
    badly, or where the disk is too slow.
    """
    os.environ.update(transport_environment())  # read when this process joins DDS
    if os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "OFF":
        raise ReplayError("ROS_AUTOMATIC_DISCOVERY_RANGE is OFF, so that no process finds another; unset it")
    from derain_ros.replay.link import Link

    inputs = _inputs(cameras, reader.topics)
    packed = any(msgtype == COMPRESSED for _, msgtype in inputs.values())
    config = replace(config, transport="compressed" if packed else "raw")
    with NodeProcess(config, models) as node, Link(list(cameras.images), inputs, config.thermal) as link:
        _await_ready(node, link)
        with _Recorder(output) as recorder:
            account = Account(frames_in=Counter(dict.fromkeys(cameras.images, 0)))
            kept = keep(reader, recorder.writer, account)
            for topic, msgtype in link.outputs.items():
                recorder.writer.add(Topic(topic, msgtype, 0))
            session = _Session(reader, cameras, link, recorder, rate)
            session.run(node, kept, progress)
            node.end()
        session.fill(account)
    account.damage = reader.damage
    return account


def _inputs(cameras: Cameras, topics: Mapping[str, Topic]) -> dict[str, tuple[str, str]]:
    """By topic of the bag: the topic the node listens to, and its type."""
    kinds = {t.msgtype for t in cameras.images.values()} | (
        {topics[cameras.thermal].msgtype} if cameras.thermal else set()
    )
    if len(kinds) > 1:
        raise ReplayError("one camera is raw and another one compressed; name topics of one kind, or replay offline")
    suffix = "/compressed" if kinds == {COMPRESSED} else ""
    inputs = {t.name: (f"/{camera}/image_raw{suffix}", t.msgtype) for camera, t in cameras.images.items()}
    inputs |= {name: (f"/{camera}/camera_info", INFO) for camera, name in cameras.info.items()}
    if cameras.thermal:
        inputs[cameras.thermal] = (f"/thermal/image_raw{suffix}", topics[cameras.thermal].msgtype)
    return inputs


def _await_ready(node: NodeProcess, link: Any) -> None:
    deadline = time.monotonic() + READY_S
    while not (link.matched() and link.engine not in ("", "loading")):
        node.check()
        if time.monotonic() > deadline:
            topics = "all" if link.matched() else "not all"
            raise ReplayError(
                f"the node was not ready within {READY_S:.0f} s: its topics are {topics} there, its "
                f"engine is {link.engine or 'silent'}; try `derain node` by itself"
            )
        time.sleep(0.02)
    # On a robot images must go on coming; here they would only look as if they had been looked at.
    if link.engine.startswith("failed"):
        raise ReplayError(f"the node's engine {link.engine}")


def _stamp(data: bytes) -> int:
    """The stamp of a serialized message that begins with a header (HEADER_BYTES at least), in nanoseconds."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _total(lists: Mapping[Any, list[int]]) -> int:
    return sum(map(len, list(lists.values())))


class _Session:
    """One bag on its way through the node."""

    def __init__(self, reader: BagReader, cameras: Cameras, link: Any, recorder: _Recorder, rate: float) -> None:
        self.reader, self.link, self.recorder, self.rate = reader, link, recorder, rate
        self._camera_of = {t.name: camera for camera, t in cameras.images.items()}
        # By camera and stamp, in order: a driver may give several frames the same stamp.
        self._sent: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        self._came: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        self._statuses: list[bytes] = []
        self._in: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._first_ns = self._begun_ns = self._skipped = 0

    def run(self, node: NodeProcess, kept: set[str], progress: Progress | None) -> None:
        """Publish every message when its time has come, then wait for the last outputs."""
        total = sum(t.count for t in self.reader.topics.values())
        source = _ahead(self.reader)
        for done, message in enumerate(source, 1):
            if not self._first_ns:
                self._first_ns, self._begun_ns = message.stamp_ns, time.monotonic_ns()
                self.link.on_output = self._on_output
                last_ns = message.stamp_ns
            if message.stamp_ns - last_ns > GAP_NS:
                # Nobody waits for what was not recorded, nor for a clock that was set.
                self._first_ns += message.stamp_ns - last_ns
                self._skipped += 1
            last_ns = message.stamp_ns
            due = self._begun_ns + round((message.stamp_ns - self._first_ns) / self.rate)
            while (wait := due - time.monotonic_ns()) > 0:
                time.sleep(min(wait / 1e9, 0.1))
            if message.topic in self.link.inputs:
                self._send(message)
            if message.topic in kept:
                self.recorder.put(message)
                self.recorder.check()
            if progress is not None:
                progress(done, max(total, done))
            if done % 32 == 0:
                node.check()
        quiet_since = time.monotonic()
        before, sent = -1, _total(self._sent)
        while (came := _total(self._came)) < sent and time.monotonic() - quiet_since < SILENCE_S:
            node.check()
            if came != before:
                before, quiet_since = came, time.monotonic()
            time.sleep(0.02)
        time.sleep(0.2)  # the status follows its image
        self.link.on_output = None

    def fill(self, account: Account) -> None:
        """Put what happened into the books."""
        said: defaultdict[tuple[str, int], list[dict[str, str]]] = defaultdict(list)
        for data in self._statuses:
            array = self.recorder.writer.types.deserialize_cdr(data, "diagnostic_msgs/msg/DiagnosticArray")
            values = {}
            for status in array.status:  # type: ignore[attr-defined]
                values = {v.key: v.value for v in status.values}
                said[status.name, _stamp(data)].append(values)
                account.fusion.update([values["fusion"]] if "fusion" in values else [])
            if values.get("action") == Action.RESTORED.value:
                account.plans[values.get("plan", ""), values.get("models", "")] += 1
        account.engines = self.link.models
        account.frames_in.update(self._in)
        if self._skipped:
            account.notes.append(
                f"pauses in the recording of more than {GAP_NS / 1e9:g} s were not waited for: {self._skipped}"
            )
        for topic, number in self._cut.items():
            account.broken[self._camera_of.get(topic, topic)] += number
            account.notes.append(f"{topic}: not played, for they end within their header: {number}")
        outputs = []
        for (camera, stamp), came in self._came.items():
            sent, told = self._sent.get((camera, stamp), []), said[camera, stamp]
            for k, came_ns in enumerate(came[: len(sent)]):
                values = told[k] if k < len(told) else {}
                flagged = values.get("kind", "unknown") not in ("clean", "unknown")
                # Where frames of one stamp were lost, it is not known which.
                latency_ms = (came_ns - sent[k]) / 1e6 if len(came) == len(sent) else float("nan")
                outputs.append(
                    (
                        came_ns,
                        Output(
                            camera,
                            stamp,
                            values.get("action", "unknown"),
                            flagged,
                            float(values.get("score", "nan")),
                            latency_ms,
                        ),
                    )
                )
        account.outputs += [output for _, output in sorted(outputs, key=lambda timed: timed[0])]
        slow = [
            values.get("detail", "")
            for several in said.values()
            for values in several
            if values.get("action") == Action.PASSED_BUDGET.value
        ]
        if len(slow) > SLOW_SHARE * len(account.outputs):
            account.notes.append(
                f"this machine is too slow or too busy: {len(slow)} frames were passed on, the last "
                f"as {slow[-1]}; end what else runs, and see what `derain doctor` says of engines"
            )

    def _send(self, message: Message) -> None:
        camera = self._camera_of.get(message.topic)
        if camera is not None:
            self._in[camera] += 1
        if len(message.data) < HEADER_BYTES:
            self._cut[message.topic] += 1
            return
        if camera is not None:
            self._sent[camera, _stamp(message.data)].append(time.monotonic_ns())
        self.link.send(message.topic, message.data)

    def _on_output(self, topic: str, data: bytes) -> None:
        """Called by the link's thread for every message of the node."""
        now = time.monotonic_ns()
        stamp_ns = self._first_ns + round((now - self._begun_ns) * self.rate)
        if topic == "/derain/status":
            self._statuses.append(data)
        elif topic.endswith("/image_raw") and topic != FUSED:
            self._came[topic.split("/")[2], _stamp(data)].append(now)
        self.recorder.put(Message(topic, stamp_ns, data))


class _Recorder:
    """Writes a bag in a thread of its own, so that neither playing nor receiving waits for the disk.

    What could not be written is raised by `check` and, at the latest, at the end of the context.
    """

    def __init__(self, output: Path) -> None:
        self.writer = BagWriter(output)
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="derain recorder")
        self._thread.start()

    def put(self, message: Message) -> None:
        """Take a message in."""
        with self._lock:
            self._waiting_bytes += len(message.data)
            if self._waiting_bytes > WAITING_BYTES and self._error is None:
                self._error = ReplayError(
                    f"{self.writer.path}: the disk is too slow for this bag, {WAITING_BYTES >> 20} MiB wait for it; "
                    "write to a faster one, or play slower with --rate"
                )
        if self._error is None:
            self._queue.put(message)

    def check(self) -> None:
        """Raise what went wrong with an earlier message, ReplayError where the disk refused it or is too slow."""
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        # Once anything went wrong, what still waits is not worth waiting for.
        while (message := self._queue.get()) is not None and self._error is None:
            try:
                self.writer.write(message)
                with self._lock:
                    self._waiting_bytes -= len(message.data)
            except Exception as error:  # it is for the player to tell, not for this thread
                self._error = error
                return

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        self.writer.close()
        if kind is None:
            self.check()


def _ahead(reader: BagReader) -> Iterator[Message]:
    """The messages of a bag, read ahead by a thread of its own."""
    waiting: queue.Queue[Message | None] = queue.Queue(AHEAD)
    stop = threading.Event()

    def fill() -> None:
        for message in chain(reader.messages(), [None]):
            while not stop.is_set():
                try:
                    waiting.put(message, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if stop.is_set():
                return

    thread = threading.Thread(target=fill, name="derain reader", daemon=True)
    thread.start()
    try:
        while (message := waiting.get()) is not None:
            yield message
    finally:
        stop.set()
        thread.join()
