"""Images as files store them: what they claim, what is cut off, which way they stand."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from derain_ros.runtime.input.stored import MOST_PIXELS, StoredError, decode, stored_size

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
ENDINGS = (".png", ".jpg", ".tif", ".bmp")


def stored(ending: str, pixels: np.ndarray = PIXELS) -> bytes:
    return bytes(cv2.imencode(ending, pixels)[1].tobytes())


def claiming(ending: str, height: int, width: int) -> bytes:
    """A small image whose header tells of another size."""
    data = bytearray(stored(ending))
    if ending == ".png":
        struct.pack_into(">II", data, 16, width, height)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif ending == ".jpg":
        struct.pack_into(">HH", data, data.find(b"\xff\xc0") + 5, height, width)
    elif ending == ".bmp":
        struct.pack_into("<ii", data, 18, width, -height)
    else:
        (start,) = struct.unpack_from("<I", data, 4)
        for at in range(start + 2, len(data) - 12, 12):
            if data[at : at + 2] in (b"\0\1", b"\1\1"):
                struct.pack_into("<HII", data, at + 2, 4, 1, width if data[at] == 0 else height)
    return bytes(data)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_header_tells_the_size(ending: str) -> None:
    assert stored_size(stored(ending)) == (32, 64)
    assert stored_size(claiming(ending, 300, 500)) == (300, 500)
    assert decode(stored(ending)).shape == (32, 64, 3)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("size", [(MOST_PIXELS // 16384 + 1, 16384), (1, 65535), (65000, 65000), (0, 64)])
def test_more_pixels_than_fit_are_not_decoded(
    ending: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: asked.append(flags))
    fits = 0 < size[0] * size[1] <= MOST_PIXELS
    missing = ending == ".tif" and not size[0]
    with pytest.raises(StoredError, match="damaged" if fits else "no readable" if missing else "states") as caught:
        decode(claiming(ending, *size))
    assert bool(asked) is fits and caught.value.too_large is not (fits or missing)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0\x1cftypheic", b"RIFF\x10\0\0\0WEBPVP8 ", b"v/1\1", b"P5 60000 60000 255 ", stored(".tif")[:-200]],
)
def test_what_does_not_tell_its_size_is_not_decoded(data: bytes) -> None:
    with pytest.raises(StoredError, match="is no readable JPEG, PNG, TIFF or BMP") as caught:
        decode(data)
    assert not caught.value.too_large


@pytest.mark.parametrize(
    "data",
    [
        stored(".png")[:20],
        stored(".png")[:-9],
        stored(".jpg")[:40],
        stored(".jpg")[:-3],
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + bytes(100),
    ],
)
def test_what_is_cut_off_is_told(data: bytes) -> None:
    with pytest.raises(StoredError, match="is cut off"):
        decode(data)


def test_what_stands_between_the_segments_of_a_jpeg_is_passed_over() -> None:
    data = stored(".jpg")
    loose = data[:20] + b"\0\0\1\xff\xff" + data[20:]
    assert stored_size(loose) == (32, 64) and np.array_equal(decode(loose), decode(data))


def test_a_size_that_a_tiff_tells_twice_is_the_larger() -> None:
    data = claiming(".tif", 65000, 65000)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [data[start + 2 + 12 * k : start + 14 + 12 * k] for k in range(count)]
    small = [struct.pack("<HHII", tag, 3, 1, 8) for tag in (0x100, 0x101)]
    twice = (
        data[:4]
        + struct.pack("<I", len(data))
        + data[8:]
        + struct.pack("<H", count + 2)
        + b"".join([*small, *entries, bytes(4)])
    )
    assert stored_size(twice) == (65000, 65000)


def turned(ending: str, orientation: int) -> bytes:
    """The image with what a camera writes of its orientation."""
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes((orientation, 0, 0, 0)) + bytes(4)
    data = stored(ending)
    if ending == ".png":
        chunk = b"eXIf" + tiff
        return data[:33] + struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    exif = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_orientation_counts_where_it_is_asked_for(ending: str, orientation: int, turn: int) -> None:
    plain = decode(stored(ending))
    assert np.array_equal(decode(turned(ending, orientation)), plain)
    assert np.array_equal(decode(turned(ending, orientation), upright=True), np.rot90(plain, turn))


def test_depth_and_alpha_are_kept() -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    clear = np.dstack([PIXELS, PIXELS[..., :1]])
    for pixels in (deep, clear):
        for upright in (True, False):
            assert np.array_equal(decode(stored(".png", pixels), upright), pixels)
