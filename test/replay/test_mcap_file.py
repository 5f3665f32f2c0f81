"""MCAP files of every form, sound and damaged."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from mcap.writer import CompressionType, Writer
from odd_bags import FORMS, LATCHED, TEXT, read_mcap, text, write_mcap

from derain_ros.replay import mcap_file
from derain_ros.replay.records import Message

NOTES = [text(k) for k in range(40)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_whole(tmp_path: Path, form: str) -> None:
    file = write_mcap(tmp_path / "a.mcap", NOTES, **{"chunk_size": 20_000, **FORMS[form]})
    assert read_mcap(file) == (NOTES, "")
    (topic,) = mcap_file.topics(file)
    assert (topic.name, topic.msgtype, topic.count) == ("/notes", TEXT, 40)
    assert (topic.definition, topic.encoding, topic.serialization) == ("string data", "ros2msg", "cdr")
    assert topic.qos == (LATCHED,)


def test_without_a_profile_or_a_schema(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "a.mcap", NOTES, profile="", schemas={"/notes": ("", "", "", "cdr")})
    assert read_mcap(file) == (NOTES, "")
    assert mcap_file.topics(file)[0].msgtype == ""


def test_a_type_may_lack_its_middle_part(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "a.mcap", NOTES, schemas={"/notes": ("std_msgs/String", "ros2msg", "", "cdr")})
    assert mcap_file.topics(file)[0].msgtype == TEXT


def test_an_empty_one(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "a.mcap", [])
    assert (read_mcap(file), mcap_file.topics(file)) == (([], ""), [])


@pytest.mark.parametrize("form", ["plain", "no message index", "no statistics", "no statistics, no message index"])
def test_with_an_index_messages_come_by_their_time(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_file, "NEARBY_BYTES", 0)
    file = write_mcap(tmp_path / "a.mcap", NOTES[::-1], **{"chunk_size": 20_000, **FORMS[form]})
    assert read_mcap(file) == (NOTES, "")


@pytest.mark.parametrize("form", ["no chunks", "no index", "no summary"])
def test_without_an_index_messages_that_are_near_come_by_their_time(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disordered = [*NOTES[:6], NOTES[7], NOTES[6], *NOTES[10:30], NOTES[8], NOTES[9], *NOTES[30:]]
    file = write_mcap(tmp_path / "a.mcap", disordered, **FORMS[form])
    assert read_mcap(file) == (NOTES, "")
    monkeypatch.setattr(mcap_file, "NEARBY_BYTES", 5000)
    found, told = read_mcap(file)
    assert found == [*NOTES[:8], *NOTES[10:28], NOTES[8], NOTES[9], *NOTES[28:]] and not told


def test_what_follows_the_end_is_no_damage(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "a.mcap", NOTES)
    file.write_bytes(file.read_bytes() + bytes(5000))
    assert read_mcap(file) == (NOTES, "")


@pytest.mark.parametrize(
    "options",
    [
        {"compression": CompressionType.NONE},
        {"compression": CompressionType.LZ4},
        {"compression": CompressionType.ZSTD},
        {"use_chunking": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_one_that_is_cut_off_is_read_up_to_the_cut(tmp_path: Path, options: dict[str, Any], share: float) -> None:
    # Random bytes, so that the compressed ones are as long.
    notes = [Message("/notes", k, Random(k).randbytes(2000)) for k in range(40)]
    file = write_mcap(tmp_path / "a.mcap", notes, chunk_size=20_000, **options)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    found, told = read_mcap(file)
    assert found == notes[: len(found)]
    # A compressed chunk of ten may give nothing before its end.
    assert len(found) >= 40 * share - (2 if options.get("compression") in (None, CompressionType.NONE) else 11)
    assert "a.mcap is damaged: it is cut off or broken at byte" in told and "copy it again" in told
    assert sum(topic.count for topic in mcap_file.topics(file)) == len(found)


@pytest.mark.parametrize("form", ["plain", "zstd", "no index", "no summary"])
def test_a_wrong_byte_costs_no_more_than_its_chunk(tmp_path: Path, form: str) -> None:
    notes = [Message("/notes", k, Random(k).randbytes(2000)) for k in range(40)]
    file = write_mcap(tmp_path / "a.mcap", notes, **{"chunk_size": 20_000, **FORMS[form]})
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    found, told = read_mcap(file)
    lost = [note for note in notes if note not in found]
    assert 5 < len(lost) <= 10 and found == [note for note in notes if note not in lost]
    assert "a.mcap is damaged: it is cut off or broken at byte" in told


def test_a_wrong_index_costs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "a.mcap").open("wb") as stream:
        writer = Writer(stream, chunk_size=20_000)
        writer.start("ros2", "")
        channel = writer.register_channel("/notes", "cdr", 0)
        for note in NOTES:
            writer.add_message(channel, note.stamp_ns, note.data, note.stamp_ns)
        writer._Writer__chunk_indices[2].chunk_start_offset += 7
        writer.finish()
    found, told = read_mcap(tmp_path / "a.mcap")
    assert found == NOTES and told == "a.mcap is damaged: its index is wrong; copy it again"


def test_messages_that_the_index_does_not_lead_to_are_told(tmp_path: Path) -> None:
    with (tmp_path / "a.mcap").open("wb") as stream:
        writer = Writer(stream)
        writer.start("ros2", "")
        channel = writer.register_channel("/notes", "cdr", 0)
        writer.add_message(channel, 1, b"\0\1\0\0", 1)
        writer._Writer__statistics.message_count = 3
        writer.finish()
    found, told = read_mcap(tmp_path / "a.mcap")
    assert len(found) == 1 and "2 of 3 messages are missing" in told
