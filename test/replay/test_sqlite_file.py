"""sqlite3 files of every version, sound and damaged."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from odd_bags import LATCHED, TEXT, TYPES, text, write_sqlite

from derain_ros.replay import sqlite_file
from derain_ros.replay.records import Message, ReplayError

NOTES = [text(k) for k in range(40)]


@pytest.mark.parametrize("schema", [1, 2, 3, 4, 5])
def test_every_version_is_read_whole(tmp_path: Path, schema: int) -> None:
    file = write_sqlite(tmp_path / "a.db3", NOTES, schema)
    assert list(sqlite_file.messages(file)) == NOTES
    topic, = sqlite_file.topics(file)
    assert (topic.name, topic.msgtype, topic.count, topic.serialization) == ("/notes", TEXT, 40, "cdr")
    assert topic.qos == ((LATCHED,) if schema >= 2 else ())
    assert (topic.definition, topic.digest) == (("string data", TYPES.hash_rihs01(TEXT)) if schema >= 4 else ("", ""))


@pytest.mark.parametrize("index", [True, False])
def test_messages_come_by_their_time(tmp_path: Path, index: bool) -> None:
    file = write_sqlite(tmp_path / "a.db3", NOTES[::-1], index=index)
    assert list(sqlite_file.messages(file)) == NOTES


@pytest.fixture
def unended(tmp_path: Path) -> Path:
    """A recording that was not ended: half of it lies in the file of the newest."""
    file = write_sqlite(tmp_path / "a #1.db3", NOTES[:20])
    after = tmp_path / "after"
    after.mkdir()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA wal_autocheckpoint=0")
        database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)",
                             [(m.stamp_ns, m.data) for m in NOTES[20:]])
        database.commit()
        for name in (file.name, f"{file.name}-wal"):
            shutil.copy(tmp_path / name, after)
    return after / file.name


def test_the_newest_messages_are_read_too(unended: Path) -> None:
    assert list(sqlite_file.messages(unended)) == NOTES
    assert sqlite_file.topics(unended)[0].count == 40


def test_newest_messages_that_cannot_be_used_are_told(unended: Path) -> None:
    newest = unended.with_name(f"{unended.name}-wal")
    newest.unlink()
    newest.mkdir()
    found: list[Message] = []
    with pytest.raises(ReplayError, match=r"lie in a #1.db3-wal, which cannot be used .*written to"):
        for message in sqlite_file.messages(unended):
            found.append(message)
    assert found == NOTES[:20]


def test_another_database_is_not_called_damaged(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db3")) as database:
        database.execute("CREATE TABLE songs(name TEXT)")
    with pytest.raises(ReplayError, match="no recording of rosbag2"):
        list(sqlite_file.messages(tmp_path / "a.db3"))
    assert sqlite_file.topics(tmp_path / "a.db3") == []


def test_a_broken_page_ends_the_reading(tmp_path: Path) -> None:
    file = write_sqlite(tmp_path / "a.db3", [text(k) for k in range(400)])
    data = bytearray(file.read_bytes())
    at = data.find(b"note 200 ") & ~4095
    data[at:at + 4096] = b"\xff" * 4096
    file.write_bytes(data)
    found = []
    with pytest.raises(ReplayError, match="a.db3 is damaged: it can be read up to row .*copy it again"):
        for message in sqlite_file.messages(file):
            found.append(message)
    assert 150 < len(found) <= 200 and found == [text(k) for k in range(len(found))]
