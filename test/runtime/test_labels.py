"""Frames as segmenters take them, and labels in colours."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.labels import VOID, coloured, overlay, rgb_of

COLOURS = np.random.default_rng(5).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_frames_are_rgb_whatever_their_encoding() -> None:
    for encoding, image in (("rgb8", COLOURS), ("bgr8", COLOURS[..., ::-1].copy())):
        assert np.array_equal(rgb_of(Frame(image, encoding)), COLOURS)
    grey = rgb_of(Frame(COLOURS[..., 0].copy(), "mono8"))
    assert grey.shape == COLOURS.shape and all(np.array_equal(grey[..., k], COLOURS[..., 0]) for k in range(3))
    deep = rgb_of(Frame(COLOURS[..., 0].astype(np.uint16) << 8, "mono16"))
    assert deep.dtype == np.uint8 and deep.shape == COLOURS.shape
    with pytest.raises(FrameError, match="mono9"):
        rgb_of(Frame(COLOURS, "mono9"))


def test_classes_have_colours_of_their_own_and_void_has_none() -> None:
    colours = coloured(np.arange(256, dtype=np.uint8)[None])[0].astype(int)
    apart = np.abs(colours[:19, None] - colours[None, :19]).sum(-1)
    assert apart[~np.eye(19, dtype=bool)].min() > 40
    assert not colours[VOID].any() and colours[:19].max(-1).min() > 100


def test_an_overlay_is_half_of_each() -> None:
    labels = np.array([[0] * 8] * 3 + [[VOID] * 8] * 3, np.uint8)
    shown = overlay(COLOURS, labels).astype(int)
    assert np.abs(shown - (COLOURS.astype(int) + coloured(labels)) / 2).max() <= 0.5
    assert np.abs(shown[3:] - COLOURS[3:] / 2).max() <= 0.5
