"""sqlite3 files of every version, sound and damaged."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from odd_bags import LATCHED, TEXT, TYPES, text, write_sqlite

from derain_ros.replay import sqlite_file
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.records import Message, ReplayError

NOTES = [text(k) for k in range(40)]


@pytest.mark.parametrize("schema", [1, 2, 3, 4, 5])
def test_every_version_is_read_whole(tmp_path: Path, schema: int) -> None:
    file = write_sqlite(tmp_path / "a.db3", NOTES, schema)
    assert list(sqlite_file.messages(file)) == NOTES
    (topic,) = sqlite_file.topics(file)
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
        database.executemany(
            "INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)",
            [(m.stamp_ns, m.data) for m in NOTES[20:]],
        )
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
    with pytest.raises(ReplayError, match=r"are in a #1.db3-wal, which cannot be used .*write to"):
        for message in sqlite_file.messages(unended):
            found.append(message)
    assert found == NOTES[:20]


def test_another_database_is_not_called_damaged(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db3")) as database:
        database.execute("CREATE TABLE songs(name TEXT)")
    for read in (sqlite_file.topics, sqlite_file.messages):
        with pytest.raises(ReplayError, match="not a recording of rosbag2: it has no table `topics`"):
            list(read(tmp_path / "a.db3"))


def changed(tmp_path: Path, *statements: str, text: bytes = b"") -> Path:
    """A recording changed by these; `?` in them is the text."""
    file = write_sqlite(tmp_path / "a.db3", NOTES[:5])
    with closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            database.execute(statement, (text,) * statement.count("?"))
    return file


@pytest.mark.parametrize("name", ["topics", "messages", "message_definitions"])
def test_a_view_is_not_read_as_it_may_have_rows_without_end(tmp_path: Path, name: str) -> None:
    file = changed(
        tmp_path, f"ALTER TABLE {name} RENAME TO former", f"CREATE VIEW {name} AS SELECT rowid, * FROM former"
    )
    for read in (sqlite_file.topics, sqlite_file.messages):
        with pytest.raises(
            ReplayError, match=f"a.db3 is not a recording of rosbag2: its `{name}` is a view, not a table"
        ):
            list(read(file))


@pytest.mark.parametrize(
    ("statement", "lacks"),
    [
        ("ALTER TABLE messages RENAME TO records", "no table `messages`"),
        ("DROP TABLE topics", "no table `topics`"),
        ("ALTER TABLE messages RENAME COLUMN data TO payload", "no column `data` in its table `messages`"),
        ("ALTER TABLE messages RENAME COLUMN topic_id TO topic", "no column `topic_id` in its table `messages`"),
        ("ALTER TABLE topics DROP COLUMN type", "no column `type` in its table `topics`"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, statement: str, lacks: str) -> None:
    file = changed(tmp_path, statement)
    for read in (sqlite_file.topics, sqlite_file.messages):
        with pytest.raises(ReplayError, match=f"a.db3 is not a recording of rosbag2: it has {lacks}"):
            list(read(file))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE topics SET name = CAST(name AS BLOB), type = CAST(type AS BLOB)",
        "UPDATE topics SET serialization_format = CAST(serialization_format AS BLOB)",
        "UPDATE topics SET offered_qos_profiles = CAST(offered_qos_profiles AS BLOB)",
        "UPDATE message_definitions SET encoded_message_definition = CAST(encoded_message_definition AS BLOB)",
        "UPDATE messages SET data = CAST(data AS TEXT)",
        "UPDATE messages SET timestamp = CAST(timestamp AS REAL)",
        "ALTER TABLE topics DROP COLUMN type_description_hash",
    ],
)
def test_types_of_values_do_not_matter(tmp_path: Path, statement: str) -> None:
    file = changed(tmp_path, statement)
    assert list(sqlite_file.messages(file)) == NOTES[:5]
    (topic,) = sqlite_file.topics(file)
    assert (topic.name, topic.msgtype, topic.count, topic.serialization) == ("/notes", TEXT, 5, "cdr")
    assert (topic.definition, topic.encoding, topic.qos) == ("string data", "ros2msg", (LATCHED,))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE message_definitions SET encoding = NULL, encoded_message_definition = NULL",
        "UPDATE message_definitions SET encoding = CAST(? AS TEXT)",
        "DROP TABLE message_definitions",
        "ALTER TABLE message_definitions RENAME COLUMN topic_type TO kind",
        "UPDATE topics SET offered_qos_profiles = CAST(? AS TEXT)",
        "UPDATE topics SET type_description_hash = CAST(? AS TEXT)",
        "ALTER TABLE topics DROP COLUMN serialization_format",
    ],
)
def test_what_is_said_of_a_type_may_be_missing_or_garbled(tmp_path: Path, statement: str) -> None:
    file = changed(tmp_path, statement, text=b"\xff\xfe\xfa")
    with BagReader(file) as reader, BagWriter(tmp_path / "out") as writer:
        writer.add(reader.topics["/notes"])
        assert [reader.decode(message).data[:6] for message in reader.messages()] == [f"note {k}" for k in range(5)]
    assert (reader.damage, reader.notes) == ("", [])


def test_a_name_that_is_no_utf8_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    file = changed(tmp_path, "UPDATE topics SET name = CAST(? AS TEXT)", text=b"/n\xff")
    assert sqlite_file.topics(file)[0].name == "/n\ufffd"
    assert {message.topic for message in sqlite_file.messages(file)} == {"/n\ufffd"}


@pytest.mark.parametrize(("column", "readable"), [("encoding", True), ("offered_qos_profiles", False)])
def test_the_name_of_a_column_that_is_no_utf8_is_told(tmp_path: Path, column: str, readable: bool) -> None:
    file = write_sqlite(tmp_path / "a.db3", NOTES[:5])
    name = column.encode()
    assert name in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(name, b"\x80" + name[1:], 1))
    if readable:  # of the definitions of messages, which may be missing
        assert len(list(sqlite_file.messages(file))) == 5 and sqlite_file.topics(file)
    else:
        assert sqlite_file.topics(file) == []
        with pytest.raises(ReplayError, match="a.db3 is damaged"):
            list(sqlite_file.messages(file))


def test_a_broken_page_ends_the_reading(tmp_path: Path) -> None:
    file = write_sqlite(tmp_path / "a.db3", [text(k) for k in range(400)])
    data = bytearray(file.read_bytes())
    at = data.find(b"note 200 ") & ~4095
    data[at : at + 4096] = b"\xff" * 4096
    file.write_bytes(data)
    found = []
    with pytest.raises(ReplayError, match="a.db3 is damaged: it can be read up to row .*copy it again"):
        for message in sqlite_file.messages(file):
            found.append(message)
    assert 150 < len(found) <= 200 and found == [text(k) for k in range(len(found))]
