"""Plays one bag through the node: sends messages in time, receives outputs, and fills the account."""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from rosbags.typesys import Stores, get_typestore

from derain_ros.frame import Action
from derain_ros.replay.account import Account, output_of
from derain_ros.replay.bag import BagReader
from derain_ros.replay.child import NodeProcess
from derain_ros.replay.offline import Progress
from derain_ros.replay.recorder import Recorder
from derain_ros.replay.records import Message
from derain_ros.replay.topics import Cameras
from derain_ros.runtime.input.instants import GAP_NS

SILENCE_S = 1.5
AHEAD = 128
"""Number of messages that are read ahead."""
REPORT_S = 5.0
"""How long to wait for the node's last counts, which it publishes once a second."""
SLOW_SHARE = 0.1
"""A note says that the machine is too slow if more than this share of the frames was passed on for the budget."""
FUSED = "/derained/fused/image_raw"
HEADER_BYTES = 16
"""First bytes of a serialized message with a header: encapsulation, stamp and length of the frame_id."""


class Session:
    """One playback of a bag through the node: `run`, then `finish`, then `fill`."""

    def __init__(self, reader: BagReader, cameras: Cameras, link: Any, recorder: Recorder | None, rate: float) -> None:
        self.reader, self.link, self.recorder, self.rate = reader, link, recorder, rate
        self._camera_of = {t.name: camera for camera, t in cameras.images.items()}
        # Times in order by camera and stamp: a driver may give several frames the same stamp.
        self._sent: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        self._came: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        # Time of the recorded driver by camera and stamp, if stamps come from the recorder's clock.
        self._driver_ns: dict[tuple[str, int], int] = {}
        self._statuses: list[bytes] = []
        self._in: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._first_ns = self._begun_ns = self._skipped = 0
        self._recorded_s = self._played_s = 0.0

    def run(self, node: NodeProcess, kept: set[str], progress: Progress | None) -> None:
        """Publish every message at its time; ReplayError if the node ends or the disk is too slow."""
        total = sum(t.count for t in self.reader.topics.values())
        source = ahead(self.reader)
        for done, message in enumerate(source, 1):
            if not self._first_ns:
                self._first_ns, self._begun_ns = message.stamp_ns, time.monotonic_ns()
                self.link.on_output = self._on_output
                last_ns = message.stamp_ns
            if message.stamp_ns - last_ns > GAP_NS:
                # Skip pauses of the recording, and jumps of a clock that was set.
                self._first_ns += message.stamp_ns - last_ns
                self._skipped += 1
            last_ns = message.stamp_ns
            due = self._begun_ns + round((message.stamp_ns - self._first_ns) / self.rate)
            while (wait := due - time.monotonic_ns()) > 0:
                time.sleep(min(wait / 1e9, 0.1))
            if message.topic in self.link.inputs:
                self._send(message)
            if self.recorder is not None and message.topic in kept:
                self.recorder.put(message)
                self.recorder.check()
            if progress is not None:
                progress(done, max(total, done))
            if done % 32 == 0:
                node.check()
        if self._begun_ns:
            self._recorded_s = (last_ns - self._first_ns) / 1e9
            self._played_s = (time.monotonic_ns() - self._begun_ns) / 1e9

    def finish(self, node: NodeProcess) -> None:
        """Wait for the last outputs, and for the node's next report."""
        quiet_since = time.monotonic()
        before, sent = -1, _total(self._sent)
        while (came := _total(self._came)) < sent and time.monotonic() - quiet_since < SILENCE_S:
            node.check()
            if came != before:
                before, quiet_since = came, time.monotonic()
            time.sleep(0.02)
        time.sleep(0.2)  # the status follows its image
        self.link.on_output = None
        reports, deadline = self.link.reports, time.monotonic() + REPORT_S
        while self.link.reports == reports and time.monotonic() < deadline:
            node.check()
            time.sleep(0.02)

    def fill(self, account: Account) -> None:
        """Fill the account with the results."""
        said: defaultdict[tuple[str, int], list[dict[str, str]]] = defaultdict(list)
        types = get_typestore(Stores.ROS2_JAZZY)
        for data in self._statuses:
            array = types.deserialize_cdr(data, "diagnostic_msgs/msg/DiagnosticArray")
            values = {}
            for status in array.status:  # type: ignore[attr-defined]
                values = {v.key: v.value for v in status.values}
                said[status.name, _stamp(data)].append(values)
                account.fusion.update([values["fusion"]] if "fusion" in values else [])
            if values.get("action") == Action.RESTORED.value:
                account.plans[values.get("plan", ""), values.get("models", "")] += 1
        account.engines, account.recorded_s, account.played_s = self.link.models, self._recorded_s, self._played_s
        account.frames_in.update(self._in)
        if self._skipped:
            account.notes.append(
                f"pauses in the recording of more than {GAP_NS / 1e9:g} s were skipped: {self._skipped}"
            )
        for topic, number in self._cut.items():
            account.broken[self._camera_of.get(topic, topic)] += number
            account.notes.append(f"{topic}: {number} messages were not played, because they end within their header")
        outputs = []
        for (camera, stamp), came in self._came.items():
            sent, told = self._sent.get((camera, stamp), []), said[camera, stamp]
            for k, came_ns in enumerate(came[: len(sent)]):
                values = told[k] if k < len(told) else {}
                # If frames with the same stamp were lost, it is not known which.
                latency_ms = (came_ns - sent[k]) / 1e6 if len(came) == len(sent) else float("nan")
                age_ms = latency_ms + self._driver_ns.get((camera, stamp), float("nan")) / 1e6
                outputs.append((came_ns, output_of(camera, stamp, values, latency_ms, age_ms)))
        account.outputs += [output for _, output in sorted(outputs, key=lambda timed: timed[0])]
        self._fill_causes(account)
        slow = [
            values.get("detail", "")
            for several in said.values()
            for values in several
            if values.get("action") == Action.PASSED_BUDGET.value
        ]
        if len(slow) > SLOW_SHARE * len(account.outputs):
            account.notes.append(
                f"this machine is too slow or too busy: {len(slow)} frames were passed on, the last one because "
                f"{slow[-1]}; end other programs, and see what `derain doctor` says about engines"
            )

    def _fill_causes(self, account: Account) -> None:
        """Count the causes of the frames that were sent and did not come back."""
        for camera in account.frames_in:
            total = account.total(camera)
            told = {key: int(value) for key, value in self.link.counts.get(camera, {}).items() if value.isdecimal()}
            if "published" not in told:
                account.causes["not known, the node did not tell"] += total["dropped"]
                continue
            lost_in = total["in"] - total["broken"] - told["received"]
            account.causes.update(
                {
                    "lost on the way to the node": lost_in,
                    "in the node, a newer one took its place": told["dropped"],
                    "in the node, could not be read": told["unusable"],
                    "in the node, not yet done": told["waiting"],
                    "lost on the way back": told["published"] - total["out"],
                }
            )
        account.causes = +account.causes

    def _send(self, message: Message) -> None:
        camera = self._camera_of.get(message.topic)
        if camera is not None:
            self._in[camera] += 1
        if len(message.data) < HEADER_BYTES:
            self._cut[message.topic] += 1
            return
        if camera is not None:
            stamp_ns = _stamp(message.data)
            if 0 <= message.stamp_ns - stamp_ns <= GAP_NS:
                self._driver_ns[camera, stamp_ns] = message.stamp_ns - stamp_ns
            self._sent[camera, stamp_ns].append(time.monotonic_ns())
        self.link.send(message.topic, message.data)

    def _on_output(self, topic: str, data: bytes) -> None:
        """Take a message of the node; the link's thread calls this."""
        now = time.monotonic_ns()
        stamp_ns = self._first_ns + round((now - self._begun_ns) * self.rate)
        if topic == "/derain/status":
            self._statuses.append(data)
        elif topic.endswith("/image_raw") and topic != FUSED:
            self._came[topic.split("/")[2], _stamp(data)].append(now)
        if self.recorder is not None:
            self.recorder.put(Message(topic, stamp_ns, data))


def ahead(reader: BagReader) -> Iterator[Message]:
    """Yield the messages of a bag, read ahead by a separate thread."""
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


def _stamp(data: bytes) -> int:
    """Return the stamp in nanoseconds of a serialized message with a header, of at least HEADER_BYTES."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _total(lists: Mapping[Any, list[int]]) -> int:
    return sum(map(len, list(lists.values())))
