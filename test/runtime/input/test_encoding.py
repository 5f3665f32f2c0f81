from __future__ import annotations

import numpy as np
import pytest

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import FrameError, bits_used, check, from_network, to_grey, to_network

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
TWELVE_BITS = RNG.integers(0, 4096, (5, 7)).astype(np.uint16)
TWELVE_BITS[0, 0] = 4095


def padded(image: np.ndarray) -> np.ndarray:
    """The same image as a read-only view whose rows have gaps."""
    whole = np.zeros((image.shape[0], image.shape[1] + 3, *image.shape[2:]), image.dtype)
    whole[:, :image.shape[1]] = image
    view = whole[:, :image.shape[1]]
    view.flags.writeable = False
    return view


FRAMES = [Frame(padded(GREY), "mono8", 5, "cam"), Frame(padded(GREY), "8UC1"), Frame(padded(COLOUR), "rgb8"),
          Frame(padded(COLOUR), "bgr8"), Frame(padded(TWELVE_BITS), "mono16")]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.encoding)
def test_a_pixel_left_alone_by_the_network_keeps_all_its_bits(frame: Frame) -> None:
    before = frame.image.copy()
    image = to_network(frame)
    assert image.dtype == np.uint8 and image.shape == (5, 7, 3 if frame.image.ndim == 3 else 1)
    back = from_network(image, frame)
    assert np.array_equal(back.image, before) and np.array_equal(frame.image, before)
    assert back.image.dtype == before.dtype and back.image.flags.c_contiguous
    assert (back.encoding, back.stamp_ns, back.frame_id) == (frame.encoding, frame.stamp_ns, frame.frame_id)


def test_the_network_sees_red_first() -> None:
    assert np.array_equal(to_network(Frame(padded(COLOUR), "bgr8")), COLOUR[..., ::-1])
    assert np.array_equal(to_network(Frame(padded(COLOUR), "rgb8")), COLOUR)
    changed = np.zeros_like(COLOUR)
    changed[..., 0] = 200
    assert from_network(changed, Frame(COLOUR, "bgr8")).image[0, 0].tolist() == [0, 0, 200]


def test_grey_weighs_the_colours_alike_in_both_orders() -> None:
    assert np.array_equal(to_grey(Frame(padded(COLOUR), "rgb8")), to_grey(Frame(padded(COLOUR[..., ::-1]), "bgr8")))
    assert to_grey(Frame(np.full((1, 1, 3), (255, 0, 0), np.uint8), "rgb8")).item() == 76


def test_grey_of_grey_is_a_view() -> None:
    assert np.shares_memory(to_grey(Frame(GREY)), GREY) and np.shares_memory(to_network(Frame(GREY)), GREY)


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize(("peak", "shift"), [(0, 0), (255, 0), (256, 2), (1023, 2), (4095, 4), (65535, 8)])
def test_sixteen_bits_are_shifted_by_what_their_depth_needs(peak: int, shift: int, encoding: str) -> None:
    frame = Frame(np.array([[peak, peak // 3, 0]], np.uint16), encoding)
    check(frame)
    assert to_grey(frame).tolist() == [[value >> shift for value in frame.image[0].tolist()]]
    back = from_network(to_network(frame), frame)
    assert back.encoding == encoding and np.array_equal(back.image, frame.image)


def test_hot_pixels_do_not_darken_what_the_network_sees_and_keep_their_value() -> None:
    image = RNG.integers(0, 4096, (64, 64)).astype(np.uint16)
    plain = to_grey(Frame(image, "mono16"))
    image[0, 0], image[33, 20] = 65535, 60000
    hot = Frame(image, "mono16", bits=12)
    seen = to_grey(hot)
    assert (seen != plain).sum() == 2 and seen[33, 20] == seen[0, 0] == 255
    assert np.array_equal(from_network(to_network(hot), hot).image, image)
    large = np.tile(np.minimum(image, 4095), (4, 4))
    large[40:44, 40] = 40000
    assert bits_used(large) == 12 and bits_used(large // 4) == 10


def test_the_bits_of_the_camera_count_where_they_are_known() -> None:
    dark = Frame(np.full((8, 8), 200, np.uint16), "mono16", bits=12)
    assert set(to_grey(dark).flat) == {12}
    assert set(from_network(to_network(dark) + 1, dark).image.flat) == {216}


def test_a_change_by_the_network_is_scaled_to_sixteen_bits() -> None:
    frame = Frame(np.array([[4095, 1000, 5]], np.uint16), "mono16")
    seen = to_network(frame)
    restored = seen.copy()
    restored[0, 1, 0] += 10
    restored[0, 0, 0] = 0
    restored[0, 2, 0] = 255
    # 4095 keeps its four lower bits, 1000 rises by 10 steps of 16, 5 becomes the brightest with its lower bits kept.
    assert from_network(restored, frame).image.tolist() == [[15, 1160, 4085]]


@pytest.mark.parametrize(("image", "encoding", "message"), [
    (GREY, "yuv422", "encoding 'yuv422' is not one of mono8"),
    (GREY, "rgb8", r"a rgb8 image is uint8 \(height, width, 3\), not uint8 \(5, 7\)"),
    (COLOUR, "mono8", r"a mono8 image is uint8 \(height, width\), not uint8 \(5, 7, 3\)"),
    (COLOUR[..., :2], "bgr8", r"not uint8 \(5, 7, 2\)"),
    (GREY, "mono16", "a mono16 image is uint16"),
    (TWELVE_BITS, "mono8", "not uint16"),
    (GREY[:0], "mono8", r"\(0, 7\)"),
    (GREY[:, :0], "mono8", r"\(5, 0\)"),
])
def test_a_malformed_frame_is_told(image: np.ndarray, encoding: str, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        check(Frame(image, encoding))


def test_what_is_no_image_is_told() -> None:
    with pytest.raises(FrameError, match="is an array, not None; was the file read"):
        check(Frame(None))  # type: ignore[arg-type]
