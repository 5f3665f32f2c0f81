"""Bags as others than this package write them: MCAP of every form, sqlite3 of every version of its tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2.metadata import dump_qos_v8, dump_qos_v9
from rosbags.typesys import Stores, get_typestore

from derain_ros.replay import mcap_file
from derain_ros.replay.records import Message, ReplayError

TYPES = get_typestore(Stores.ROS2_JAZZY)
TEXT = "std_msgs/msg/String"
LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    QosTime(0, 0),
    QosTime(0, 0),
    QosLiveliness.AUTOMATIC,
    QosTime(0, 0),
    False,
)
FORMS: dict[str, dict[str, Any]] = {
    "plain": {"compression": CompressionType.NONE},
    "lz4": {"compression": CompressionType.LZ4},
    "zstd": {"compression": CompressionType.ZSTD},
    "no chunks": {"use_chunking": False},
    "no message index": {"index_types": IndexType.CHUNK},
    "no index": {"index_types": IndexType.NONE},
    "no statistics": {"use_statistics": False},
    "no statistics, no message index": {"use_statistics": False, "index_types": IndexType.CHUNK},
    "channels not repeated": {"repeat_channels": False},
    "schemas not repeated": {"repeat_schemas": False},
    "no summary": {
        "index_types": IndexType.NONE,
        "use_statistics": False,
        "repeat_channels": False,
        "repeat_schemas": False,
        "use_summary_offsets": False,
    },
    "no checksums": {"enable_crcs": False},
    "checksum of all": {"enable_data_crcs": True},
    "each message in a chunk, the definitions in one of their own": {"chunk_size": 1},
}
"""Options of mcap's writer."""


def text(number: int, topic: str = "/notes", length: int = 2000) -> Message:
    """A message at this number of milliseconds."""
    value = TYPES.types[TEXT](data=f"note {number} ".ljust(length, "."))
    return Message(topic, 1_000_000_000 + number * 1_000_000, bytes(TYPES.serialize_cdr(value, TEXT)))


def read_mcap(file: Path) -> tuple[list[Message], str]:
    """The messages of a file, and the trouble with it."""
    found: list[Message] = []
    try:
        for message in mcap_file.messages(file):
            found.append(message)
    except ReplayError as error:
        return found, str(error)
    return found, ""


def write_mcap(
    path: Path,
    messages: Iterable[Message],
    profile: str = "ros2",
    schemas: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """An MCAP file of texts; `schemas` gives other topics a type, its encoding, its text and that of the messages."""
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start(profile, "")
        channels: dict[str, int] = {}
        for message in messages:
            if message.topic not in channels:
                usual = TEXT, "ros2msg", "string data", "cdr"
                name, encoding, definition, form = (schemas or {}).get(message.topic, usual)
                schema = writer.register_schema(name, encoding, definition.encode()) if name else 0
                channels[message.topic] = writer.register_channel(
                    message.topic, form, schema, {"offered_qos_profiles": yaml.safe_dump(dump_qos_v9([LATCHED]))}
                )
            writer.add_message(channels[message.topic], message.stamp_ns, message.data, message.stamp_ns)
        writer.add_attachment(1, 1, "a note", "text/plain", b"about the drive")
        writer.add_metadata("about", {"place": "Turin"})
        writer.finish()
    return path


def write_sqlite(
    path: Path, messages: Iterable[Message], schema: int = 4, index: bool = True, encoding: str = "ros2msg"
) -> Path:
    """A sqlite3 file of texts with the tables of this version; 5 stands for one to come."""
    columns = [
        "id INTEGER PRIMARY KEY",
        "name TEXT NOT NULL",
        "type TEXT NOT NULL",
        "serialization_format TEXT NOT NULL",
    ]
    row = ["/notes", TEXT, "cdr"]
    if schema >= 2:
        columns, row = [*columns, "offered_qos_profiles TEXT NOT NULL"], [*row, dump_qos_v8([LATCHED])]
    if schema >= 4:
        columns, row = [*columns, "type_description_hash TEXT NOT NULL"], [*row, TYPES.hash_rihs01(TEXT)]
    if schema >= 5:
        columns, row = [*columns, "colour TEXT"], [*row, "blue"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE topics({', '.join(columns)})")
        database.execute(f"INSERT INTO topics VALUES (1, {', '.join('?' * len(row))})", row)
        database.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, "
            "timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        if index:
            database.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
        if schema >= 3:
            database.execute("CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL)")
            database.execute("INSERT INTO schema VALUES (?, 'jazzy')", (schema,))
        if schema >= 4:
            database.execute(
                "CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT, encoding TEXT, "
                "encoded_message_definition TEXT, type_description_hash TEXT)"
            )
            database.execute(
                "INSERT INTO message_definitions VALUES (1, ?, ?, ?, '')",
                (TEXT, encoding, "" if encoding == "unknown" else "string data"),
            )
        database.executemany(
            "INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)",
            [(m.stamp_ns, m.data) for m in messages],
        )
    return path
