from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import LAYOUTS, FrameError, check, from_network, size_of, to_grey, to_network

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)
TWELVE_BITS = RNG.integers(0, 4096, (6, 8)).astype(np.uint16)
TWELVE_BITS[0, 0] = 4095
BAYER = [name for name in LAYOUTS if name.startswith("bayer")]
YUV = ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"]


def padded(image: np.ndarray) -> np.ndarray:
    """The same image as a read-only view whose rows have gaps."""
    whole = np.zeros((image.shape[0], image.shape[1] + 3, *image.shape[2:]), image.dtype)
    whole[:, : image.shape[1]] = image
    view = whole[:, : image.shape[1]]
    view.flags.writeable = False
    return view


def random_frame(encoding: str, height: int = 6, width: int = 8) -> Frame:
    """A frame of noise in that encoding, of 12 bits where it has more than eight."""
    layout = LAYOUTS[encoding]
    shape = (height * layout.rows // 2, width, *((layout.values,) if layout.values > 1 else ()))
    most = 256 if layout.dtype == "u1" else 4096
    return Frame(padded(RNG.integers(0, most, shape).astype(layout.dtype)), encoding, 5, "cam")


def from_rgb(rgb: np.ndarray, encoding: str) -> Frame:
    """A picture, each two by two of its pixels alike, in that encoding, by OpenCV and by hand."""
    if encoding in BAYER:
        pattern = encoding.split("_")[1]
        image = np.empty(rgb.shape[:2], np.uint8)
        for cell in range(4):
            row, column = divmod(cell, 2)
            image[row::2, column::2] = rgb[row::2, column::2, "rgb".index(pattern[cell])]
        return Frame(image.astype(np.uint16) << 4 if pattern.endswith("16") else image, encoding)
    height, width = rgb.shape[:2]
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).ravel()
    y, u, v = np.split(planes, (height * width, height * width * 5 // 4))
    y, u, v = y.reshape(height, width), u.reshape(height // 2, -1), v.reshape(height // 2, -1)
    if encoding.startswith("nv"):
        pairs = np.dstack((u, v) if encoding == "nv12" else (v, u))
        return Frame(np.concatenate((y, pairs.reshape(height // 2, width))), encoding)
    pairs = np.dstack((u.repeat(2, 0), v.repeat(2, 0))).reshape(height, width)
    return Frame(np.dstack((y, pairs) if encoding in ("yuv422_yuy2", "yuyv") else (pairs, y)), encoding)


@pytest.mark.parametrize("encoding", LAYOUTS)
def test_what_the_network_left_alone_keeps_its_exact_bytes(encoding: str) -> None:
    frame = random_frame(encoding)
    before = frame.image.copy()
    check(frame)
    image = to_network(frame)
    assert image.dtype == np.uint8 and image.shape == (6, 8, LAYOUTS[encoding].channels) and size_of(frame) == (6, 8)
    assert to_grey(frame).shape == (6, 8)
    back = from_network(image, frame)
    assert np.array_equal(back.image, before) and np.array_equal(frame.image, before)
    assert back.image.dtype == before.dtype and back.image.flags.c_contiguous
    assert (back.encoding, back.stamp_ns, back.frame_id) == (frame.encoding, frame.stamp_ns, frame.frame_id)


@pytest.mark.parametrize("encoding", LAYOUTS)
def test_only_what_the_network_changed_changes(encoding: str) -> None:
    frame = random_frame(encoding)
    restored = to_network(frame).copy()
    restored[2:4, 4:6] ^= 128
    changed = from_network(restored, frame).image != frame.image
    rows, there = changed[:6], np.zeros(changed[:6].shape, bool)
    there[2:4, 4:6] = True
    assert rows[2:4, 4:6].any() and not rows[~there].any()


@pytest.mark.parametrize("encoding", ["rgba8", "bgra8", "8UC4", "rgba16", "bgra16"])
def test_alpha_is_kept(encoding: str) -> None:
    frame = random_frame(encoding)
    assert np.array_equal(from_network(255 - to_network(frame), frame).image[..., 3], frame.image[..., 3])


def test_the_network_sees_red_first() -> None:
    for encoding, image in (("bgr8", COLOUR), ("8UC3", COLOUR), ("bgra8", np.dstack((COLOUR, GREY)))):
        assert np.array_equal(to_network(Frame(padded(image), encoding)), COLOUR[..., ::-1])
    for encoding, image in (("rgb8", COLOUR), ("rgba8", np.dstack((COLOUR, GREY)))):
        assert np.array_equal(to_network(Frame(padded(image), encoding)), COLOUR)
    changed = np.zeros_like(COLOUR)
    changed[..., 0] = 200
    assert from_network(changed, Frame(COLOUR, "bgr8")).image[0, 0].tolist() == [0, 0, 200]
    wide = Frame(np.full((1, 1, 3), 16, np.uint16), "bgr16", levels=(0, 4096))
    assert from_network(np.array([[[201, 1, 1]]], np.uint8), wide).image.tolist() == [[[16, 16, 3216]]]


@pytest.mark.parametrize("encoding", [*BAYER, *YUV])
def test_colours_are_those_of_the_scene_and_go_back_into_the_same_form(encoding: str) -> None:
    rgb = np.full((16, 16, 3), (90, 120, 60), np.uint8)
    wanted = np.full((16, 16, 3), (130, 90, 80), np.uint8)
    frame = from_rgb(rgb, encoding)
    if encoding.endswith("16"):
        frame = Frame(frame.image, encoding, levels=(0, 4096))
    seen = to_network(frame)
    assert np.abs(seen.astype(int) - rgb).max() <= 2
    back = from_network(wanted, frame)
    assert np.abs(to_network(back).astype(int) - wanted).max() <= 3
    assert np.abs(back.image.astype(int) - from_rgb(wanted, encoding).image).max() <= (48 if "16" in encoding else 3)


def test_grey_weighs_the_colours_alike_in_both_orders() -> None:
    assert np.array_equal(to_grey(Frame(padded(COLOUR), "rgb8")), to_grey(Frame(padded(COLOUR[..., ::-1]), "bgr8")))
    assert to_grey(Frame(np.full((1, 1, 3), (255, 0, 0), np.uint8), "rgb8")).item() == 76


def test_grey_of_grey_is_a_view() -> None:
    assert np.shares_memory(to_grey(Frame(GREY)), GREY) and np.shares_memory(to_network(Frame(GREY)), GREY)


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize(("peak", "shift"), [(0, 0), (255, 0), (256, 1), (1023, 2), (4095, 4), (65535, 8)])
def test_sixteen_bits_are_shifted_by_what_their_depth_needs(peak: int, shift: int, encoding: str) -> None:
    frame = Frame(np.array([[peak, peak // 3, 0]], np.uint16).repeat(4, 1), encoding)
    check(frame)
    assert to_grey(frame).tolist() == [[value >> shift for value in frame.image[0].tolist()]]
    back = from_network(to_network(frame), frame)
    assert back.encoding == encoding and np.array_equal(back.image, frame.image)


def test_hot_pixels_do_not_darken_what_the_network_sees_and_keep_their_value() -> None:
    image = RNG.integers(0, 4096, (64, 64)).astype(np.uint16)
    plain = to_grey(Frame(image, "mono16"))
    image[0, 0], image[33, 20] = 65535, 60000
    hot = Frame(image, "mono16", levels=(0, 4096))
    seen = to_grey(hot)
    assert (seen != plain).sum() == 2 and seen[33, 20] == seen[0, 0] == 255
    assert np.array_equal(from_network(to_network(hot), hot).image, image)


def test_the_levels_of_the_camera_count_where_they_are_known() -> None:
    dark = Frame(np.full((8, 8), 200, np.uint16), "mono16", levels=(0, 4096))
    assert set(to_grey(dark).flat) == {12}
    assert set(from_network(to_network(dark) + 1, dark).image.flat) == {216}
    narrow = Frame(np.full((8, 8), 3255, np.uint16), "mono16", levels=(3000, 3512))
    assert set(to_grey(narrow).flat) == {127}
    assert set(from_network(to_network(narrow) + 1, narrow).image.flat) == {3257}


def test_a_change_by_the_network_is_scaled_to_sixteen_bits() -> None:
    frame = Frame(np.array([[4095, 1000, 5]], np.uint16), "mono16", levels=(0, 4096))
    seen = to_network(frame)
    restored = seen.copy()
    restored[0, 1, 0] += 10
    restored[0, 0, 0] = 0
    restored[0, 2, 0] = 255
    # 4095 keeps its four lower bits, 1000 rises by 10 steps of 16, 5 becomes the brightest with its lower bits kept.
    assert from_network(restored, frame).image.tolist() == [[15, 1160, 4085]]


@pytest.mark.parametrize(
    ("image", "encoding", "message"),
    [
        (GREY, "nv24", "encoding 'nv24' is not one of mono8"),
        (GREY, "yuv422", r"a yuv422 image is uint8 \(height, width, 2\), not uint8 \(6, 8\)"),
        (GREY[:, :7, np.newaxis].repeat(2, 2), "yuyv", r"an even number of columns, not the shape \(6, 7, 2\)"),
        (GREY[:5], "nv12", "an even number of columns and rows, and half as many rows of colours"),
        (GREY, "rgb8", r"a rgb8 image is uint8 \(height, width, 3\), not uint8 \(6, 8\)"),
        (COLOUR, "rgba8", r"a rgba8 image is uint8 \(height, width, 4\), not uint8 \(6, 8, 3\)"),
        (COLOUR, "mono8", r"a mono8 image is uint8 \(height, width\), not uint8 \(6, 8, 3\); a colour image is bgr8"),
        (COLOUR[..., :2], "bgr8", r"not uint8 \(6, 8, 2\)"),
        (GREY, "mono16", "a mono16 image is uint16"),
        (TWELVE_BITS, "mono8", "not uint16"),
        (GREY[:0], "mono8", r"\(0, 8\)"),
        (GREY[:, :0], "mono8", r"\(6, 0\)"),
    ],
)
def test_a_malformed_frame_is_told(image: np.ndarray, encoding: str, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        check(Frame(image, encoding))


def test_what_is_no_image_is_told() -> None:
    with pytest.raises(FrameError, match="is an array, not None; was the file read"):
        check(Frame(None))  # type: ignore[arg-type]
    assert size_of(Frame(None)) == (0, 0)  # type: ignore[arg-type]
