"""Unpacks what is compressed, within bounds: a few bytes may claim to be any number."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import zstandard
from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from derain_ros.replay.files import ZSTD_MAGIC
from derain_ros.replay.records import Message, ReplayError

MOST_BYTES = 1 << 28
"""What a chunk or a message may hold at the most; those of recordings hold some MB."""
WINDOW_BYTES = 1 << 28
"""What Zstandard may look back at the most, which is kept in memory."""
MOST_RATIO = 1000
"""How many times its size a file may unpack to, if that is more than MOST_BYTES; images come to less than 100."""
KEEP_FREE_BYTES = 1 << 28
"""What unpacking leaves free where it writes."""
PIECE_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class TooLarge(ValueError):
    """More than MOST_BYTES in one piece."""


def unzstd(data: bytes) -> bytes:
    """What is compressed with Zstandard, as far as it is there; ZstdError where it is broken, TooLarge."""
    return _bounded(zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).stream_reader(data).read(MOST_BYTES + 1))


def unlz4(data: bytes) -> bytes:
    """What is compressed with LZ4, as far as it is there; RuntimeError where it is broken, TooLarge."""
    return _bounded(LZ4FrameDecompressor().decompress(data, MOST_BYTES + 1))


def content_of(message: Message) -> bytes:
    """A message's content without the compression that rosbag2 may give each one; CDR never begins as Zstandard does.

    ReplayError where it is too large."""
    if not message.data.startswith(ZSTD_MAGIC):
        return message.data
    try:
        return unzstd(message.data)
    except zstandard.ZstdError:
        return message.data  # whoever decodes it finds it broken
    except TooLarge as error:
        raise ReplayError(
            f"a message on {message.topic} at {message.stamp_ns / 1e9:.3f} s unpacks to {error}, which no image is"
        ) from error


def _bounded(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise TooLarge(f"more than {MOST_BYTES} bytes")
    return data


def unpack(file: Path, made: Path) -> None:
    """Unpack a file that is compressed with Zstandard into the file `made`, as far as it goes.

    ReplayError where there is no room for it, or where it is more than a recording can be; then nothing is left there.
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
                        trouble = f"it is more than {most >> 20} MiB, which a recording of its size is not"
                    elif shutil.disk_usage(made.parent).free < KEEP_FREE_BYTES + len(piece):
                        trouble = "there is no room left"
                    else:
                        target.write(piece)
            except zstandard.ZstdError as error:  # what is missing is told when the rest is read
                logger.debug("%s: %s", file, error)
    except OSError as error:
        trouble = str(error.strerror)
    if trouble:
        made.unlink(missing_ok=True)
        raise ReplayError(
            f"{file} cannot be unpacked into {made.parent} ({trouble}); unpack it with `zstd -d` where "
            "there is room, or set TMPDIR to such a place"
        )
