"""Images as any node may send them: a frame comes of them, or an ImageError that names the reason."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.ros.messages import read_compressed, read_image, read_stamp, write_compressed, write_image
from derain_ros.runtime.input.encoding import LAYOUTS, FrameError, from_network, to_network
from derain_ros.runtime.input.geometry import Geometry
from derain_ros.runtime.input.messages import ImageError, frame_of, frame_unread
from derain_ros.runtime.input.registration import RegistrationError, Warp
from derain_ros.runtime.input.stored import StoredError, decode, stored_size

sys.path.insert(0, str(Path(__file__).parent))

from mutations import damaged  # noqa: E402

WORD = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1))
HEADER = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id="left")
PICTURE = np.random.default_rng(1).integers(0, 255, (24, 32, 3)).astype(np.uint8)
FILES = {kind: cv2.imencode(kind, PICTURE)[1] for kind in (".png", ".jpg", ".bmp", ".tiff")}
SENT = write_image(Frame(PICTURE, "bgr8", 5, "left"))
SENT_COMPRESSED = write_compressed(Frame(PICTURE, "bgr8", 5, "left"), "bgr8; jpeg compressed", FILES[".jpg"])


def through(message: object) -> None:
    """A message the way that the node takes it: to what networks get, and back."""
    try:
        frame = frame_of(message)
    except ImageError as error:
        assert error.reason and str(error)
        if error.usable:
            frame_unread(message)
        return
    try:
        seen = to_network(frame)
    except FrameError:
        return
    assert seen.dtype == np.uint8 and seen.ndim == 3
    again = from_network(255 - seen, frame)
    assert again.image.shape == frame.image.shape and again.image.dtype == frame.image.dtype


@given(
    WORD,
    WORD,
    st.one_of(st.sampled_from(sorted(LAYOUTS)), st.text(max_size=8)),
    st.integers(0, 255),
    WORD,
    st.binary(max_size=6000),
)
def test_raw_images(height: int, width: int, encoding: str, big: int, step: int, data: bytes) -> None:
    through(
        SimpleNamespace(
            header=HEADER, height=height, width=width, encoding=encoding, is_bigendian=big, step=step, data=data
        )
    )


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(1, 24), st.integers(1, 24), st.integers(0, 9), st.data())
def test_raw_images_that_fit(encoding: str, height: int, width: int, more: int, data: st.DataObject) -> None:
    layout = LAYOUTS[encoding]
    step = width * layout.values * np.dtype(layout.dtype).itemsize + more
    size = step * (height * layout.rows // 2)
    through(
        SimpleNamespace(
            header=HEADER,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=step,
            data=data.draw(st.binary(min_size=size, max_size=size)),
        )
    )


@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
def test_compressed_images(kind: str, data: st.DataObject) -> None:
    content = data.draw(damaged(FILES[kind].tobytes()))
    form = data.draw(st.one_of(st.sampled_from(["jpeg", "bgr8; jpeg compressed", "mono16; png"]), st.text(max_size=20)))
    through(SimpleNamespace(header=HEADER, format=form, data=content))
    stored_size(content)
    for upright in (False, True):
        try:
            decode(content, upright=upright)
        except StoredError as error:
            assert str(error)


@given(damaged(SENT[:120]) | st.binary(max_size=120))
def test_serialized_images(cdr: bytes) -> None:
    for read in (read_image, read_stamp):
        try:
            found = read(cdr)
        except ImageError:
            continue
        if read is read_image:
            through(found)


@given(damaged(SENT_COMPRESSED) | st.binary(max_size=120))
def test_serialized_compressed_images(cdr: bytes) -> None:
    try:
        found = read_compressed(cdr)
    except ImageError:
        return
    through(found)


NUMBER = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 300.0]))


@given(
    st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", "", "odd"]),
    st.lists(NUMBER, max_size=14),
    st.lists(NUMBER, min_size=9, max_size=9),
    st.lists(NUMBER, min_size=9, max_size=9),
    st.lists(NUMBER, min_size=12, max_size=12),
    WORD,
    WORD,
)
def test_camera_info(
    model: str, d: list[float], k: list[float], r: list[float], p: list[float], height: int, width: int
) -> None:
    info = SimpleNamespace(header=HEADER, distortion_model=model, d=d, k=k, r=r, p=p, height=height, width=width)
    good = SimpleNamespace(
        header=HEADER,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[300.0, 0, 16, 0, 300, 12, 0, 0, 1],
        r=[1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        p=[300.0, 0, 16, 0, 0, 300, 12, 0, 0, 0, 1, 0],
        height=24,
        width=32,
    )
    for rectified in (False, True):
        for left, thermal in ((info, good), (good, info)):
            geometry = Geometry(Config(thermal_extrinsic=[0.05, 0, 0, 0, 0, 0]))
            try:
                geometry.take_info("left", left, rectified)
                geometry.take_info("thermal", thermal, rectified)
                Warp(geometry.registration("left", "thermal"), (24, 32), (24, 32))(PICTURE[..., 0])
            except RegistrationError as error:
                assert str(error)
