"""Reads ROS 2 bags (MCAP, sqlite3), whole or damaged, and writes MCAP bags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import yaml
from mcap.writer import CompressionType, Writer
from rosbags.rosbag2.metadata import dump_qos_v9
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from derain_ros import __version__
from derain_ros.replay import files, mcap_file, sqlite_file
from derain_ros.replay.definitions import types_of
from derain_ros.replay.metadata import Written, metadata_of
from derain_ros.replay.packed import content_of, unpack
from derain_ros.replay.records import Message, ReplayError, Topic


class BagReader:
    """An open ROS 2 bag: its topics by name, and its messages.

    `path` is a bag's directory or one of its files. A damaged bag is read as far as possible. After `messages` was
    read to its end, `damage` says what is wrong, where, and how to fix it. `left_out` are the topics that are not
    encoded in CDR, as ROS 2 does it, with their encoding by name. `notes` say what else is not read. `packed` says
    whether files had to be decompressed. Raises ReplayError if nothing can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self.packed = False
        self._stores: dict[str, Typestore] = {}
        self._files: list[Path] = []
        found = files.find(path)
        self._trouble = [f"{name} is missing, although metadata.yaml names it" for name in found.missing]
        self.notes = [
            f"{name} is not read, because metadata.yaml does not name it; to read it, name this file instead of the "
            "folder"
            for name in found.beside
        ]
        topics: list[Topic] = []
        with ExitStack() as unpacked:
            for file in found.files:
                try:
                    topics += self._add(file, unpacked)
                except ReplayError as error:
                    self._trouble.append(str(error))
            merged = self._merged(replace(t, qos=found.qos.get(t.name) or t.qos) for t in topics)
            self.topics = {t.name: replace(t, serialization="cdr") for t in merged if t.serialization in ("cdr", "")}
            self.left_out = {t.name: t.serialization for t in merged if t.name not in self.topics}
            self._check()
            self._unpacked = unpacked.pop_all()

    def messages(self, start_ns: int = 0, end_ns: int | None = None) -> Iterator[Message]:
        """Yield all messages, or those recorded in [start_ns, end_ns), in nanoseconds.

        The files follow each other, each in the order of recording. A damaged file is read as far as possible.
        """
        first, last, count = 0, 0, 0
        trouble = list(self._trouble)
        for file in self._files:
            try:
                for message in _storage(file).messages(file, start_ns, end_ns):
                    topic = self.topics.get(message.topic)
                    if message.stamp_ns < start_ns or end_ns is not None and message.stamp_ns >= end_ns:
                        continue
                    if topic is None or message.msgtype not in ("", topic.msgtype):
                        continue
                    first, last, count = first or message.stamp_ns, message.stamp_ns, count + 1
                    yield replace(message, data=content_of(message))
            except ReplayError as error:
                trouble.append(str(error))
        read = (
            f"{count} messages were read, the last one {(last - first) / 1e9:.2f} s after the first"
            if count
            else "no message could be read"
        )
        self.damage = f"{self.path}: {'; '.join([*trouble, read])}" if trouble else ""

    def decode(self, message: Message) -> Any:
        """Decode a message into an object with the fields of its type; ReplayError if it cannot be decoded.

        The type's definition in the bag is used if there is one.
        """
        topic = self.topics[message.topic]
        if topic.name not in self._stores:
            self._stores[topic.name] = types_of(topic)
        try:
            return self._stores[topic.name].deserialize_cdr(message.data, topic.msgtype)
        except Exception as error:  # on damaged data the decoder raises any exception
            raise ReplayError(
                f"{self.path}: a message on {message.topic} at {message.stamp_ns / 1e9:.3f} s cannot be "
                f"decoded ({error})"
            ) from error

    def close(self) -> None:
        """Delete the decompressed files."""
        self._unpacked.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, file: Path, unpacked: ExitStack) -> list[Topic]:
        """Add a file, decompressed if necessary, and return its topics."""
        if files.is_packed(file):
            self.packed = True
            made = Path(unpacked.enter_context(TemporaryDirectory(prefix="derain"))) / files.plain(file.name)
            unpack(file, made)
            file = made
        topics = _storage(file).topics(file)
        self._files.append(file)
        return topics

    def _merged(self, topics: Iterable[Topic]) -> list[Topic]:
        """Merge topics: one may be in several files, or have a channel for each publisher.

        A topic has one type: that of most messages, of those in CDR if there are any. Messages without a stated type
        count as of that type.
        """
        merged: dict[str, dict[str, Topic]] = {}
        for t in topics:
            types = merged.setdefault(t.name, {})
            known = types.get(t.msgtype, replace(t, count=0))
            types[t.msgtype] = replace(known if known.definition else t, count=known.count + t.count)
        chosen = []
        for name, types in merged.items():
            untyped = types.pop("").count if len(types) > 1 and "" in types else 0
            best, *others = sorted(types.values(), key=lambda t: (t.serialization not in ("cdr", ""), -t.count))
            chosen += [replace(best, count=best.count + untyped)] if name else []
            self.notes += [
                f"{t.count} messages of type {t.msgtype or 'unknown'} "
                + (
                    f"on {name} are not read: a topic has one type, and most are {best.msgtype}"
                    if name
                    else "are not read: their topic has no name"
                )
                for t in (others if name else types.values())
                if t.count
            ]
        return chosen

    def _check(self) -> None:
        """Raise ReplayError if there is nothing to read and the reason is known."""
        if self.left_out and not self.topics:
            raise ReplayError(
                f"{self.path} is not a ROS 2 bag: its messages are not in CDR but in "
                f"{', '.join(sorted(set(self.left_out.values())))}; convert it (a bag of ROS 1 with rosbags-convert)"
            )
        if not self.topics:
            for _ in self.messages():
                pass
            if self.damage:
                raise ReplayError(self.damage)


