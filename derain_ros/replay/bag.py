"""Bags in and out: ROS 2 recordings (MCAP, sqlite3) are read, whole or damaged; MCAP is written."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from derain_ros.replay import salvage
from derain_ros.replay.records import Message, ReplayError, Topic

SUFFIXES = (".mcap", ".db3")
UNKNOWN_DIGEST = "RIHS01_" + 64 * "0"
"""Stands for the hash of a message type whose definition is not known."""

logger = logging.getLogger(__name__)


class BagReader:
    """A ROS 2 bag, opened: its topics by name, and its messages.

    `path` is a bag's directory or one .mcap or .db3 file. What is damaged is read as far as it goes; `damage` then says
    what is wrong, and after `messages` was read to its end also where that was. ReplayError where nothing can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self._reader: Reader | None = None
        self._files = _files(path)
        try:
            self._reader = Reader(path)
            self._reader.open()
            topics = _merged(_topic(c) for c in self._reader.connections)
        except Exception as error:
            # Every storage fails in its own way; whatever it was, the files may still hold messages.
            self._reader = None
            self.damage = f"{path} is damaged ({str(error).rstrip('.') or type(error).__name__})"
            topics = self._salvaged_topics()
        self._opening = self.damage
        self.topics = {t.name: t for t in topics}
        self.types = _types(topics)

    def messages(self) -> Iterator[Message]:
        """Every message, in the order of recording; a damaged bag ends where it can be read no further."""
        first, last, count = 0, 0, 0
        self.damage = self._opening
        try:
            for message in self._salvaged() if self._reader is None else self._whole(self._reader):
                first, last, count = first or message.stamp_ns, message.stamp_ns, count + 1
                yield message
        except Exception as error:  # as above: the messages read so far are good
            self.damage = self.damage or f"{self.path} is damaged ({str(error).rstrip('.') or type(error).__name__})"
        expected = 0 if self._reader is None else sum(t.count for t in self.topics.values())
        if count < expected and not self.damage:
            self.damage = f"{self.path} is damaged: of {expected} messages {expected - count} cannot be found"
        if self.damage:
            self.damage += (f"; {count} messages were read, the last one {(last - first) / 1e9:.2f} s after the first"
                            if count else "; no message could be read")

    def decode(self, message: Message) -> Any:
        """The message as an object with the fields of its type."""
        try:
            return self.types.deserialize_cdr(message.data, self.topics[message.topic].msgtype)
        except Exception as error:  # the decoder raises whatever a wrong byte makes it raise
            raise ReplayError(f"{self.path}: a message on {message.topic} at {message.stamp_ns / 1e9:.3f} s cannot be "
                              f"decoded ({error})") from error

    def close(self) -> None:
        """Close the files."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _whole(self, reader: Reader) -> Iterator[Message]:
        for connection, stamp, data in reader.messages():
            yield Message(connection.topic, stamp, bytes(data))

    def _salvaged(self) -> Iterator[Message]:
        trouble = []
        for file in self._files:
            try:
                yield from salvage.messages(file)
            except ReplayError as error:
                trouble.append(str(error))
        if trouble:
            self.damage = f"{self.path} is damaged: {'; '.join(trouble)}"

    def _salvaged_topics(self) -> list[Topic]:
        merged = _merged(t for file in self._files for t in salvage.topics(file))
        if not merged:
            raise ReplayError(f"{self.damage}, and no message is left in {', '.join(f.name for f in self._files)}; "
                              "was it copied completely?")
        return merged


class BagWriter:
    """Writes an MCAP bag with its metadata; `path` is the directory to make, it must not exist."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise ReplayError(f"{path} exists already; name another output or remove it")
        self.path = path
        self.types = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        try:
            self._writer.open()
        except OSError as error:
            raise ReplayError(f"{path} cannot be written: {error.strerror}") from error

    def add(self, topic: Topic, types: Typestore | None = None) -> None:
        """Make a topic known; `types` knows its message type where that is none of ROS 2 Jazzy."""
        if topic.name in self._connections:
            return
        definition: str | None = topic.definition or None
        digest = UNKNOWN_DIGEST
        for store in (self.types, types):
            if store is not None and topic.msgtype in store.fielddefs:
                definition, _ = store.generate_msgdef(topic.msgtype, ros_version=2)
                digest = store.hash_rihs01(topic.msgtype)
                break
        self._connections[topic.name] = self._writer.add_connection(
            topic.name, topic.msgtype, msgdef=definition or "", rihs01=digest, offered_qos_profiles=topic.qos)

    def write(self, message: Message) -> None:
        """Write one message; its topic was added before."""
        try:
            self._writer.write(self._connections[message.topic], message.stamp_ns, message.data)
        except OSError as error:
            raise ReplayError(f"{self.path} cannot be written: {error.strerror}") from error

    def put(self, topic: str, stamp_ns: int, value: Any) -> None:
        """Serialize and write one message of a type of ROS 2 Jazzy; its topic is added where it is new."""
        if topic not in self._connections:
            self.add(Topic(topic, value.__msgtype__, 0))
        self.write(Message(topic, stamp_ns, bytes(self.types.serialize_cdr(value, value.__msgtype__))))

    def close(self) -> None:
        """Write index and metadata; without it the bag is a damaged one."""
        try:
            self._writer.close()
        except OSError as error:
            raise ReplayError(f"{self.path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        # Also after an error or Ctrl-C: what was written so far is a good bag.
        self.close()


def _files(path: Path) -> list[Path]:
    """The storage files of a bag in order."""
    if not path.exists():
        raise ReplayError(f"{path} does not exist; name a bag's directory or one of its .mcap or .db3 files")
    if path.is_file() and path.suffix in SUFFIXES:
        return [path]
    if path.is_file():
        raise ReplayError(f"{path} is no ROS 2 bag: its name ends in none of {', '.join(SUFFIXES)}"
                          + ("; convert it with rosbags-convert" if path.suffix == ".bag" else ""))
    files = [f for f in path.iterdir() if f.suffix in SUFFIXES]
    if not files and not (path / "metadata.yaml").exists():
        raise ReplayError(f"{path} is no ROS 2 bag: it holds neither a metadata.yaml nor a .mcap or .db3 file")
    return sorted(files, key=lambda f: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", f.name)])


def _topic(connection: Connection) -> Topic:
    definition = connection.msgdef
    qos = connection.ext.offered_qos_profiles if isinstance(connection.ext, ConnectionExtRosbag2) else []
    return Topic(connection.topic, connection.msgtype, connection.msgcount, definition.data,
                 definition.format == MessageDefinitionFormat.IDL, tuple(qos))


def _merged(topics: Iterable[Topic]) -> list[Topic]:
    """Each topic once, with all its messages: it may lie in several files, or have a channel for each publisher."""
    merged: dict[str, Topic] = {}
    for t in topics:
        before = merged[t.name].count if t.name in merged else 0
        merged[t.name] = replace(t, count=t.count + before)
    return list(merged.values())


def _types(topics: list[Topic]) -> Typestore:
    """The types of ROS 2 Jazzy and those that only the bag defines."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for topic in topics:
        if topic.definition and topic.msgtype not in store.fielddefs:
            try:
                found = (get_types_from_idl(topic.definition) if topic.idl
                         else get_types_from_msg(topic.definition, topic.msgtype))
                store.register({name: fields for name, fields in found.items() if name not in store.fielddefs})
            except Exception:
                # An odd definition only means that this topic is kept as bytes, which needs no definition.
                logger.debug("%s: the definition of %s cannot be parsed", topic.name, topic.msgtype)
    return store
