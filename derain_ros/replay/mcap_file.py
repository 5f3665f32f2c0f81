"""Reads one MCAP file: by its index if it has one, otherwise from its start to its end or to the first damage."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from heapq import heappop, heappush
from pathlib import Path
from typing import BinaryIO

from mcap.records import Channel, Schema
from mcap.records import Message as McapMessage
from mcap.summary import Summary

from derain_ros.replay.files import qos_of
from derain_ros.replay.mcap_records import chunk_at, records_in, records_of, summary_of
from derain_ros.replay.packed import MOST_BYTES
from derain_ros.replay.records import Message, ReplayError, Topic

NEARBY_BYTES = 1 << 26
"""Size of the messages that are buffered for sorting, in a file without an index."""
MESSAGE_BYTES = 256
"""Memory of a buffered message besides its content."""


def topics(file: Path) -> list[Topic]:
    """Return the topics with their numbers of messages; of a damaged file those that can be read."""
    with file.open("rb") as stream:
        summary = _summary(stream)
    if summary is not None and summary.statistics is not None:
        counts = summary.statistics.channel_message_counts
        return [_topic(c, summary.schemas.get(c.schema_id), counts.get(c.id, 0)) for c in summary.channels.values()]
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    counted: Counter[int] = Counter()
    with suppress(ReplayError):  # `messages` reports it
        for record in records_of(file):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, McapMessage):
                counted[record.channel_id] += 1
    return [_topic(c, schemas.get(c.schema_id), counted[c.id]) for c in channels.values()]


def messages(file: Path, start_ns: int = 0, end_ns: int | None = None) -> Iterator[Message]:
    """Yield the messages in order of time.

    They are sorted within a buffer of NEARBY_BYTES without an index, and of MOST_BYTES with one. With an index only
    those in [start_ns, end_ns) are read, otherwise all. If the file is damaged, it raises ReplayError after the last
    message that can be read.
    """
    with file.open("rb") as stream:
        summary = _summary(stream)
        if summary is None or not summary.chunk_indexes:
            yield from _sorted_nearby(((0, m) for m in _messages_as_written(file, Summary())), NEARBY_BYTES)
            return
        count, last_ns = 0, -1
        try:
            for message in _sorted_nearby(_messages_by_index(stream, summary, start_ns, end_ns), MOST_BYTES):
                count, last_ns = count + 1, message.stamp_ns
                yield message
        except Exception:  # on damaged data the reader raises any exception; what follows may be intact
            rest = ((0, m) for m in _messages_as_written(file, summary) if m.stamp_ns > last_ns)
            yield from _sorted_nearby(rest, NEARBY_BYTES)
            raise ReplayError(f"{file.name} is damaged: its index is wrong; copy it again") from None
    expected = summary.statistics.message_count if summary.statistics else count
    if count < expected and not start_ns and end_ns is None:
        raise ReplayError(f"{file.name} is damaged: {expected - count} of {expected} messages are missing")


def _messages_by_index(
    stream: BinaryIO, summary: Summary, start_ns: int, end_ns: int | None
) -> Iterator[tuple[int, Message]]:
    """Yield each message in [start_ns, end_ns), chunk by chunk, with the time before which no other follows.

    Raises any exception if the index or a chunk is wrong.
    """
    chunks = {c.chunk_start_offset: c for c in summary.chunk_indexes}  # a chunk that is listed twice is read once
    for chunk in sorted(chunks.values(), key=lambda c: (c.message_start_time, c.chunk_start_offset)):
        if chunk.message_end_time < start_ns or end_ns is not None and chunk.message_start_time >= end_ns:
            continue
        for record in records_in(chunk_at(stream, chunk.chunk_start_offset)):
            if not isinstance(record, McapMessage) or record.log_time < start_ns:
                continue
            if end_ns is None or record.log_time < end_ns:
                channel = summary.channels[record.channel_id]
                schema = summary.schemas[channel.schema_id] if channel.schema_id else None
                message = Message(channel.topic, record.log_time, record.data, _type_of(schema))
                yield chunk.message_start_time, message


def _messages_as_written(file: Path, known: Summary) -> Iterator[Message]:
    """Yield the messages in the order of the file; `known` has the channels and schemas that are known already."""
    channels, schemas = dict(known.channels), dict(known.schemas)
    for record in records_of(file):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, McapMessage) and (channel := channels.get(record.channel_id)) is not None:
            yield Message(channel.topic, record.log_time, record.data, _type_of(schemas.get(channel.schema_id)))


def _sorted_nearby(messages: Iterator[tuple[int, Message]], most_bytes: int) -> Iterator[Message]:
    """Sort messages by time within a buffer of `most_bytes`.

    Each message comes with the time before which no other follows. A ReplayError of `messages` is raised after the
    last message.
    """
    waiting: list[tuple[int, int, Message]] = []
    size = 0
    damage: ReplayError | None = None
    try:
        for number, (from_ns, message) in enumerate(messages):
            heappush(waiting, (message.stamp_ns, number, message))
            size += len(message.data) + MESSAGE_BYTES
            while waiting and (size > most_bytes or waiting[0][0] < from_ns):
                earliest = heappop(waiting)[2]
                size -= len(earliest.data) + MESSAGE_BYTES
                yield earliest
    except ReplayError as error:
        damage = error
    while waiting:
        yield heappop(waiting)[2]
    if damage is not None:
        raise damage


def _summary(stream: BinaryIO) -> Summary | None:
    """Return the summary at the end of the file; None if it is missing, broken or incomplete."""
    try:
        summary = summary_of(stream)
    except Exception:  # it raises any exception; reading the file shows whether it is damaged
        return None
    if summary is None or not summary.channels:
        return None
    counts = summary.statistics.channel_message_counts if summary.statistics is not None else {}
    known = set(counts) <= set(summary.channels) and {c.schema_id for c in summary.channels.values()} <= {
        0,
        *summary.schemas,
    }
    return summary if known else None


def _type_of(schema: Schema | None) -> str:
    """Return the name of a type in the form of ROS 2; empty without a schema."""
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
