from __future__ import annotations

import numpy as np
import pytest

from derain_ros.frame import Frame
from derain_ros.runtime.input.depth import Depth
from derain_ros.runtime.input.encoding import to_grey


def frame(brightest: int, second: float = 0.0, hot: int = 0) -> Frame:
    """A 16-bit frame as bright as that, with one pixel in sixteen thousand that is `hot`."""
    image = np.linspace(0, brightest, 128 * 128).reshape(128, 128).astype(np.uint16)
    if hot:
        image[64, 64] = hot
    return Frame(image, "mono16", round(second * 1e9))


def test_the_first_frame_decides_until_others_disagree_for_long() -> None:
    depth = Depth()
    assert depth.apply(frame(4000)).bits == 12
    assert [depth.apply(frame(16000, second)).bits for second in (0.1, 0.2, 0.39, 0.4)] == [12, 12, 12, 14]
    assert {depth.apply(frame(4000, 1 + second)).bits for second in range(60)} == {14}
    assert depth.apply(frame(4000, 61)).bits == 12


def test_a_single_bright_frame_and_hot_pixels_change_nothing() -> None:
    depth = Depth()
    depth.apply(frame(4000))
    grey = to_grey(depth.apply(frame(4000)))
    for second in range(1, 200):
        applied = depth.apply(frame(65535 if second % 20 == 0 else 4000, second * 0.4, hot=65535))
        assert applied.bits == 12
    hot = to_grey(applied)
    assert hot[64, 64] == 255 or second % 20 == 0
    hot = to_grey(depth.apply(frame(4000, 90, hot=65535)))
    hot[64, 64] = grey[64, 64]
    assert np.array_equal(hot, grey)


def test_frames_of_eight_bits_are_none_of_its_business() -> None:
    other = Frame(np.zeros((4, 4), np.uint8))
    assert Depth().apply(other) is other


@pytest.mark.parametrize("back", [-100.0, -0.1])
def test_time_that_jumps_back_begins_anew(back: float) -> None:
    depth = Depth()
    depth.apply(frame(4000, 100))
    depth.apply(frame(16000, 100.1))
    assert [depth.apply(frame(16000, 100 + back + second)).bits for second in (0.0, 0.25, 0.31)] == [12, 12, 14]
