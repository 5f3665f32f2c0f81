"""Cleaned frames against the truth."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.frame import Frame
from derain_ros.replay.bag import BagWriter
from derain_ros.replay.images import image_of
from derain_ros.replay.quality import compare, psnr


def put(writer: BagWriter, topic: str, stamp: int, image: np.ndarray) -> None:
    writer.put(topic, stamp, image_of(writer.types, Frame(image.astype(np.uint8), "mono8", stamp, "left")))


def test_psnr() -> None:
    black = np.zeros((4, 4), np.uint8)
    assert psnr(black, black + np.uint8(255)) == pytest.approx(0.0)
    assert psnr(black, black + np.uint8(1)) == pytest.approx(48.13, abs=0.01)
    assert psnr(black, black) == float("inf")


def test_compare(tmp_path: Path) -> None:
    dry = np.full((32, 32), 100)
    wet = {"left": {stamp: stamp >= 5 for stamp in range(1, 11)}}
    with BagWriter(tmp_path / "cleaned") as cleaned, BagWriter(tmp_path / "truth") as truth:
        for stamp, is_wet in wet["left"].items():
            put(cleaned, "/left/image_raw", stamp, dry + 20 if is_wet else dry)
            if stamp == 7:
                continue  # dropped by the node
            put(cleaned, "/derained/left/image_raw", stamp, dry + 2 if is_wet or stamp == 2 else dry)
            put(cleaned, "/derained/left/anomaly_mask", stamp, dry)
            if is_wet:
                put(truth, "/truth/left/image_raw", stamp, dry)
    quality, pictures = compare(tmp_path / "cleaned", tmp_path / "truth", wet, samples=2)
    before, after = 20 * np.log10(255 / 20), 20 * np.log10(255 / 2)
    assert len(quality.psnr) == 5
    np.testing.assert_allclose(quality.psnr, [(before, after)] * 5, rtol=1e-5)
    assert (quality.clean, quality.untouched) == (4, 3)
    assert [shown.stamp_ns for shown in pictures] == [6, 9]
    grey = {
        name: round(float(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 0).mean()))
        for name, data in pictures[0].images.items()
    }
    assert grey["seen"] == 120 and grey["published"] == 102 and grey["without drops"] == 100
    assert grey["reconstructed"] < grey["seen"], "what is in red is darker"
