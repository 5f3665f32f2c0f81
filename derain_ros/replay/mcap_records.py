"""Reads the records of an MCAP file one after the other; sizes that they claim are limited.

The readers of mcap give none of the messages of a recording that is cut off: 0 of 1200 of one cut at half, of which 600
are read here. By default they also return chunks whose CRC is wrong.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, DataEnd, Footer, McapRecord, Message, Schema, Statistics
from mcap.summary import Summary

from derain_ros.replay.files import MCAP_MAGIC
from derain_ros.replay.packed import MOST_BYTES, PIECE_BYTES, TooLarge, unlz4, unzstd
from derain_ros.replay.records import ReplayError

KINDS: dict[int, Any] = {
    Opcode.SCHEMA: Schema,
    Opcode.CHANNEL: Channel,
    Opcode.MESSAGE: Message,
    Opcode.CHUNK: Chunk,
    Opcode.CHUNK_INDEX: ChunkIndex,
    Opcode.STATISTICS: Statistics,
    Opcode.DATA_END: DataEnd,
    Opcode.FOOTER: Footer,
}
"""The records that are read; all others, such as attachments, are skipped."""
HEAD_BYTES = 9
"""An opcode and a length."""
FOOTER_BYTES = HEAD_BYTES + 20
UNPACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, "zstd": unzstd, "lz4": unlz4}


class Broken(ValueError):
    """There is no valid record `at` that byte."""

    def __init__(self, at: int) -> None:
        super().__init__(f"no record at byte {at}")
        self.at = at


def records_of(file: Path) -> Iterator[McapRecord]:
    """Yield the records of KINDS, those of the summary included, with each chunk replaced by its records.

    Raises ReplayError at the end if something is damaged or too large.
    """
    broken: list[int] = []
    large: list[int] = []
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            ended = False
            for at, record in _walk(stream, size, large, from_magic=True):
                ended = isinstance(record, Footer)
                if not isinstance(record, Chunk):
                    yield record
                    continue
                try:
                    yield from records_in(record)
                except TooLarge:
                    large.append(at)
                except Exception:  # on damaged data the reader raises any exception; what follows may be intact
                    broken.append(at)
            broken += [] if ended else [size]
        except Broken as error:
            broken.append(error.at)
            stream.seek(error.at)
            if stream.read(HEAD_BYTES)[:1] == bytes([Opcode.CHUNK]):
                with suppress(Exception):  # the end of a cut chunk always fails
                    yield from records_in(Chunk.read(ReadDataStream(BytesIO(stream.read(MOST_BYTES)))))
    trouble = []
    if broken:
        trouble.append(
            f"{file.name} is damaged: it is cut off or broken at byte {_some(broken)} of {size}; copy it again from "
            "the original"
        )
    if large:
        trouble.append(
            f"{file.name} has a chunk or message of more than {MOST_BYTES >> 20} MiB at byte {_some(large)}, which is "
            "not read; write the file again with smaller chunks"
        )
    if trouble:
        raise ReplayError("; ".join(trouble))


def records_in(chunk: Chunk) -> Iterator[McapRecord]:
    """Yield the records of a chunk as far as they can be read, then raise any exception if it is damaged.

    Raises TooLarge before the first record.
    """
    if chunk.uncompressed_size > MOST_BYTES:
        raise TooLarge(f"{chunk.uncompressed_size} bytes in a chunk")
    data = UNPACK[chunk.compression](chunk.data)
    # If the chunk is complete and its checksum is wrong, any message in it may be wrong.
    whole = len(data) >= chunk.uncompressed_size
    if whole and chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise Broken(0)
    for _, record in _walk(BytesIO(data), len(data), []):
        yield record
    if not whole:
        raise Broken(len(data))


def chunk_at(stream: BinaryIO, at: int) -> Chunk:
    """Return the chunk that starts at byte `at`; ValueError if there is none."""
    stream.seek(at)
    for found, record in _walk(stream, os.fstat(stream.fileno()).st_size, []):
        if found == at and isinstance(record, Chunk):
            return record
        break
    raise Broken(at)


def summary_of(stream: BinaryIO) -> Summary | None:
    """Return the summary at the end of the file, None if the footer names none; Broken or OSError without a footer."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(size - FOOTER_BYTES - len(MCAP_MAGIC))
    _, footer = next(_walk(stream, size, []))
    if not isinstance(footer, Footer) or not footer.summary_start:
        return None
    stream.seek(footer.summary_start)
    summary = Summary()
    for _, record in _walk(stream, size, []):
        if isinstance(record, Statistics):
            summary.statistics = record
        elif isinstance(record, Schema):
            summary.schemas[record.id] = record
        elif isinstance(record, Channel):
            summary.channels[record.id] = record
        elif isinstance(record, ChunkIndex):
            summary.chunk_indexes.append(record)
    return summary


def _walk(stream: BinaryIO, end: int, large: list[int], from_magic: bool = False) -> Iterator[tuple[int, McapRecord]]:
    """Yield the position and content of each record of KINDS, from the current position to a footer or `end`.

    Records of more than MOST_BYTES are skipped, and their positions are added to `large`. With `from_magic` the file
    starts at the current position, and its checksum is verified, too. Raises Broken where there is no valid record.
    """
    start = at = stream.tell()
    data = ReadDataStream(stream, calculate_crc=from_magic)
    try:
        if from_magic and data.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            raise Broken(at)
        while (at := start + data.count) < end:
            checksum = data.checksum() if from_magic else 0
            opcode, length = data.read1(), data.read8()
            # 0 is not an opcode: otherwise a file of zeros would be millions of records.
            if not opcode or length > end - at - HEAD_BYTES:
                raise Broken(at)
            kind = KINDS.get(opcode)
            if kind is None or length > MOST_BYTES:
                large += [at] if kind is not None else []
                while length:
                    length -= len(data.read(min(length, PIECE_BYTES)))
                continue
            content = ReadDataStream(BytesIO(data.read(length)))
            record = kind.read(content, length) if kind is Message else kind.read(content)
            if isinstance(record, DataEnd) and from_magic and record.data_section_crc not in (0, checksum):
                raise Broken(at)
            yield at, record
            if isinstance(record, Footer):
                if data.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
                    raise Broken(at)
                return
    except Exception as error:  # on damaged data mcap raises any exception
        raise Broken(at) from error


def _some(places: list[int]) -> str:
    return ", ".join(map(str, places[:5]))
