from __future__ import annotations

import numpy as np
import pytest

from derain_ros.engine import load
from derain_ros.engine.agreement import disagreement, error_of, picture
from derain_ros.manifest import Manifest


def test_small_errors_agree_and_large_ones_do_not(manifest: Manifest) -> None:
    model = manifest.get("restore_mono")
    image = picture(model, (2, 32, 40))
    assert image.shape == (2, 32, 40, 1) and image.dtype == np.uint8 and image.std() > 10
    right = load(model).run(image)
    rounded = {**right, "restored": right["restored"] + (np.arange(40) % 3 == 0).astype(np.uint8)[:, None]}
    wrong = {**right, "restored": right["restored"] // 2}
    untouched = {**right, "restored": image}
    assert disagreement(model, "fp32", image, right, right) == ""
    assert disagreement(model, "fp16", image, rounded, right) == ""
    for precision in ("fp16", "int8"):
        assert "dB of what the network changes" in disagreement(model, precision, image, wrong, right)
        assert disagreement(model, precision, image, untouched, right)
        assert disagreement(model, precision, image, {**right, "mask": 255 - right["mask"]}, right)


def test_eight_bits_may_err_more(manifest: Manifest) -> None:
    model = manifest.get("restore_mono")
    image = np.full((1, 16, 16, 1), 100, np.uint8)
    right = {"restored": image + np.uint8(10), "mask": np.zeros((1, 16, 16), np.uint8)}
    off = {**right, "restored": image + np.uint8(12)}
    assert disagreement(model, "int8", image, off, right) == ""
    assert disagreement(model, "fp16", image, off, right) == \
        "the error is 2.0 grey levels, -14 dB of what the network changes"
    assert error_of(image, off["restored"], right["restored"]) == pytest.approx((2.0, 20 * np.log10(0.2)))


def test_detectors_are_compared_by_probability(manifest: Manifest) -> None:
    model = manifest.get("detect")
    image = picture(model, (1, 96, 128))
    right = load(model).run(image)
    off = {**right, "probabilities": right["probabilities"] + np.float32(0.1)}
    assert disagreement(model, "fp32", image, right, right) == ""
    assert disagreement(model, "fp32", image, off, right) == "probabilities: 10% apart"
    nothing = {**right, "probabilities": right["probabilities"] * np.float32("nan")}
    assert disagreement(model, "fp32", image, nothing, right)
    assert disagreement(model, "fp32", image, {"mask": right["mask"]}, right) == \
        "probabilities is not as the reference gives it"
