"""Reads what is left of a damaged recording: MCAP without an end or an index, sqlite3 files cut short."""

from __future__ import annotations

import sqlite3
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from derain_ros.replay.records import Message, ReplayError, Topic

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MCAP_MAGIC = b"\x89MCAP0\r\n"
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
BIGGEST = 1 << 30
"""Bytes of a record at the most; one that claims more has a broken size, and is not read into memory."""


def topics(file: Path) -> list[Topic]:
    """The topics of a damaged file with the number of messages that can be read."""
    found: dict[str, Topic] = {}
    counts: Counter[str] = Counter()
    try:
        for item in _items(file, with_data=False):
            if isinstance(item, Topic):
                found[item.name] = item
            else:
                counts[item.topic] += 1
    except ReplayError:
        pass  # `messages` tells where the file ends
    return [Topic(t.name, t.msgtype, counts[t.name], t.definition, t.idl) for t in found.values()]


def messages(file: Path) -> Iterator[Message]:
    """The messages of a damaged file in the order they were written, then ReplayError that tells where it ends."""
    for item in _items(file, with_data=True):
        if isinstance(item, Message):
            yield item


def _items(file: Path, with_data: bool) -> Iterator[Topic | Message]:
    """Topics, each before its messages, and messages; without data these carry none where that saves reading."""
    return _mcap(file) if file.suffix == ".mcap" else _sqlite(file, with_data)


def _mcap(file: Path) -> Iterator[Topic | Message]:
    """Read records one after another, as they were written, without the index at the end."""
    with file.open("rb") as stream:
        if stream.read(8) != MCAP_MAGIC:
            raise ReplayError(f"{file.name} is no MCAP file: it does not begin with the mark of one")
        try:
            yield from _contents(stream, file)
        except (struct.error, UnicodeDecodeError) as error:
            raise ReplayError(f"{file.name} is broken before byte {stream.tell()} of {file.stat().st_size}") from error


def _contents(stream: BinaryIO, file: Path) -> Iterator[Topic | Message]:
    """What the records say, up to the footer; struct.error or UnicodeDecodeError for one with wrong bytes in it."""
    schemas: dict[int, tuple[str, str, str]] = {}
    channels: dict[int, str] = {}
    for code, body in _records(stream, file):
        if code == FOOTER:
            return
        if code == SCHEMA:
            name, at = _text(body, 2)
            language, at = _text(body, at)
            schemas[_u16(body, 0)] = (name, language, _text(body, at)[0])
        elif code == CHANNEL:
            topic = _text(body, 4)[0]
            name, language, definition = schemas.get(_u16(body, 2), ("", "", ""))
            if channels.get(_u16(body, 0)) != topic:
                channels[_u16(body, 0)] = topic
                yield Topic(topic, name, 0, definition, language.endswith("idl"))
        elif code == MESSAGE and _u16(body, 0) in channels:
            yield Message(channels[_u16(body, 0)], struct.unpack_from("<Q", body, 6)[0], body[22:])
    raise ReplayError(f"{file.name} ends at byte {file.stat().st_size} without a footer")


def _records(stream: BinaryIO, file: Path) -> Iterator[tuple[int, bytes]]:
    """Records as (code, content); a chunk is opened, one that is cut off as far as it goes."""
    while head := stream.read(9):
        start = stream.tell() - len(head)
        code, size = struct.unpack("<BQ", head) if len(head) == 9 else (0, 1)
        body = stream.read(min(size, BIGGEST))
        whole = len(body) == size
        if code == CHUNK and len(body) > 40:
            try:
                yield from _records(BytesIO(_unpacked(body)), file)
            except (zstd.ZstdError, RuntimeError, ReplayError, struct.error, UnicodeDecodeError):
                whole = False
        elif whole:
            yield code, body
        if not whole:
            raise ReplayError(f"{file.name} is cut off or broken in the record at byte {start} of "
                              f"{file.stat().st_size}")


def _unpacked(chunk: bytes) -> bytes:
    """The records in a chunk, decompressed as far as its content goes."""
    method, at = _text(chunk, 28)
    packed = chunk[at + 8:at + 8 + struct.unpack_from("<Q", chunk, at)[0]]
    if method == "zstd":
        return zstd.ZstdDecompressor().decompress(packed)
    if method == "lz4":
        unpacked: bytes = LZ4FrameDecompressor().decompress(packed)
        return unpacked
    return packed


def _u16(body: bytes, at: int) -> int:
    value: int = struct.unpack_from("<H", body, at)[0]
    return value


def _text(body: bytes, at: int) -> tuple[str, int]:
    """The string at an offset, and the offset behind it."""
    size = struct.unpack_from("<I", body, at)[0]
    return body[at + 4:at + 4 + size].decode(), at + 4 + size


def _sqlite(file: Path, with_data: bool) -> Iterator[Topic | Message]:
    """Rows in the order they were written, up to the first that cannot be read."""
    database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    rows = 0
    try:
        # sqlite3 reads a page that is cut off as if zeros followed: the last row before an error is not to be trusted,
        # and is held back for that.
        # A file shorter than its header says is refused at the door, unless the schema counts as writable.
        database.execute("PRAGMA writable_schema=ON")
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        definitions = {}
        if "message_definitions" in tables:
            for name, language, text in database.execute(
                    "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"):
                definitions[name] = (text, language.endswith("idl"))
        names = {}
        for number, name, msgtype in database.execute("SELECT id, name, type FROM topics"):
            names[number] = name
            yield Topic(name, msgtype, 0, *definitions.get(msgtype, ("", False)))
        column = "data" if with_data else "x''"
        held: Message | None = None
        for number, stamp, data in database.execute(f"SELECT topic_id, timestamp, {column} FROM messages ORDER BY id"):
            if held is not None:
                yield held
            # A column takes values of any type, so a broken row may hold anything.
            good = number in names and isinstance(stamp, int) and isinstance(data, bytes)
            held = Message(names[number], stamp, data) if good else None
            rows += 1
        if held is not None:
            yield held
    except sqlite3.Error as error:
        raise ReplayError(f"{file.name} can be read up to row {rows} ({error})") from error
    finally:
        database.close()
