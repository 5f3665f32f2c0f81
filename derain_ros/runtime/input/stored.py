"""Decodes images as files store them: PNG, JPEG, TIFF and BMP. Their size is read from the header before any pixel is
decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

import cv2
import numpy as np

MOST_PIXELS = 1 << 27
"""An image that states more is broken: its mask alone would fill the memory."""
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG, JPEG_END = b"\xff\xd8", b"\xff\xd9"
TIFF = {b"II*\0": "<", b"MM\0*": ">"}
"""First bytes of a TIFF, and the byte order that they mean."""
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the JPEG segments that state the size."""
ALONE, SCAN = frozenset((0x01, *range(0xD0, 0xD8))), 0xDA
"""Markers without a segment, and the marker of coded data."""
EXIF = (b"Exif\0\0", b"eXIf")
"""What precedes the orientation in a JPEG, and in a PNG."""


class StoredError(ValueError):
    """Stored data are not an image that can be decoded; the message says why. `too_large` where the stated size is not
    accepted."""

    def __init__(self, message: str, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


def decode(data: bytes, upright: bool = False) -> np.ndarray:
    """The image in a PNG, JPEG, TIFF or BMP: (H, W) or (H, W, 3 or 4), blue first; uint8 or uint16, except for some
    TIFFs.

    `upright` rotates it as its EXIF data say, unless it has alpha; a TIFF always comes upright. StoredError for data of
    another kind, more than MOST_PIXELS, and for an image that is cut off or damaged.
    """
    size = stored_size(data)
    if size is not None and not 0 < size[0] * size[1] <= MOST_PIXELS:
        raise StoredError(f"states {size[1]}x{size[0]} pixels; 1 to {MOST_PIXELS} are accepted", True)
    if _is_cut(data):
        raise StoredError("is cut off")
    if size is None:
        raise StoredError("is no readable JPEG, PNG, TIFF or BMP")
    image = _decoded(data, cv2.IMREAD_UNCHANGED)
    if upright and image.shape[2:] != (4,) and any(name in data for name in EXIF):
        image = _decoded(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    return image


def stored_size(data: bytes) -> tuple[int, int] | None:
    """Height and width in the header of a PNG, JPEG, TIFF or BMP; None for other data, or where they are missing."""
    with suppress(struct.error):
        if data.startswith(PNG):
            width, height = struct.unpack_from(">II", data, 16)
            return height, width
        if data.startswith(JPEG):
            places = (at for marker, at in _segments(data) if marker in FRAME_MARKERS)
            height, width = struct.unpack_from(">HH", data, next(places, len(data)) + 5)
            return height, width
        if data.startswith(b"BM"):
            old = struct.unpack_from("<I", data, 14)[0] == 12
            width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
            return abs(height), abs(width)
        if data[:4] in TIFF:
            return _size_of_tiff(data, TIFF[data[:4]])
    return None


def _size_of_tiff(data: bytes, order: str) -> tuple[int, int] | None:
    """The size of the first image of a TIFF; the larger value where one is stated twice."""
    found = {0x100: 0, 0x101: 0}
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag in found:
            (value,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, at + 8)
            found[tag] = max(found[tag], value)
    width, height = found.values()
    return (height, width) if width and height else None


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment of a JPEG, up to and including the first scan."""
    at, marker = 2, 0
    # Bytes between segments are skipped, as decoders do.
    while marker != SCAN and 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in ALONE:
            at += 2
        else:
            yield marker, at
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _is_cut(data: bytes) -> bool:
    """Whether a JPEG or PNG ends before its image does: not every version of OpenCV reports that.

    A JPEG is searched from its first scan on: thumbnails before that have end markers of their own.
    """
    if data.startswith(PNG):
        return PNG_END not in data
    if not data.startswith(JPEG):
        return False
    scan = next((at for marker, at in _segments(data) if marker == SCAN), len(data))
    return data.find(JPEG_END, scan) < 0


def _decoded(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise StoredError("is damaged: it cannot be decoded") from error
    if image is None:
        raise StoredError("is damaged: it cannot be decoded")
    return image