class BagWriter:
    """Writes an MCAP bag with its metadata; `path` is a new directory. Raises ReplayError if it exists."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise ReplayError(f"{path} exists already; name another output, or remove this one")
        self.path, self._file_name = path, f"{path.name}.mcap"
        self.types = get_typestore(Stores.ROS2_JAZZY)
        self._topics: dict[str, Topic] = {}
        self._channels: dict[str, int] = {}
        self._schemas: dict[tuple[str, str, str], int] = {}
        self._counts: Counter[str] = Counter()
        self._span_ns: tuple[int, int] | None = None
        try:
            path.mkdir(parents=True)
            self._file = (path / self._file_name).open("xb")
            self._writer = Writer(self._file, compression=CompressionType.NONE)
            self._writer.start("ros2", f"derain_ros {__version__}")
        except OSError as error:
            raise ReplayError(f"{path} cannot be written: {error.strerror}") from error

    def add(self, topic: Topic) -> None:
        """Add a topic. It keeps its definition; without one it gets that of ROS 2 Jazzy if its hash is the same."""
        if topic.name in self._topics:
            return
        if not topic.definition and topic.msgtype in self.types.fielddefs:
            digest = self.types.hash_rihs01(topic.msgtype)
            if topic.digest in ("", digest):
                text, _ = self.types.generate_msgdef(topic.msgtype, ros_version=2)
                topic = replace(topic, definition=text, encoding="ros2msg", digest=digest)
        schema = topic.msgtype, topic.encoding if topic.definition else "", topic.definition
        if schema not in self._schemas:
            self._schemas[schema] = self._writer.register_schema(*schema[:2], topic.definition.encode())
        self._topics[topic.name] = topic
        self._channels[topic.name] = self._writer.register_channel(
            topic.name,
            topic.serialization,
            self._schemas[schema],
            {"offered_qos_profiles": yaml.safe_dump(dump_qos_v9(list(topic.qos))), "topic_type_hash": topic.digest},
        )

    def write(self, message: Message) -> None:
        """Write one message of a topic that was added before; ReplayError if it cannot be written."""
        try:
            self._writer.add_message(self._channels[message.topic], message.stamp_ns, message.data, message.stamp_ns)
        except OSError as error:
            raise ReplayError(f"{self.path} cannot be written: {error.strerror}") from error
        self._counts[message.topic] += 1
        first, last = self._span_ns or (message.stamp_ns, message.stamp_ns)
        self._span_ns = min(first, message.stamp_ns), max(last, message.stamp_ns)

    def put(self, topic: str, stamp_ns: int, value: Any) -> None:
        """Serialize and write one message of a ROS 2 Jazzy type; a new topic is added."""
        if topic not in self._topics:
            self.add(Topic(topic, value.__msgtype__, 0))
        self.write(Message(topic, stamp_ns, bytes(self.types.serialize_cdr(value, value.__msgtype__))))

    def close(self) -> None:
        """Write index and metadata; without this the bag counts as damaged."""
        try:
            with self._file:
                self._writer.finish()
            topics = [replace(t, count=self._counts[t.name]) for t in self._topics.values()]
            first, last = self._span_ns or (0, 0)
            written = [Written(self._file_name, sum(self._counts.values()), first, last)]
            (self.path / "metadata.yaml").write_text(metadata_of(topics, written), encoding="utf-8")
        except OSError as error:
            raise ReplayError(f"{self.path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also after an error or Ctrl-C, so that what was written is a valid bag.
        self.close()


def _storage(file: Path) -> Any:
    """Return the module that reads this file."""
    return mcap_file if files.is_mcap(file) else sqlite_file
