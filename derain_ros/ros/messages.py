"""Messages in the form in which they travel (CDR): images are read in place and written in one copy.

rclpy would convert each field by itself and copy the pixels twice more: a third of what it takes to take or send an
image.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from derain_ros.frame import Frame
from derain_ros.runtime.input.messages import ImageError, stated_size
from derain_ros.runtime.status import Status

PLAIN = {b"\0\0": ">", b"\0\1": "<", b"\0\6": ">", b"\0\7": "<"}
"""A message's first bytes, which name its representation, to its byte order: XCDR 1 and 2, alike for these types."""
WORD = struct.Struct("<I")
PADDING = (b"", bytes(3), bytes(2), bytes(1))
"""What aligns to four bytes, by what is over."""
SHORT = 64
"""Characters of the longest text that is kept in its serialized form."""
ESCAPE = "surrogateescape"
"""What is no UTF-8 comes out as it came in."""


class Stamp(NamedTuple):
    """A builtin_interfaces/Time."""

    sec: int
    nanosec: int


class Header(NamedTuple):
    """A std_msgs/Header."""

    stamp: Stamp
    frame_id: str


class RawImage(NamedTuple):
    """A sensor_msgs/Image whose `data` is a view into `cdr`, the whole message."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview
    cdr: bytes


class CompressedImage(NamedTuple):
    """A sensor_msgs/CompressedImage whose `data` is a view into `cdr`, the whole message."""

    header: Header
    format: str
    data: memoryview
    cdr: bytes


def read_image(cdr: bytes) -> RawImage:
    """The sensor_msgs/Image in a serialized message; ImageError (truncated) where that ends too early."""
    reader = _Reader(cdr, "image")
    header = reader.header()
    height, width = reader.words(2)
    encoding, is_bigendian = reader.text(), reader.byte()
    step, size = reader.words(2)
    return RawImage(header, height, width, encoding, is_bigendian, step, reader.data(size), cdr)


def read_compressed(cdr: bytes) -> CompressedImage:
    """The sensor_msgs/CompressedImage in a serialized message; ImageError (truncated) where that ends too early."""
    reader = _Reader(cdr, "compressed image")
    header, form = reader.header(), reader.text()
    return CompressedImage(header, form, reader.data(*reader.words(1)), cdr)


def read_stamp(cdr: bytes) -> int:
    """The stamp in nanoseconds of a serialized message that begins with a header; ImageError where it has none."""
    sec, nanosec = _Reader(cdr, "message").stamp()
    return sec * 1_000_000_000 + nanosec


def write_image(frame: Frame) -> bytes:
    """The serialized sensor_msgs/Image of a frame, rows without padding."""
    pixels = np.ascontiguousarray(frame.image)
    writer = _Writer(frame.stamp_ns, frame.frame_id)
    writer.words(*stated_size(frame))
    writer.text(frame.encoding)
    writer.byte(0)
    writer.words(pixels.nbytes // pixels.shape[0], pixels.nbytes)
    return b"".join((writer.out, pixels.data))


def write_compressed(frame: Frame, form: str, data: np.ndarray) -> bytes:
    """The serialized sensor_msgs/CompressedImage with `data`, bytes of that `form`, and stamp and id of the frame."""
    writer = _Writer(frame.stamp_ns, frame.frame_id)
    writer.text(form)
    writer.words(data.nbytes)
    return b"".join((writer.out, data.data))


def write_status(statuses: Sequence[Status], stamp_ns: int) -> bytes:
    """The serialized diagnostic_msgs/DiagnosticArray of these statuses."""
    writer = _Writer(stamp_ns, "")
    writer.words(len(statuses))
    for status in statuses:
        writer.byte(status.level)
        for text in (status.name, status.message, status.hardware_id):
            writer.text(text)
        writer.words(len(status.values))
        for key, value in status.values.items():
            writer.text(key)
            writer.text(value)
    return bytes(writer.out)


class _Reader:
    """Reads the fields of one message after the other. Numbers of four bytes are aligned to that."""

    def __init__(self, cdr: bytes, what: str) -> None:
        self._cdr, self._what, self._at = cdr, what, 4
        order = PLAIN.get(cdr[:2])
        if order is None:
            raise ImageError("undecodable", f"{what} message in the representation {cdr[:2].hex()!r}, not in plain CDR")
        self._order = order

    def stamp(self) -> Stamp:
        return Stamp(*self._unpack("iI", 8))

    def header(self) -> Header:
        return Header(self.stamp(), self.text())

    def words(self, count: int) -> tuple[int, ...]:
        self._at += -self._at % 4
        return self._unpack(f"{count}I", 4 * count)

    def byte(self) -> int:
        return int(self._unpack("B", 1)[0])

    def text(self) -> str:
        (size,) = self.words(1)
        start, self._at = self._at, self._at + size
        return self._cdr[start : self._at - 1].decode("utf-8", ESCAPE)

    def data(self, size: int) -> memoryview:
        if size > len(self._cdr) - self._at:
            raise self._truncated()
        return memoryview(self._cdr)[self._at : self._at + size]

    def _unpack(self, kinds: str, size: int) -> tuple[int, ...]:
        try:
            found = struct.unpack_from(self._order + kinds, self._cdr, self._at)
        except struct.error as error:
            raise self._truncated() from error
        self._at += size
        return found

    def _truncated(self) -> ImageError:
        return ImageError("truncated", f"{self._what} message of {len(self._cdr)} bytes ends before its fields do")


class _Writer:
    """Writes the fields of one message after the other into `out`, little-endian, its header first."""

    def __init__(self, stamp_ns: int, frame_id: str) -> None:
        self.out = bytearray(b"\0\1\0\0")
        self.out += struct.pack("<iI", *divmod(stamp_ns, 1_000_000_000))
        self.text(frame_id)

    def words(self, *values: int) -> None:
        self.out += PADDING[len(self.out) % 4]
        for value in values:
            self.out += WORD.pack(value)

    def byte(self, value: int) -> None:
        self.out.append(value)

    def text(self, text: str) -> None:
        # A frame_id may be of any length; the status's own texts are short, and the same for every frame.
        self.out += PADDING[len(self.out) % 4] + (_short_text(text) if len(text) <= SHORT else _text(text))


def _text(text: str) -> bytes:
    """A text with its length before it."""
    encoded = text.encode("utf-8", ESCAPE)
    return WORD.pack(len(encoded) + 1) + encoded + b"\0"


_short_text = functools.lru_cache(1024)(_text)
