"""Reads one MCAP file: by its index where it has one, otherwise from its beginning to its end or to where it breaks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from heapq import heappop, heappush
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import zstandard
from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Schema
from mcap.records import Message as Record
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.summary import Summary

from derain_ros.replay.files import MCAP_MAGIC, qos_of
from derain_ros.replay.records import Message, ReplayError, Topic

NEARBY_BYTES = 1 << 26
"""Messages that are kept to be sorted, in a file that was written without an index."""


def topics(file: Path) -> list[Topic]:
    """The topics, each with the number of its messages; of a damaged file those that can be read."""
    with file.open("rb") as stream:
        summary = _summary(stream)
    if summary is not None and summary.statistics is not None:
        counts = summary.statistics.channel_message_counts
        return [_topic(c, summary.schemas.get(c.schema_id), counts.get(c.id, 0)) for c in summary.channels.values()]
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    counted: Counter[int] = Counter()
    with suppress(ReplayError):  # `messages` tells of it
        for record in _records(file):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Record):
                counted[record.channel_id] += 1
    return [_topic(c, schemas.get(c.schema_id), counted[c.id]) for c in channels.values()]


def messages(file: Path, start_ns: int = 0, end_ns: int | None = None) -> Iterator[Message]:
    """The messages in the order of their time; without an index that holds for those that lie within NEARBY_BYTES.

    By the index only those from `start_ns` on and before `end_ns` are read; otherwise all come.

    ReplayError after the last one that can be read, where the file is damaged.
    """
    with file.open("rb") as stream:
        summary = _summary(stream)
        if summary is None or not summary.chunk_indexes:
            yield from _sorted_nearby(_messages_as_written(file, Summary()))
            return
        count, last_ns = 0, -1
        try:
            reader = SeekingReader(stream, validate_crcs=True)
            for schema, channel, record in reader.iter_messages(starting_at=start_ns, ending_before=end_ns):
                count, last_ns = count + 1, record.log_time
                yield Message(channel.topic, record.log_time, record.data, _type_of(schema))
        except Exception:  # the reader raises whatever a wrong byte makes it raise; what follows may be sound
            rest = (m for m in _messages_as_written(file, summary) if m.stamp_ns > last_ns)
            yield from _sorted_nearby(rest)
            raise ReplayError(f"{file.name} is damaged: its index is wrong; copy it again") from None
    expected = summary.statistics.message_count if summary.statistics else count
    if count < expected and not start_ns and end_ns is None:
        raise ReplayError(f"{file.name} is damaged: of {expected} messages {expected - count} cannot be found")


def _messages_as_written(file: Path, known: Summary) -> Iterator[Message]:
    """The messages as they follow each other; `known` are the channels and schemas known before."""
    channels, schemas = dict(known.channels), dict(known.schemas)
    for record in _records(file):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Record) and (channel := channels.get(record.channel_id)) is not None:
            yield Message(channel.topic, record.log_time, record.data, _type_of(schemas.get(channel.schema_id)))


def _sorted_nearby(messages: Iterator[Message]) -> Iterator[Message]:
    """The messages by their time, as far as NEARBY_BYTES of them show it; ReplayError comes after the last one."""
    waiting: list[tuple[int, int, Message]] = []
    size = 0
    damage: ReplayError | None = None
    try:
        for number, message in enumerate(messages):
            heappush(waiting, (message.stamp_ns, number, message))
            size += len(message.data)
            while size > NEARBY_BYTES:
                earliest = heappop(waiting)[2]
                size -= len(earliest.data)
                yield earliest
    except ReplayError as error:
        damage = error
    while waiting:
        yield heappop(waiting)[2]
    if damage is not None:
        raise damage


def _summary(stream: BinaryIO) -> Summary | None:
    """What the file says of itself at its end, None where that is missing, broken or not all that is needed."""
    try:
        summary = SeekingReader(stream).get_summary()
    except Exception:  # as above; whether the file is damaged, reading it shows
        return None
    if summary is None or not summary.channels:
        return None
    counts = summary.statistics.channel_message_counts if summary.statistics is not None else {}
    known = set(counts) <= set(summary.channels) and {c.schema_id for c in summary.channels.values()} <= {
        0,
        *summary.schemas,
    }
    return summary if known else None


def _records(file: Path) -> Iterator[McapRecord]:
    """What was written, one after the other, without the index at the end; at last ReplayError where it is broken."""
    at = len(MCAP_MAGIC)
    broken: list[int] = []
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, emit_chunks=True, validate_crcs=True).records:
                if isinstance(record, Chunk):
                    try:
                        yield from breakup_chunk(record, validate_crc=True)
                    except Exception:  # as above
                        broken.append(at)
                        yield from _records_before_the_break(record)
                else:
                    yield record
                at = stream.tell()
        except Exception:
            broken.append(at)
            stream.seek(at)
            if stream.read(9)[:1] == bytes([Opcode.CHUNK]):
                with suppress(Exception):
                    yield from _records_before_the_break(Chunk.read(ReadDataStream(stream)))
    if broken:
        raise ReplayError(
            f"{file.name} is damaged: it is cut off or broken at byte {', '.join(map(str, broken[:5]))} "
            f"of {file.stat().st_size}; copy it again from where it is complete"
        )


def _records_before_the_break(chunk: Chunk) -> Iterator[McapRecord]:
    with suppress(Exception):  # there is always an end that fails
        data = chunk.data
        if chunk.compression == "zstd":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        elif chunk.compression == "lz4":
            data = LZ4FrameDecompressor().decompress(data)
        # Where all of it is there, its checksum is wrong, and any message in it may be.
        if len(data) < chunk.uncompressed_size or not chunk.uncompressed_crc:
            yield from StreamReader(BytesIO(data), skip_magic=True).records


def _type_of(schema: Schema | None) -> str:
    """The name of a type, as ROS 2 writes it; empty where there is none."""
    return re.sub(r"^(\w+)/(\w+)$", r"\1/msg/\2", schema.name) if schema is not None else ""


def _topic(channel: Channel, schema: Schema | None, count: int) -> Topic:
    encoding, text = (schema.encoding, schema.data) if schema is not None else ("", b"")
    return Topic(
        channel.topic,
        _type_of(schema),
        count,
        text.decode(errors="replace"),
        encoding,
        channel.metadata.get("topic_type_hash", ""),
        channel.message_encoding,
        qos_of(channel.metadata.get("offered_qos_profiles", "")),
    )
