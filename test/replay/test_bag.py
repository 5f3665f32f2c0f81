"""Bags that are whole, and what is read of bags that are not."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from odd_bags import LATCHED, TEXT, text, write_mcap, write_sqlite
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosReliability
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.records import Message, ReplayError, Topic

TYPES = get_typestore(Stores.ROS2_JAZZY)
Write = Callable[..., Path]


def contents(path: Path) -> tuple[list[Message], str]:
    with BagReader(path) as reader:
        return list(reader.messages()), reader.damage


def one_file(bag: Path) -> Path:
    return next(f for f in bag.iterdir() if f.suffix in (".mcap", ".db3"))


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


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
    assert read == whole[: len(read)]
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


def test_broken_bytes_in_the_middle_cost_no_more_than_is_near(write_bag: Write) -> None:
    bag = write_bag(frames=1200)
    file = one_file(bag)
    data = bytearray(file.read_bytes())
    at = len(data) // 2
    data[at : at + 4000] = bytes(4000)
    file.write_bytes(data)
    read, damage = contents(bag)
    assert 5000 < len(read) < 6000
    assert f"{len(read)} messages were read" in damage


@pytest.mark.parametrize(
    ("offset", "wrong"),
    [
        (0, b"\xff\xfe"),  # no UTF-8
        (-4, b"\xff\xff\xff\x7f"),  # a length that leads out of the record
    ],
)
def test_wrong_bytes_in_a_record_of_a_cut_bag_are_no_failure(write_bag: Write, offset: int, wrong: bytes) -> None:
    bag = write_bag(frames=400)
    file = one_file(bag)
    data = file.read_bytes()[: file.stat().st_size // 2]
    at = data.find(b"std_msgs/msg/String") + offset
    file.write_bytes(data[:at] + wrong + data[at + len(wrong) :])
    with BagReader(bag) as reader:
        assert "/left/image_raw" in reader.topics
        list(reader.messages())
        assert "broken" in reader.damage


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_damaged_bag_in_a_folder_with_an_odd_name_is_read(write_bag: Write, tmp_path: Path, storage: str) -> None:
    bag = write_bag(storage=storage).rename(tmp_path / "run #1 100% wet?")
    (bag / "metadata.yaml").unlink()
    assert len(contents(bag)[0]) == 50


def compressed(source: Path, bag: Path, mode: CompressionMode, storage: str = "mcap") -> Path:
    """A copy of a bag, compressed as `ros2 bag record` does it."""
    writer = Writer(bag, version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer, Reader(source) as reader:
        made = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=TYPES) for c in reader.connections}
        for connection, stamp, data in reader.messages():
            writer.write(made[connection.id], stamp, data)
    return bag


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_compressed_bags_are_read_whole(
    write_bag: Write, tmp_path: Path, storage: str, metadata: bool, mode: CompressionMode
) -> None:
    source = write_bag()
    bag = compressed(source, tmp_path / "packed", mode, storage)
    file = next(f for f in bag.iterdir() if f.name != "metadata.yaml")
    assert file.name.endswith(".zstd") == (mode is CompressionMode.FILE)
    if not metadata:
        (bag / "metadata.yaml").unlink()
    assert contents(bag) == contents(file) == (contents(source)[0], "")
    with BagReader(bag) as reader:
        unpacked = reader._files[0].parent
    assert unpacked.exists() == (mode is CompressionMode.MESSAGE)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_packed_bag_cut_short_is_read_up_to_the_cut(write_bag: Write, tmp_path: Path, storage: str) -> None:
    source = write_bag(frames=300)
    bag = compressed(source, tmp_path / "packed", CompressionMode.FILE, storage)
    cut(next(bag.glob("*.zstd")), 0.9)
    read, damage = contents(bag)
    assert 900 < len(read) < 1500 and read == contents(source)[0][: len(read)]
    assert "is damaged" in damage


def test_a_message_broken_in_its_compression_is_left_to_the_decoder(tmp_path: Path) -> None:
    broken = Message("/notes", 1, b"\x28\xb5\x2f\xfd no more")
    write_mcap(tmp_path / "a.mcap", [broken, text(2)])
    with BagReader(tmp_path / "a.mcap") as reader:
        first, second = reader.messages()
        assert (first, second, reader.damage) == (broken, text(2), "")
        with pytest.raises(ReplayError, match="/notes"):
            reader.decode(first)


def test_compressed_chunks_cut_short(tmp_path: Path, write_bag: Write) -> None:
    source = write_bag(frames=300)
    bag = compressed(source, tmp_path / "zstd", CompressionMode.STORAGE)
    whole = contents(source)[0]
    cut(one_file(bag), 0.6)
    read, _ = contents(bag)
    assert 0.4 * len(whole) < len(read) < 0.7 * len(whole)
    assert read == whole[: len(read)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p / "nowhere", "does not exist"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "neither .mcap nor .db3 files"),
        (lambda p: (p / "a.bag").write_bytes(b"#ROSBAG") and p / "a.bag", "rosbags-convert"),
        (lambda p: (p / "a.mcap").write_bytes(b"no bag at all") and p / "a.mcap", "copied completely"),
        (lambda p: (p / "a.db3").write_bytes(b"no bag at all") and p / "a.db3", "copied completely"),
    ],
)
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
        channels = [
            writer.add_connection("/flag", "std_msgs/msg/Bool", typestore=TYPES, offered_qos_profiles=qos)
            for qos in ((), (LATCHED,))
        ]
        for stamp in range(1, 6):
            writer.write(channels[stamp % 2], stamp, b"\0\1\0\0\1")
    with BagReader(path) as reader:
        assert reader.topics["/flag"].count == len(list(reader.messages())) == 5
        assert not reader.damage


@pytest.mark.parametrize(
    "column",
    [
        "timestamp = 'soon'",
        "timestamp = NULL",
        "data = NULL",
        "data = 7",
        "topic_id = 99",
        "topic_id = NULL",
        "timestamp = -1",
        "timestamp = 9e999",
    ],
)
def test_broken_rows_of_a_damaged_bag_are_left_out(write_bag: Write, column: str) -> None:
    bag = write_bag(storage="sqlite3")
    whole = contents(bag)[0]
    with closing(sqlite3.connect(one_file(bag))) as database:
        database.executescript(
            "CREATE TABLE loose AS SELECT * FROM messages; DROP TABLE messages;"
            f"ALTER TABLE loose RENAME TO messages; UPDATE messages SET {column} WHERE id = 7"
        )
    (bag / "metadata.yaml").unlink()
    with BagReader(bag) as reader:
        assert list(reader.messages()) == whole[:6] + whole[7:]
        assert "49 messages were read" in reader.damage


def test_a_message_of_garbage_is_refused(write_bag: Write) -> None:
    with BagReader(write_bag()) as reader, pytest.raises(ReplayError, match="/left/image_raw"):
        reader.decode(Message("/left/image_raw", 0, b"\0\1\0\0abc"))


@pytest.mark.parametrize("write", [write_mcap, write_sqlite])
@pytest.mark.parametrize("name", ["run #1 100% wet?", "a b/\u00fcber\nbag", "bag.mcap", "bag.db3"])
def test_folders_of_any_name_are_read(tmp_path: Path, write: Write, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    file = write(tmp_path / name / f"{Path(name).name}_0{'.mcap' if write is write_mcap else '.db3'}", [text(1)])
    assert contents(tmp_path / name) == contents(file) == ([text(1)], "")
    with BagWriter(tmp_path / name / "copy of # ?") as writer:
        writer.add(Topic("/notes", TEXT, 0))
        writer.write(text(1))
    assert contents(tmp_path / name / "copy of # ?") == ([text(1)], "")


def test_split_files_of_which_some_cannot_be_read(tmp_path: Path) -> None:
    parts = [[text(10 * k + n) for n in range(10)] for k in range(4)]
    for k, part in enumerate(parts):
        write_mcap(tmp_path / f"run_{k}.mcap", part)
    assert contents(tmp_path) == (sum(parts, []), "")
    with BagReader(tmp_path) as reader:
        assert reader.topics["/notes"].count == 40
    cut(tmp_path / "run_0.mcap", 0.1)
    (tmp_path / "run_1.mcap").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:77\nsize 9\n")
    (tmp_path / "run_3.mcap").write_bytes(b"")
    read, damage = contents(tmp_path)
    assert read[-10:] == parts[2] and len(read) < 20
    assert "run_0.mcap is damaged" in damage and "run_1.mcap is a Git LFS pointer" in damage
    assert "run_3.mcap is empty" in damage and f"{len(read)} messages were read" in damage


def test_a_missing_part_is_told_without_calling_the_others_damaged(tmp_path: Path) -> None:
    write_mcap(tmp_path / "run_0.mcap", [text(1)])
    (tmp_path / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  relative_file_paths: [run_0.mcap, run_1.mcap]\n"
    )
    read, damage = contents(tmp_path)
    assert read == [text(1)] and "run_1.mcap is missing, although metadata.yaml names it" in damage
    assert "damaged" not in damage


@pytest.mark.parametrize("write", [write_mcap, write_sqlite])
def test_an_empty_bag_is_a_bag(tmp_path: Path, write: Write) -> None:
    with BagReader(write(tmp_path / "a bag", [])) as reader:
        assert (list(reader.messages()), reader.damage) == ([], "")
        assert all(topic.count == 0 for topic in reader.topics.values())


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize(
    "change",
    [
        ("version: 9", "version: 11"),
        ("storage_identifier: ", "storage_identifier: x"),
        ("message_count: 50", "message_count: 700"),
        ("metadata", "meta_data"),
    ],
)
def test_metadata_of_another_version_or_edited_is_no_damage(
    write_bag: Write, storage: str, change: tuple[str, str]
) -> None:
    bag = write_bag(storage=storage)
    whole = contents(bag)
    file = bag / "metadata.yaml"
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    assert contents(bag) == whole and whole[1] == ""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_qos_is_that_of_the_metadata_or_that_of_the_file(tmp_path: Path, storage: str) -> None:
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        writer.add_connection("/tf_static", "tf2_msgs/msg/TFMessage", typestore=TYPES, offered_qos_profiles=[LATCHED])
    metadata = path / "metadata.yaml"
    whole = metadata.read_text()

    def profiles() -> tuple[object, ...]:
        with BagReader(path) as reader:
            return reader.topics["/tf_static"].qos

    assert profiles() == (LATCHED,)
    metadata.write_text(whole.replace("reliability: reliable", "reliability: best_effort"))
    assert profiles() == (LATCHED._replace(reliability=QosReliability.BEST_EFFORT),)
    metadata.write_text(whole.replace("offered_qos_profiles:", "offered_qos_profiles: ''\n      was:"))
    assert profiles() == (LATCHED,)
    metadata.unlink()
    assert profiles() == (LATCHED,)


def copied(source: Path, output: Path) -> Path:
    """What `derain replay` makes of the topics that it only keeps."""
    with BagReader(source) as reader, BagWriter(output) as writer:
        for topic in reader.topics.values():
            writer.add(topic)
        for message in reader.messages():
            writer.write(message)
    return output


INCLUDE = '#include "kitchen_msgs/msg/Taste.idl"'
IDL = f"""{80 * "="}
IDL: kitchen_msgs/msg/Soup
{INCLUDE}
module kitchen_msgs {{ module msg {{ struct Soup {{ kitchen_msgs::msg::Taste taste; }}; }}; }};
{80 * "="}
IDL: kitchen_msgs/msg/Taste
module kitchen_msgs {{ module msg {{ struct Taste {{ uint8 salt; }}; }}; }};
"""


@pytest.mark.parametrize(
    ("encoding", "definition", "salt"),
    [
        ("ros2idl", IDL, lambda soup: soup.taste.salt),
        ("ros2idl", IDL.replace(INCLUDE, ""), lambda soup: soup.taste.salt),
        ("omgidl", "module kitchen_msgs { module msg { struct Soup { uint8 salt; }; }; };", lambda soup: soup.salt),
        ("ros2msg", "uint8 salt\n", lambda soup: soup.salt),
    ],
)
def test_definitions_keep_their_encoding(
    tmp_path: Path, encoding: str, definition: str, salt: Callable[[object], int]
) -> None:
    source = write_mcap(
        tmp_path / "a.mcap",
        [Message("/soup", 1, b"\0\1\0\0\7")],
        schemas={"/soup": ("kitchen_msgs/msg/Soup", encoding, definition, "cdr")},
    )
    copy = copied(source, tmp_path / "copy")
    for bag in (source, copy):
        with BagReader(bag) as reader:
            (topic,) = reader.topics.values()
            assert (topic.msgtype, topic.encoding, topic.definition) == ("kitchen_msgs/msg/Soup", encoding, definition)
            assert [salt(reader.decode(message)) for message in reader.messages()] == [7]
    if INCLUDE not in definition:  # which rosbags cannot parse
        with AnyReader([copy]) as reader:
            ((connection, _, data),) = reader.messages()
            assert salt(reader.deserialize(data, connection.msgtype)) == 7


def test_types_of_another_distribution_keep_their_definition(tmp_path: Path) -> None:
    old = get_typestore(Stores.ROS2_GALACTIC)
    name = "visualization_msgs/msg/Marker"
    assert old.fielddefs[name] != TYPES.fielddefs[name]
    definition = old.generate_msgdef(name, ros_version=2)[0]
    make = old.types
    zero = make["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
    value = make[name](
        header=make["std_msgs/msg/Header"](stamp=zero, frame_id="map"),
        ns="lane",
        id=7,
        type=9,
        action=0,
        pose=make["geometry_msgs/msg/Pose"](
            position=make["geometry_msgs/msg/Point"](x=1.0, y=2.0, z=3.0),
            orientation=make["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
        ),
        scale=make["geometry_msgs/msg/Vector3"](x=1.0, y=1.0, z=1.0),
        color=make["std_msgs/msg/ColorRGBA"](r=1.0, g=0.0, b=0.0, a=1.0),
        lifetime=make["builtin_interfaces/msg/Duration"](sec=0, nanosec=0),
        frame_locked=False,
        points=[],
        colors=[],
        text="stop line",
        mesh_resource="",
        mesh_use_embedded_materials=True,
    )
    source = write_mcap(
        tmp_path / "a.mcap",
        [Message("/marker", 1, bytes(old.serialize_cdr(value, name)))],
        schemas={"/marker": (name, "ros2msg", definition, "cdr")},
    )
    copy = copied(source, tmp_path / "copy")
    for bag in (source, copy):
        with BagReader(bag) as reader:
            assert [reader.decode(message).text for message in reader.messages()] == ["stop line"]
    with AnyReader([copy]) as reader:
        ((connection, _, data),) = reader.messages()
        assert reader.deserialize(data, name).text == "stop line" and connection.msgdef.data == definition


def test_one_type_may_have_two_definitions(tmp_path: Path) -> None:
    schemas = {
        f"/{k}": ("kitchen_msgs/msg/Soup", "ros2msg", f"uint8 {name}\n", "cdr")
        for k, name in enumerate(("salt", "pepper"))
    }
    messages = [Message(topic, 1, b"\0\1\0\0\7") for topic in schemas]
    with BagReader(copied(write_mcap(tmp_path / "a.mcap", messages, schemas=schemas), tmp_path / "copy")) as reader:
        salty, peppery = map(reader.decode, reader.messages())
    assert (salty.salt, peppery.pepper) == (7, 7)


def test_a_definition_that_cannot_be_parsed_does_no_harm(tmp_path: Path) -> None:
    schemas = {"/notes": (TEXT, "ros2msg", "no definition at all!", "cdr")}
    copy = copied(write_mcap(tmp_path / "a.mcap", [text(1)], schemas=schemas), tmp_path / "copy")
    with BagReader(copy) as reader:
        assert [reader.decode(m).data.split(".")[0] for m in reader.messages()] == ["note 1 "]
        assert reader.topics["/notes"].definition == "no definition at all!"


@pytest.mark.parametrize(("schema", "encoding"), [(1, ""), (4, "unknown")])
def test_without_a_definition_that_of_jazzy_is_written(tmp_path: Path, schema: int, encoding: str) -> None:
    copy = copied(write_sqlite(tmp_path / "a.db3", [text(1)], schema, encoding=encoding), tmp_path / "copy")
    with AnyReader([copy]) as reader:
        ((connection, _, data),) = reader.messages()
        assert reader.deserialize(data, connection.msgtype).data.startswith("note 1")


def test_a_type_of_which_nothing_is_known_is_written(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(Topic("/soup", "kitchen_msgs/msg/Soup", 0, encoding="unknown"))
    with Reader(tmp_path / "bag") as reader:
        (connection,) = reader.connections
    assert (connection.msgtype, connection.msgdef.data) == ("kitchen_msgs/msg/Soup", "")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_definition_may_lie_in_one_of_the_files(tmp_path: Path, order: tuple[int, int]) -> None:
    for number, definition in zip(order, ("uint8 salt\n", ""), strict=True):
        write_mcap(
            tmp_path / f"run_{number}.mcap",
            [Message("/soup", 1, b"\0\1\0\0\7")],
            schemas={"/soup": ("kitchen_msgs/msg/Soup", "ros2msg", definition, "cdr")},
        )
    with BagReader(tmp_path) as reader:
        assert reader.topics["/soup"].count == 2
        assert [reader.decode(message).salt for message in reader.messages()] == [7, 7]


def test_a_type_with_another_hash_than_in_jazzy_is_given_no_definition(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(Topic("/notes", TEXT, 0, digest="RIHS01_" + 64 * "7"))
    with Reader(tmp_path / "bag") as reader:
        (connection,) = reader.connections
    assert (connection.msgdef.data, connection.digest) == ("", "RIHS01_" + 64 * "7")


def test_service_events_are_kept(tmp_path: Path) -> None:
    name = "std_srvs/srv/SetBool_Event"
    definition = (
        "service_msgs/ServiceEventInfo info\nstd_srvs/SetBool_Request[<=1] request\n"
        "std_srvs/SetBool_Response[<=1] response\n"
    )
    events = [Message("/enable/_service_event", k, bytes([0, 1, 0, 0, k])) for k in range(5)]
    source = write_mcap(
        tmp_path / "a.mcap", events, schemas={"/enable/_service_event": (name, "ros2msg", definition, "cdr")}
    )
    assert contents(copied(source, tmp_path / "copy")) == (events, "")


def test_messages_of_no_stated_encoding_count_as_cdr(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "a.mcap", [text(1)], schemas={"/notes": (TEXT, "ros2msg", "string data", "")})
    with Reader(copied(file, tmp_path / "copy")) as reader:
        (connection,) = reader.connections
    assert connection.ext.serialization_format == "cdr"


def test_topics_that_are_not_in_cdr_are_left_out(tmp_path: Path) -> None:
    schemas = {"/plan": ("plan", "jsonschema", "{}", "json")}
    file = write_mcap(tmp_path / "a.mcap", [text(1), Message("/plan", 2, b"{}"), text(3)], schemas=schemas)
    with BagReader(file) as reader:
        assert (list(reader.topics), reader.left_out) == (["/notes"], {"/plan": "json"})
        assert (list(reader.messages()), reader.damage) == ([text(1), text(3)], "")
    file = write_mcap(
        tmp_path / "b.mcap",
        [Message("/a", 1, b"7")],
        profile="ros1",
        schemas={"/a": ("std_msgs/String", "ros1msg", "string data", "ros1")},
    )
    with pytest.raises(ReplayError, match="not in CDR but in ros1; convert it"):
        BagReader(file)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_stretches_of_time_have_each_message_once(write_bag: Callable[..., Path], storage: str) -> None:
    with BagReader(write_bag(storage=storage)) as reader:
        every = list(reader.messages())
        first = every[0].stamp_ns
        parts = [list(reader.messages(first + k * 130_000_000, first + (k + 1) * 130_000_000)) for k in range(4)]
        assert [message for part in parts for message in part] == every and all(parts)
        assert list(reader.messages(first + 130_000_000)) == [message for part in parts[1:] for message in part]
        assert not reader.damage
