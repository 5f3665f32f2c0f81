"""Reads one sqlite3 file of rosbag2, of any version of its tables, whole or damaged."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from derain_ros.replay.files import qos_of
from derain_ros.replay.records import Message, ReplayError, Topic

BY_TIME = "SELECT rowid FROM messages ORDER BY timestamp, rowid"
ONE_ROW = "SELECT topic_id, timestamp, data FROM messages WHERE rowid = ?"
AS_WRITTEN = "SELECT topic_id, timestamp, data FROM messages ORDER BY rowid"


def topics(file: Path) -> list[Topic]:
    """The topics, each with the number of its messages; of a damaged file those that can be read."""
    database, _ = _opened(file)
    rows: dict[int, dict[str, Any]] = {}
    definitions: dict[str, dict[str, Any]] = {}
    counts: Counter[int] = Counter()
    with closing(database), suppress(sqlite3.Error):  # `messages` tells of it
        rows = {row["id"]: dict(row) for row in database.execute("SELECT * FROM topics")}
        if database.execute("SELECT name FROM sqlite_master WHERE name = 'message_definitions'").fetchone():
            definitions = {d["topic_type"]: dict(d) for d in database.execute("SELECT * FROM message_definitions")}
        for number, in database.execute("SELECT topic_id FROM messages ORDER BY rowid"):
            counts[number] += 1
    found = []
    for number, row in rows.items():
        known = definitions.get(row["type"], {})
        found.append(Topic(row["name"], row["type"], counts[number], known.get("encoded_message_definition", ""),
                           known.get("encoding", ""), row.get("type_description_hash", ""),
                           row["serialization_format"], qos_of(row.get("offered_qos_profiles", ""))))
    return found


def messages(file: Path) -> Iterator[Message]:
    """The messages in the order of their time, of a file that is cut off in the order in which they were written.

    ReplayError after the last one that can be read, where the file is damaged.
    """
    database, trouble = _opened(file)
    count = broken = 0
    with closing(database):
        try:
            if len(database.execute("SELECT 1 FROM sqlite_master WHERE name IN ('topics', 'messages')").fetchall()) < 2:
                raise ReplayError(f"{file.name} is no recording of rosbag2: it has no tables `topics` and `messages`")
            names = dict(database.execute("SELECT id, name FROM topics").fetchall())
            # sqlite3 reads a page that is cut off as if zeros followed: the last row before an error is not to be
            # trusted, and is held back for that.
            held: Message | None = None
            for number, stamp, data in _rows(database, file):
                if held is not None:
                    yield held
                # A column takes values of any type, so a broken row may hold anything.
                good = number in names and isinstance(stamp, int) and isinstance(data, bytes)
                held = Message(names[number], stamp, data) if good else None
                count, broken = count + 1, broken + (not good)
            if held is not None:
                yield held
        except sqlite3.Error as error:
            raise ReplayError(f"{file.name} is damaged: it can be read up to row {count} ({error}); copy it again "
                              "where there is more of it, or try `sqlite3 FILE .recover`") from error
    if broken:
        raise ReplayError(f"{file.name} is damaged: {broken} of its {count} rows are no messages")
    if trouble:
        raise ReplayError(trouble)


def _opened(file: Path) -> tuple[sqlite3.Connection, str]:
    """The database, to be read only, and what cannot be read of it."""
    file, trouble = file.resolve(), ""
    # A recording that was not ended has its newest messages in a second file.
    newest = file.with_name(f"{file.name}-wal")
    if newest.exists() and newest.stat().st_size:
        database = _connected(file, "mode=ro")
        try:
            database.execute("SELECT name FROM sqlite_master").fetchall()
            return database, ""
        except sqlite3.Error as error:
            database.close()
            trouble = (f"the newest messages of {file.name} lie in {newest.name}, which cannot be used ({error}); copy "
                       "both into a folder that can be written to")
    return _connected(file, "mode=ro&immutable=1"), trouble


def _connected(file: Path, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"{file.as_uri()}?{mode}", uri=True)
    database.row_factory = sqlite3.Row
    # A file shorter than its header says is refused at the door, unless the schema counts as writable.
    database.execute("PRAGMA writable_schema=ON")
    return database


def _rows(database: sqlite3.Connection, file: Path) -> Iterator[Any]:
    """Topic, time and content of every row; only their numbers are sorted, where there is no index of times."""
    if _is_cut_off(file):
        yield from database.execute(AS_WRITTEN)
        return
    for number, in database.execute(BY_TIME):
        yield database.execute(ONE_ROW, (number,)).fetchone()


def _is_cut_off(file: Path) -> bool:
    """Whether the file is shorter than its header says."""
    with file.open("rb") as stream:
        head = stream.read(100)
    page_size, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    return file.stat().st_size < (page_size if page_size > 1 else 65536) * pages
