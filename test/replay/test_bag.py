"""Bags that are whole, and what is read of bags that are not."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.records import Message, ReplayError, Topic

TYPES = get_typestore(Stores.ROS2_JAZZY)
LATCHED = Qos(QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, QosTime(0, 0),
              QosTime(0, 0), QosLiveliness.AUTOMATIC, QosTime(0, 0), False)
Write = Callable[..., Path]


def contents(path: Path) -> tuple[list[Message], str]:
    with BagReader(path) as reader:
        return list(reader.messages()), reader.damage


def one_file(bag: Path) -> Path:
    return next(f for f in bag.iterdir() if f.suffix in (".mcap", ".db3"))


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:int(len(data) * share)])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_reads_directory_and_file(write_bag: Write, storage: str) -> None:
    bag = write_bag(storage=storage)
    with BagReader(bag) as reader:
        messages = list(reader.messages())
        assert reader.topics["/left/image_raw"].msgtype == "sensor_msgs/msg/Image"
        assert reader.topics["/left/image_raw"].count == 10
        notes = [reader.decode(m).data for m in messages if m.topic == "/notes"]
        assert not reader.damage
    assert notes == [f"note {k}" for k in range(10)]
    assert len(messages) == 50
    assert [m.stamp_ns for m in messages] == sorted(m.stamp_ns for m in messages)
    assert contents(one_file(bag))[0] == messages


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_bag_cut_short_is_read_up_to_the_cut(write_bag: Write, storage: str, share: float) -> None:
    bag = write_bag(frames=1200, storage=storage)
    whole = contents(bag)[0]
    cut(one_file(bag), share)
    read, damage = contents(bag)
    assert (share - 0.15) * len(whole) < len(read) < (share + 0.1) * len(whole)
    assert read == whole[:len(read)]
    assert f"{len(read)} messages were read" in damage
    assert f"{(read[-1].stamp_ns - read[0].stamp_ns) / 1e9:.2f} s" in damage
    assert one_file(bag).name in damage


def test_topics_of_a_cut_bag_are_counted(write_bag: Write) -> None:
    bag = write_bag(frames=400)
    cut(one_file(bag), 0.5)
    with BagReader(bag) as reader:
        counts = Counter(m.topic for m in reader.messages())
        assert {t.name: t.count for t in reader.topics.values()} == dict(counts)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_without_metadata_is_read_whole(write_bag: Write, storage: str) -> None:
    bag = write_bag(storage=storage)
    whole = contents(bag)[0]
    (bag / "metadata.yaml").unlink()
    read, damage = contents(bag)
    assert (read, damage) == (whole, "")


def test_a_broken_byte_in_the_middle_ends_the_reading(write_bag: Write) -> None:
    bag = write_bag(frames=1200)
    file = one_file(bag)
    data = bytearray(file.read_bytes())
    at = len(data) // 2
    data[at:at + 4000] = bytes(4000)
    file.write_bytes(data)
    read, damage = contents(bag)
    assert 0 < len(read) < 6000
    assert f"{len(read)} messages were read" in damage


@pytest.mark.parametrize(("offset", "wrong"), [
    (0, b"\xff\xfe"),  # no UTF-8
    (-4, b"\xff\xff\xff\x7f"),  # a length that leads out of the record
])
def test_wrong_bytes_in_a_record_of_a_cut_bag_are_no_failure(write_bag: Write, offset: int, wrong: bytes) -> None:
    bag = write_bag(frames=400)
    file = one_file(bag)
    data = file.read_bytes()[:file.stat().st_size // 2]
    at = data.find(b"std_msgs/msg/String") + offset
    file.write_bytes(data[:at] + wrong + data[at + len(wrong):])
    with BagReader(bag) as reader:
        assert "/left/image_raw" in reader.topics
        list(reader.messages())
        assert "broken" in reader.damage


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_damaged_bag_in_a_folder_with_an_odd_name_is_read(write_bag: Write, tmp_path: Path, storage: str) -> None:
    bag = write_bag(storage=storage).rename(tmp_path / "run #1 100% wet?")
    (bag / "metadata.yaml").unlink()
    assert len(contents(bag)[0]) == 50


def test_compressed_chunks_cut_short(tmp_path: Path, write_bag: Write) -> None:
    from rosbags.rosbag2 import CompressionFormat, CompressionMode

    source = write_bag(frames=300)
    bag = tmp_path / "zstd"
    writer = Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer, Reader(source) as reader:
        made = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=TYPES) for c in reader.connections}
        for connection, stamp, data in reader.messages():
            writer.write(made[connection.id], stamp, data)
    whole = contents(source)[0]
    cut(one_file(bag), 0.6)
    read, _ = contents(bag)
    assert 0.4 * len(whole) < len(read) < 0.7 * len(whole)
    assert read == whole[:len(read)]


@pytest.mark.parametrize(("make", "says"), [
    (lambda p: p / "nowhere", "does not exist"),
    (lambda p: (p / "empty").mkdir() or p / "empty", "neither .mcap nor .db3 files"),
    (lambda p: (p / "a.bag").write_bytes(b"#ROSBAG") and p / "a.bag", "rosbags-convert"),
    (lambda p: (p / "a.mcap").write_bytes(b"no bag at all") and p / "a.mcap", "copied completely"),
    (lambda p: (p / "a.db3").write_bytes(b"no bag at all") and p / "a.db3", "copied completely"),
])
def test_what_is_no_bag_is_said(tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        BagReader(make(tmp_path))


def test_written_bag_has_metadata_and_schemas(tmp_path: Path) -> None:
    path = tmp_path / "a bag"
    with BagWriter(path) as writer:
        writer.put("/flag", 5, writer.types.types["std_msgs/msg/Bool"](data=True))
        writer.put("/flag", 6, writer.types.types["std_msgs/msg/Bool"](data=False))
    with AnyReader([path]) as reader:
        assert reader.topics["/flag"].msgcount == 2
        assert "bool data" in reader.topics["/flag"].msgdef.data
        assert [reader.deserialize(d, c.msgtype).data for c, _, d in reader.messages()] == [True, False]
    assert "rosbag2_bagfile_information" in (path / "metadata.yaml").read_text()


def test_a_type_unknown_to_ros_is_kept(tmp_path: Path) -> None:
    definition = "uint8 taste\n"
    path, copy = tmp_path / "odd", tmp_path / "copy"
    with BagWriter(path) as writer:
        writer.add(Topic("/odd", "kitchen_msgs/msg/Soup", 0, definition))
        writer.write(Message("/odd", 1, b"\0\1\0\0\7"))
    with BagReader(path) as reader, BagWriter(copy) as writer:
        writer.add(reader.topics["/odd"])
        for message in reader.messages():
            assert reader.decode(message).taste == 7
            writer.write(message)
    shutil.rmtree(path)
    assert contents(copy) == ([Message("/odd", 1, b"\0\1\0\0\7")], "")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="exists already"):
        BagWriter(tmp_path)


def test_a_bag_is_whole_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), BagWriter(tmp_path / "bag") as writer:
        writer.put("/flag", 5, writer.types.types["std_msgs/msg/Bool"](data=True))
        raise RuntimeError("stop")
    assert contents(tmp_path / "bag")[1] == ""


def test_a_full_disk_is_told_at_the_end_too(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    writer = BagWriter(tmp_path / "bag")
    writer._writer.finish = full
    with pytest.raises(ReplayError, match="bag cannot be written: No space left on device"):
        writer.close()


def test_a_latched_topic_stays_latched(tmp_path: Path) -> None:
    path, copy = tmp_path / "bag", tmp_path / "copy"
    with BagWriter(path) as writer:
        writer.add(Topic("/tf_static", "tf2_msgs/msg/TFMessage", 0, qos=(LATCHED,)))
    with BagReader(path) as reader, BagWriter(copy) as writer:
        writer.add(reader.topics["/tf_static"])
    with Reader(copy) as reader:
        assert reader.connections[0].ext.offered_qos_profiles == [LATCHED]


def test_several_channels_of_a_topic_count_together(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        # The writer refuses channels that are alike; two publishers may differ in what they offer.
        channels = [writer.add_connection("/flag", "std_msgs/msg/Bool", typestore=TYPES, offered_qos_profiles=qos)
                    for qos in ((), (LATCHED,))]
        for stamp in range(1, 6):
            writer.write(channels[stamp % 2], stamp, b"\0\1\0\0\1")
    with BagReader(path) as reader:
        assert reader.topics["/flag"].count == len(list(reader.messages())) == 5
        assert not reader.damage


@pytest.mark.parametrize("column", ["timestamp = 'soon'", "timestamp = NULL", "data = NULL", "data = 'text'",
                                    "topic_id = 99"])
def test_broken_rows_of_a_damaged_bag_are_left_out(write_bag: Write, column: str) -> None:
    bag = write_bag(storage="sqlite3")
    whole = contents(bag)[0]
    with closing(sqlite3.connect(one_file(bag))) as database:
        database.executescript("CREATE TABLE loose AS SELECT * FROM messages; DROP TABLE messages;"
                               f"ALTER TABLE loose RENAME TO messages; UPDATE messages SET {column} WHERE id = 7")
    (bag / "metadata.yaml").unlink()
    with BagReader(bag) as reader:
        assert list(reader.messages()) == whole[:6] + whole[7:]
        assert "49 messages were read" in reader.damage


def test_a_message_of_garbage_is_refused(write_bag: Write) -> None:
    with BagReader(write_bag()) as reader, pytest.raises(ReplayError, match="/left/image_raw"):
        reader.decode(Message("/left/image_raw", 0, b"\0\1\0\0abc"))
