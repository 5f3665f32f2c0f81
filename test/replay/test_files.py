"""Which files are a bag, and what its metadata.yaml is taken for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from odd_bags import LATCHED, text, write_mcap, write_sqlite
from rosbags.rosbag2.metadata import dump_qos_v8, dump_qos_v9

from derain_ros.replay import files
from derain_ros.replay.records import ReplayError


def folder(tmp_path: Path, *names: str, **information: Any) -> Path:
    """A folder with these files and, where something is said of it, a metadata.yaml."""
    bag = tmp_path / "bag"
    bag.mkdir()
    for name in names:
        (bag / name).write_bytes(b"\x89MCAP0\r\n")
    if information:
        (bag / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))
    return bag


def names(bag: Path) -> list[str]:
    return [file.name for file in files.find(bag).files]


def test_without_metadata_numbers_give_the_order(tmp_path: Path) -> None:
    bag = folder(tmp_path, "run_10.mcap", "run_9.mcap", "._run_9.mcap", "notes.txt", "run_9.db3-wal")
    (bag / "run_8.mcap").mkdir()
    assert names(bag) == ["run_9.mcap", "run_10.mcap"]


@pytest.mark.parametrize(
    "written",
    [
        ["b.mcap", "a.mcap"],
        ["bag/b.mcap", "bag/a.mcap"],  # as until version 3
        ["D:\\drives\\bag\\b.mcap", "D:\\drives\\bag\\a.mcap"],
        ["b.mcap.zstd", "a.mcap.zstd"],  # unpacked since
    ],
)
def test_metadata_gives_the_order_and_leaves_out_others(tmp_path: Path, written: list[str]) -> None:
    assert names(folder(tmp_path, "a.mcap", "b.mcap", "copy.mcap", relative_file_paths=written)) == ["b.mcap", "a.mcap"]


@pytest.mark.parametrize(
    ("written", "there"),
    [
        (["b", "a"], ["b.mcap", "a.mcap"]),
        (["b.mcap", "a.mcap"], ["B.MCAP", "A.MCAP"]),
        (["B.MCAP", "A.MCAP"], ["b.mcap", "a.mcap"]),
        (["b.mcap.zstd", "a.mcap.zstd"], ["b.MCAP.ZSTD", "a.MCAP.ZSTD"]),
        (["day/b.mcap", "day/a.mcap"], ["day/b.mcap", "day/a.mcap"]),
        (["day/b", "a"], ["day/b.db3", "a.db3"]),
        (["1/a.mcap", "0/a.mcap"], ["1/a.mcap", "0/a.mcap"]),
        (["b", "a"], ["b", "a"]),
    ],
)
def test_names_in_metadata_find_their_files(tmp_path: Path, written: list[str], there: list[str]) -> None:
    bag = folder(tmp_path, relative_file_paths=written)
    for name in there:
        (bag / name).parent.mkdir(exist_ok=True)
        (bag / name).write_bytes(b"\x89MCAP0\r\n")
    found = files.find(bag)
    assert ([str(f.relative_to(bag)) for f in found.files], found.missing, found.beside) == (there, [], [])


def test_capitals_are_no_other_kind_of_file(tmp_path: Path) -> None:
    assert names(folder(tmp_path, "RUN_1.MCAP", "RUN_0.DB3", "run_2.mcap.ZST")) == [
        "RUN_0.DB3",
        "RUN_1.MCAP",
        "run_2.mcap.ZST",
    ]


@pytest.mark.parametrize("name", ["../secret.mcap", "/etc/passwd", "x" * 5000, "a\0b", "", "."])
def test_metadata_names_nothing_outside_of_the_bag(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.mcap").write_bytes(b"\x89MCAP0\r\n")
    found = files.find(folder(tmp_path, "a.mcap", relative_file_paths=["a.mcap", name]))
    assert ([f.name for f in found.files], found.missing) == (["a.mcap"], [name])


def test_recordings_that_the_metadata_does_not_name_are_known(tmp_path: Path) -> None:
    found = files.find(folder(tmp_path, "run_0.mcap", "run_1.mcap", "copy.mcap", relative_file_paths=["run_0.mcap"]))
    assert ([f.name for f in found.files], found.beside) == (["run_0.mcap", "run_1.mcap"], ["copy.mcap"])


def test_a_folder_of_bags_names_them(tmp_path: Path) -> None:
    for name in ("monday", "tuesday"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.yaml").touch()
    with pytest.raises(ReplayError, match="is not a ROS 2 bag.*there are bags in it: monday, tuesday"):
        files.find(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null")], ids=["pipe", "device"])
def test_a_pipe_is_no_bag(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "bag")
    with pytest.raises(ReplayError, match="bag is a pipe or a device, not a folder or a regular file; name a"):
        files.find(tmp_path / "bag")


def test_files_begun_after_the_metadata_was_written_belong_to_it(tmp_path: Path) -> None:
    bag = folder(
        tmp_path,
        "run_0.mcap",
        "run_1.mcap",
        "run_10.mcap",
        "run_9.mcap",
        "run_9.db3",
        "run 1.mcap",
        relative_file_paths=["run_1.mcap", "run_0.mcap", "run_1.mcap"],
    )
    assert names(bag) == ["run_1.mcap", "run_0.mcap", "run_9.mcap", "run_10.mcap"]


def test_the_metadata_may_stand_for_its_folder(tmp_path: Path) -> None:
    bag = folder(tmp_path, "a.mcap", relative_file_paths=["a.mcap"])
    assert files.find(bag / "metadata.yaml") == files.find(bag)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").mkdir()
    with pytest.raises(ReplayError, match="a.mcap cannot be read: Is a directory"):
        files.is_mcap(tmp_path / "a.mcap")


@pytest.mark.parametrize("paths", [["old_0.mcap", "old_1.mcap"], [], None, "bag_0.mcap", [None]])
def test_files_renamed_or_not_named_are_all_that_are_there(tmp_path: Path, paths: Any) -> None:
    bag = folder(tmp_path, "bag_1.mcap", "bag_0.mcap", relative_file_paths=paths)
    assert names(bag) == ["bag_0.mcap", "bag_1.mcap"]
    assert files.find(bag).missing == []


def test_files_that_are_missing_are_known(tmp_path: Path) -> None:
    found = files.find(folder(tmp_path, "a.mcap", "c.mcap", relative_file_paths=["a.mcap", "b.mcap", "c.mcap"]))
    assert ([f.name for f in found.files], found.missing) == (["a.mcap", "c.mcap"], ["b.mcap"])


def test_metadata_without_files_is_told(tmp_path: Path) -> None:
    bag = folder(tmp_path, relative_file_paths=["a.db3"])
    with pytest.raises(ReplayError, match=r"neither .mcap nor .db3 files, and its metadata.yaml names a.db3"):
        files.find(bag)


def test_of_a_file_packed_and_unpacked_one_is_taken(tmp_path: Path) -> None:
    bag = folder(tmp_path, "a.mcap", "a.mcap.zstd", "b.mcap.zst")
    assert names(bag) == ["a.mcap", "b.mcap.zst"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"rosbag2_bagfile_information: 7",
        b"x: 1",
        b"\tx",
        b"- a\n",
        b"\xff\xfe\xfa",
        b"rosbag2_bagfile_information: {topics_with_message_count: 7}",
    ],
)
def test_metadata_that_says_nothing_is_left_aside(tmp_path: Path, content: bytes) -> None:
    bag = folder(tmp_path, "a.mcap")
    (bag / "metadata.yaml").write_bytes(content)
    assert (names(bag), files.find(bag).qos) == (["a.mcap"], {})


def described(name: str, qos: Any) -> dict[str, Any]:
    return {"topic_metadata": {"name": name, "offered_qos_profiles": qos}, "message_count": 1}


def test_qos_of_every_version_is_understood(tmp_path: Path) -> None:
    bag = folder(
        tmp_path,
        "a.mcap",
        version=10,
        relative_file_paths=["a.mcap"],
        topics_with_message_count=[
            described("/text", dump_qos_v8([LATCHED])),
            described("/list", dump_qos_v9([LATCHED])),
            described("/none", ""),
            described("/part", [{"reliability": "reliable"}]),
            described("/odd", 7),
            {"message_count": 3},
            4,
        ],
    )
    assert files.find(bag).qos == {"/text": (LATCHED,), "/list": (LATCHED,), "/none": (), "/part": (), "/odd": ()}


def test_one_file_has_the_metadata_beside_it_if_that_names_it(tmp_path: Path) -> None:
    bag = folder(
        tmp_path,
        "a.mcap",
        "b.mcap",
        relative_file_paths=["bag/a.mcap"],
        topics_with_message_count=[described("/list", dump_qos_v9([LATCHED]))],
    )
    assert files.find(bag / "a.mcap").qos == {"/list": (LATCHED,)}
    assert files.find(bag / "b.mcap").qos == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"#ROSBAG V2.0\n", "rosbags-convert"),
        (b"\x1f\x8b\x08", "gzip -d"),
        (b"PK\x03\x04", "unzip"),
        (b"\0" * 100, "copied completely"),
    ],
)
def test_what_is_no_recording_is_told_with_what_to_do(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.mcap").write_bytes(content)
    with pytest.raises(ReplayError, match=says) as error:
        files.is_mcap(tmp_path / "a.mcap")
    assert "a.mcap" in str(error.value) and "damaged" not in str(error.value)


def test_the_content_says_what_a_file_is(tmp_path: Path) -> None:
    assert files.is_mcap(write_mcap(tmp_path / "a.db3", [text(1)]))
    assert not files.is_mcap(write_sqlite(tmp_path / "a.mcap", [text(1)]))


@pytest.mark.parametrize(
    "make",
    [
        lambda file: os.mkfifo(file),
        lambda file: file.write_text(
            "rosbag2_bagfile_information:\n  a0: &a0 [x, x]\n"
            + "".join(f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
            + "  relative_file_paths: *a39\n"
        ),
        lambda file: file.write_text("rosbag2_bagfile_information: " + "[" * 3000),
    ],
    ids=["fifo", "bomb", "deep"],
)
def test_hostile_metadata_is_left_aside(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "metadata.yaml")
    assert files._information(tmp_path / "metadata.yaml") == {}
