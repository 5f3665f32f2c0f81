"""Reads one sqlite3 file of rosbag2, of any version of its tables, whole or damaged."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from derain_ros.replay.files import qos_of
from derain_ros.replay.records import Message, ReplayError, Topic

COLUMNS = {"topics": ("id", "name", "type"), "messages": ("topic_id", "timestamp", "data")}
"""The columns that every version of rosbag2 has; all others may be missing."""
CONTENT = "topic_id, timestamp, CASE typeof(data) WHEN 'blob' THEN data WHEN 'text' THEN CAST(data AS BLOB) END"
VIEWS = "SELECT name FROM sqlite_master WHERE type = 'view' AND lower(name) IN (?, ?, ?)"
BY_TIME = "SELECT rowid FROM messages ORDER BY timestamp, rowid"
BETWEEN = "SELECT rowid FROM messages WHERE timestamp >= ? AND timestamp < ? ORDER BY timestamp, rowid"
ONE_ROW = f"SELECT {CONTENT} FROM messages WHERE rowid = ?"
AS_WRITTEN = f"SELECT {CONTENT} FROM messages ORDER BY rowid"
DAMAGED = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises on a damaged file; the second for the name of a column, which no `text_factory` decodes."""


def topics(file: Path) -> list[Topic]:
    """Return the topics with their numbers of messages; of a damaged file those that can be read.

    Raises ReplayError if the file does not have the tables of rosbag2.
    """
    database, _ = _opened(file)
    found: dict[Any, Topic] = {}
    counts: Counter[Any] = Counter()
    with closing(database), suppress(*DAMAGED):  # `messages` reports it
        _check(database, file)
        found = _topics(database)
        for (number,) in database.execute("SELECT topic_id FROM messages ORDER BY rowid"):
            counts[number] += 1
    return [replace(topic, count=counts[number]) for number, topic in found.items()]


def messages(file: Path, start_ns: int = 0, end_ns: int | None = None) -> Iterator[Message]:
    """Yield the messages in order of time, or those of a truncated file in the order in which they were written.

    With an `end_ns`, only those in [start_ns, end_ns) are read, unless the file is truncated. Rows that are not
    messages are left out. If the file is damaged, it raises ReplayError after the last message that can be read.
    """
    database, trouble = _opened(file)
    count = broken = 0
    with closing(database):
        try:
            _check(database, file)
            known = _topics(database)
            # sqlite3 reads a truncated page as if zeros followed, so the last row before an error may be wrong. Each
            # row is therefore held back until the next one is read.
            held: Message | None = None
            for number, stamp, data in _rows(database, file, start_ns, end_ns):
                if held is not None:
                    yield held
                # A column takes values of any type, so a damaged row may hold anything.
                topic, stamp_ns = known.get(number), _stamp_ns(stamp)
                if topic is None or stamp_ns is None or data is None:
                    held, broken = None, broken + 1
                else:
                    held = Message(topic.name, stamp_ns, data, topic.msgtype)
                count += 1
            if held is not None:
                yield held
        except DAMAGED as error:
            raise ReplayError(
                f"{file.name} is damaged: it can be read up to row {count} ({error}); copy it again "
                "from the original, or try `sqlite3 FILE .recover`"
            ) from error
    if broken:
        raise ReplayError(
            f"{file.name} is damaged: {broken} of its {count} rows are not messages, because topic, time or content "
            "is missing"
        )
    if trouble:
        raise ReplayError(trouble)


def _check(database: sqlite3.Connection, file: Path) -> None:
    """Raise ReplayError if tables or columns are missing, or tables are views, which may have endless rows."""
    for row in database.execute(VIEWS, (*COLUMNS, "message_definitions")):
        raise ReplayError(f"{file.name} is not a recording of rosbag2: its `{row['name']}` is a view, not a table")
    for table, columns in COLUMNS.items():
        there = {row["name"] for row in database.execute(f"PRAGMA table_info({table})")}
        lacks = (
            f"no table `{table}`"
            if not there
            else ", ".join(f"no column `{column}` in its table `{table}`" for column in columns if column not in there)
        )
        if lacks:
            raise ReplayError(f"{file.name} is not a recording of rosbag2: it has {lacks}")


def _topics(database: sqlite3.Connection) -> dict[Any, Topic]:
    """Return the topics by id, which may be a value of any type."""
    definitions: dict[str, dict[str, Any]] = {}
    with suppress(*DAMAGED):  # older versions have none
        for row in database.execute("SELECT * FROM message_definitions"):
            definition = dict(row)
            definitions[_text(definition.get("topic_type"))] = definition
    found = {}
    for each in database.execute("SELECT * FROM topics"):
        row = dict(each)
        msgtype = _text(row["type"])
        known = definitions.get(msgtype, {})
        found[row["id"]] = Topic(
            _text(row["name"]),
            msgtype,
            0,
            _text(known.get("encoded_message_definition")),
            _text(known.get("encoding")),
            _text(row.get("type_description_hash")),
            _text(row.get("serialization_format")),
            qos_of(_text(row.get("offered_qos_profiles"))),
        )
    return found


def _text(value: Any) -> str:
    """Return a value of any type as text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def _stamp_ns(value: Any) -> int | None:
    """Return a value as nanoseconds; None if it is not a time, or before 1970, which MCAP cannot hold."""
    whole = isinstance(value, int) or isinstance(value, float) and math.isfinite(value)
    return int(value) if whole and 0 <= value < 1 << 63 else None


def _opened(file: Path) -> tuple[sqlite3.Connection, str]:
    """Open the database for reading; returns it, and in words what cannot be read of it."""
    file, trouble = file.resolve(), ""
    # A recording that was not closed has its newest messages in a second file.
    newest = file.with_name(f"{file.name}-wal")
    if newest.exists() and newest.stat().st_size:
        database = _connected(file, "mode=ro")
        try:
            database.execute("SELECT name FROM sqlite_master").fetchall()
            return database, ""
        except sqlite3.Error as error:
            database.close()
            trouble = (
                f"the newest messages of {file.name} are in {newest.name}, which cannot be used ({error}); copy both "
                "into a folder that you can write to"
            )
    return _connected(file, "mode=ro&immutable=1"), trouble


def _connected(file: Path, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"{file.as_uri()}?{mode}", uri=True)
    database.row_factory = sqlite3.Row
    database.text_factory = lambda text: text.decode(errors="replace")
    # sqlite3 refuses a file that is shorter than its header says, unless the schema counts as writable.
    database.execute("PRAGMA writable_schema=ON")
    return database


def _rows(database: sqlite3.Connection, file: Path, start_ns: int, end_ns: int | None) -> Iterator[Any]:
    """Yield topic, time and content of every row; without an index of times only the row ids are sorted."""
    if _is_cut_off(file):
        yield from database.execute(AS_WRITTEN)
        return
    for (number,) in database.execute(*((BY_TIME,) if end_ns is None else (BETWEEN, (start_ns, end_ns)))):
        yield database.execute(ONE_ROW, (number,)).fetchone() or (None, None, None)


def _is_cut_off(file: Path) -> bool:
    """Whether the file is shorter than its header says."""
    with file.open("rb") as stream:
        head = stream.read(100)
    page_size, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    return file.stat().st_size < (page_size if page_size > 1 else 65536) * pages
