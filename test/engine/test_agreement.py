from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from derain_ros.engine import load
from derain_ros.engine.agreement import disagreement, error_of, pictures
from derain_ros.manifest import Manifest, Model


def test_small_errors_agree_and_large_ones_do_not(manifest: Manifest) -> None:
    model = manifest.get("restore_mono")
    image = pictures(model, (2, 32, 40))["image"]
    assert image.shape == (2, 32, 40, 1) and image.dtype == np.uint8 and image.std() > 10
    right = load(model).run(image=image)
    rounded = {**right, "restored": right["restored"] + (np.arange(40) % 3 == 0).astype(np.uint8)[:, None]}
    wrong = {**right, "restored": right["restored"] // 2}
    untouched = {**right, "restored": image}
    assert disagreement(model, "fp32", {"image": image}, right, right) == ""
    assert disagreement(model, "fp16", {"image": image}, rounded, right) == ""
    for precision in ("fp16", "int8"):
        assert "dB of what the network changes" in disagreement(model, precision, {"image": image}, wrong, right)
        assert disagreement(model, precision, {"image": image}, untouched, right)
        assert disagreement(model, precision, {"image": image}, {**right, "mask": 255 - right["mask"]}, right)


def test_eight_bits_may_err_more(manifest: Manifest) -> None:
    model = manifest.get("restore_mono")
    image = np.full((1, 16, 16, 1), 100, np.uint8)
    right = {"restored": image + np.uint8(10), "mask": np.zeros((1, 16, 16), np.uint8)}
    off = {**right, "restored": image + np.uint8(12)}
    assert disagreement(model, "int8", {"image": image}, off, right) == ""
    assert (
        disagreement(model, "fp16", {"image": image}, off, right)
        == "the error is 2.0 grey levels, -14 dB of what the network changes"
    )
    assert error_of(image, off["restored"], right["restored"]) == pytest.approx((2.0, 20 * np.log10(0.2)))


def test_detectors_are_compared_by_probability(manifest: Manifest) -> None:
    model = manifest.get("detect")
    images = pictures(model, (1, 96, 128))
    right = load(model).run(**images)
    off = {**right, "probabilities": right["probabilities"] + np.float32(0.1)}
    assert disagreement(model, "fp32", images, right, right) == ""
    assert disagreement(model, "fp32", images, off, right) == "probabilities: differs by 10%"
    nothing = {**right, "probabilities": right["probabilities"] * np.float32("nan")}
    assert disagreement(model, "fp32", images, nothing, right)
    assert (
        disagreement(model, "fp32", images, {"mask": right["mask"]}, right)
        == "probabilities is missing or differs in shape or type from the reference"
    )


def test_a_fuser_is_compared_by_what_it_changes_in_the_visible_image(manifest: Manifest) -> None:
    model = manifest.get("fuse")
    images = pictures(model, (1, 32, 40))
    assert list(images) == ["visible", "infrared", "mask"] and not np.array_equal(images["visible"], images["infrared"])
    right = load(model).run(**images)
    assert disagreement(model, "fp16", images, right, right) == ""
    assert "dB of what the network changes" in disagreement(model, "fp16", images, {"fused": images["visible"]}, right)


def test_segmenters_are_compared_by_how_many_pixels_differ() -> None:
    model = Model("segment", "segment", Path("segment.onnx"), "", 3, 16, classes=("sky", "road"))
    right = {"labels": np.zeros((1, 10, 10), np.uint8)}
    off = {"labels": right["labels"].copy()}
    off["labels"][0, 0] = 1
    images = pictures(model, (1, 10, 10))
    assert disagreement(model, "fp32", images, right, right) == disagreement(model, "int8", images, off, right) == ""
    assert disagreement(model, "fp32", images, off, right) == "labels: 10% of the values differ"
