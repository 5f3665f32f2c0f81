"""Decompresses data within limits, as a few bytes may claim to hold any number of bytes."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import zstandard
from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from derain_ros.replay.files import ZSTD_MAGIC
from derain_ros.replay.records import Message, ReplayError

MOST_BYTES = 1 << 28
"""Largest accepted content of a chunk or a message; those of recordings hold some MB."""
WINDOW_BYTES = 1 << 28
"""Largest accepted window of Zstandard, which is kept in memory."""
MOST_RATIO = 1000
"""Largest accepted compression ratio of a file that holds more than MOST_BYTES; images reach less than 100."""
KEEP_FREE_BYTES = 1 << 28
"""Disk space that `unpack` leaves free."""
PIECE_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class TooLarge(ValueError):
    """More than MOST_BYTES in one piece."""


def unzstd(data: bytes) -> bytes:
    """Decompress Zstandard data, as far as it is complete; ZstdError if it is broken, TooLarge beyond MOST_BYTES."""
    return _bounded(zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).stream_reader(data).read(MOST_BYTES + 1))


def unlz4(data: bytes) -> bytes:
    """Decompress LZ4 data, as far as it is complete; RuntimeError if it is broken, TooLarge beyond MOST_BYTES."""
    return _bounded(LZ4FrameDecompressor().decompress(data, MOST_BYTES + 1))


def content_of(message: Message) -> bytes:
    """Return a message's content, decompressed if rosbag2 has compressed it; ReplayError if it is too large.

    CDR never starts with the magic number of Zstandard.
    """
    if not message.data.startswith(ZSTD_MAGIC):
        return message.data
    try:
        return unzstd(message.data)
    except zstandard.ZstdError:
        return message.data  # decoding it will report the damage
    except TooLarge as error:
        raise ReplayError(
            f"a message on {message.topic} at {message.stamp_ns / 1e9:.3f} s is too large when decompressed: {error}"
        ) from error


def _bounded(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise TooLarge(f"more than {MOST_BYTES} bytes")
    return data


def unpack(file: Path, made: Path) -> None:
    """Decompress a Zstandard file into the file `made`, as far as possible.

    Raises ReplayError if there is no room for it, it is larger than a recording can be, or a file cannot be read or
    written; `made` is then removed.
    """
    most = max(MOST_BYTES, MOST_RATIO * file.stat().st_size)
    size = 0
    trouble = ""
    try:
        with file.open("rb") as source, made.open("wb") as target:
            stream = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
            try:
                while not trouble and (piece := stream.read(PIECE_BYTES)):
                    size += len(piece)
                    if size > most:
                        trouble = f"it is more than {most >> 20} MiB, too much for a recording of its size"
                    elif shutil.disk_usage(made.parent).free < KEEP_FREE_BYTES + len(piece):
                        trouble = "the disk is full"
                    else:
                        target.write(piece)
            except zstandard.ZstdError as error:  # reading the rest will report what is missing
                logger.debug("%s: %s", file, error)
    except OSError as error:
        trouble = str(error.strerror)
    if trouble:
        made.unlink(missing_ok=True)
        raise ReplayError(
            f"{file} cannot be unpacked into {made.parent} ({trouble}); unpack it with `zstd -d` on a "
            "disk with free space, or set TMPDIR to a folder there"
        )
