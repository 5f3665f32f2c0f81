"""Which topics of a bag are read, and what is told of the others."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import Writer
from odd_bags import TEXT, TYPES, text, write_mcap, write_sqlite

from derain_ros.replay.bag import BagReader
from derain_ros.replay.images import header_of
from derain_ros.replay.records import Message


@pytest.mark.parametrize("write", ["mcap", "unindexed", "sqlite3"])
def test_a_topic_of_two_types_keeps_that_of_most_messages(tmp_path: Path, write: str) -> None:
    image, notes = "sensor_msgs/msg/CompressedImage", [text(k, "/left") for k in range(3)]
    pictures = [
        Message(
            "/left",
            2_000_000_000 + k,
            bytes(
                TYPES.serialize_cdr(
                    TYPES.types[image](header=header_of(TYPES, k, ""), format="", data=np.zeros(4, np.uint8)), image
                )
            ),
        )
        for k in range(5)
    ]
    file = tmp_path / "a.mcap"
    if write == "sqlite3":
        write_sqlite(file, notes)
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE topics SET name = '/left'")
            database.execute("INSERT INTO topics SELECT 2, name, ?, serialization_format, '', '' FROM topics", (image,))
            database.executemany(
                "INSERT INTO messages (topic_id, timestamp, data) VALUES (2, ?, ?)",
                [(m.stamp_ns, m.data) for m in pictures],
            )
    else:
        with file.open("wb") as stream:
            writer = Writer(stream, use_chunking=write == "mcap")
            writer.start("ros2", "")
            channels = [
                writer.register_channel("/left", "cdr", writer.register_schema(name, "", b""))
                for name in (TEXT, "sensor_msgs/CompressedImage")
            ]
            for channel, messages in zip(channels, (notes, pictures), strict=True):
                for m in messages:
                    writer.add_message(channel, m.stamp_ns, m.data, m.stamp_ns)
            writer.finish()
    with BagReader(file) as reader:
        assert (reader.topics["/left"].msgtype, reader.topics["/left"].count) == (image, 5)
        found = list(reader.messages())
        assert found == pictures and reader.decode(found[0]).data.size == 4
    assert (reader.damage, reader.notes) == (
        "",
        [f"3 messages of type {TEXT} on /left are not read: a topic has one type, and most are {image}"],
    )


def test_a_topic_without_a_name_is_told_and_left_out(tmp_path: Path) -> None:
    with BagReader(write_mcap(tmp_path / "a.mcap", [text(0, ""), text(1)])) as reader:
        assert list(reader.topics) == ["/notes"] and list(reader.messages()) == [text(1)]
    assert reader.notes == [f"1 messages of type {TEXT} are not read: their topic has no name"]


def test_a_recording_that_the_metadata_does_not_name_is_told(write_bag: Callable[..., Path]) -> None:
    bag = write_bag()
    write_mcap(bag / "other.mcap", [text(0)])
    with BagReader(bag) as reader:
        assert reader.notes == [
            "other.mcap is not read, because metadata.yaml does not name it; to read it, name this file "
            "instead of the folder"
        ]
