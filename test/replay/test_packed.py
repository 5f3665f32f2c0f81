"""What is compressed is unpacked within bounds: bags of few bytes that claim to be many."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.records import Chunk, Footer
from odd_bags import FORMS, read_mcap, text, write_mcap, write_sqlite

from derain_ros.replay import mcap_file, mcap_records, packed
from derain_ros.replay.bag import BagReader
from derain_ros.replay.files import MCAP_MAGIC
from derain_ros.replay.records import Message, ReplayError

NOTES = [text(k) for k in range(40)]
BOUND = 100_000
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
    # A frame that does not say how much is in it.
    "zstd of unknown size": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "lz4 of unknown size": lambda data: lz4.frame.compress(data, store_size=False),
}


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that a test exceeds at once."""
    monkeypatch.setattr(packed, "MOST_BYTES", BOUND)
    monkeypatch.setattr(mcap_records, "MOST_BYTES", BOUND)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "no chunks"])
@pytest.mark.parametrize("indexed", [True, False])
def test_what_is_too_large_is_passed_over(tmp_path: Path, bounded: None, compression: str, indexed: bool) -> None:
    bomb = Message("/notes", NOTES[20].stamp_ns, bytes(5 * BOUND))
    options = {**FORMS["plain" if indexed else "no index"], **FORMS[compression]}
    file = write_mcap(tmp_path / "a.mcap", [*NOTES[:20], bomb, *NOTES[21:]], **{"chunk_size": 20_000, **options})
    found, told = read_mcap(file)
    # What lies in one chunk with it is lost, too.
    assert len(found) >= 25 and found[-1] == NOTES[-1] and found == [note for note in NOTES if note in found]
    assert "a.mcap has a chunk or message of more than 0 MiB at byte" in told and "smaller chunks" in told
    assert "damaged" not in told


@pytest.mark.parametrize("claim", [10, 1 << 50])
@pytest.mark.parametrize("packer", PACKERS)
def test_what_a_chunk_says_of_its_size_is_not_believed(bounded: None, claim: int, packer: str) -> None:
    compression, _, _ = packer.partition(" ")
    chunk = Chunk(compression, PACKERS[packer](bytes(5 * BOUND)), 0, 0, 0, claim)
    with pytest.raises(packed.TooLarge):
        list(mcap_records.records_in(chunk))


def chunked(data: bytes) -> bytes:
    """A file of one chunk that holds this, without an end."""
    record = RecordBuilder()
    Chunk("zstd", zstandard.compress(data), 0, 0, 0, len(data)).write(record)
    return bytes(MCAP_MAGIC + record.end())


@pytest.mark.parametrize("zeros", ["in the file", "in a chunk", "in the summary"])
def test_zeros_end_the_reading(tmp_path: Path, zeros: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.mcap"
    if zeros == "in the file":
        file.write_bytes(MCAP_MAGIC + bytes(90_000))
    elif zeros == "in a chunk":
        file.write_bytes(chunked(bytes(90_000)))
    else:
        record = RecordBuilder()
        Footer(len(MCAP_MAGIC), 0, 0).write(record)
        file.write_bytes(MCAP_MAGIC + bytes(90_000) + record.end() + MCAP_MAGIC)
    heads = 0
    read8 = mcap_records.ReadDataStream.read8

    def counted(stream: mcap_records.ReadDataStream) -> int:
        nonlocal heads
        heads += 1
        return int(read8(stream))

    monkeypatch.setattr(mcap_records.ReadDataStream, "read8", counted)
    found, told = read_mcap(file)
    assert found == [] and "a.mcap is damaged: it is cut off or broken at byte 8" in told
    assert heads < 50  # of 10 000


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_message_that_is_too_large_ends_its_file(tmp_path: Path, bounded: None, storage: str) -> None:
    write = write_mcap if storage == "mcap" else write_sqlite
    notes = [replace(note, data=zstandard.compress(note.data)) for note in NOTES]
    notes[30] = replace(notes[30], data=zstandard.compress(bytes(5 * BOUND)))
    with BagReader(write(tmp_path / "a", notes)) as reader:
        assert list(reader.messages()) == NOTES[:30]
    assert "a message on /notes at 1.030 s is too large when decompressed: more than 100000 bytes" in reader.damage


def test_messages_that_wait_to_be_sorted_are_bounded_with_an_index_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_mcap(tmp_path / "a.mcap", NOTES[::-1], chunk_size=200_000)
    assert read_mcap(file) == (NOTES, "")
    monkeypatch.setattr(mcap_file, "MOST_BYTES", 20_000)
    found, told = read_mcap(file)
    assert found != NOTES and sorted(found, key=lambda note: note.stamp_ns) == NOTES and told == ""


def test_a_packed_file_is_unpacked_as_far_as_it_goes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    content = zstandard.compress(data[:500_000]) + zstandard.compress(data[500_000:])  # of several frames
    file, made = tmp_path / "a.mcap.zstd", tmp_path / "a.mcap"
    file.write_bytes(content)
    packed.unpack(file, made)
    assert made.read_bytes() == data
    file.write_bytes(content[:-20])
    packed.unpack(file, made)
    assert 500_000 <= made.stat().st_size < len(data) and data.startswith(made.read_bytes())


def test_a_file_that_unpacks_to_more_than_a_recording_is_refused(
    tmp_path: Path, bounded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "PIECE_BYTES", 10_000)
    file = tmp_path / "a.mcap.zstd"
    file.write_bytes(zstandard.compress(bytes(5_000_000)))
    with pytest.raises(ReplayError, match=r"a.mcap.zstd cannot be unpacked .*more than 0 MiB.*`zstd -d`"):
        packed.unpack(file, tmp_path / "a.mcap")
    assert list(tmp_path.iterdir()) == [file]
    file.write_bytes(zstandard.compress(bytes(range(256)) * 1000))  # beyond the bound, but of a usual ratio
    packed.unpack(file, tmp_path / "a.mcap")
    assert (tmp_path / "a.mcap").stat().st_size == 256_000


def test_without_room_to_unpack_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.db3.zstd"
    file.write_bytes(zstandard.compress(b"x"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=packed.KEEP_FREE_BYTES))
    with pytest.raises(ReplayError, match="a.db3.zstd cannot be unpacked.*the disk is full.*`zstd -d`.*TMPDIR"):
        packed.unpack(file, tmp_path / "a.db3")
    assert list(tmp_path.iterdir()) == [file]

    def full(path: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(ReplayError, match="a.db3.zstd cannot be unpacked.*No space left.*`zstd -d`.*TMPDIR"):
        packed.unpack(file, tmp_path / "a.db3")
