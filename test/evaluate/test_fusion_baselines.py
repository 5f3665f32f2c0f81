"""Plain ways to fuse: what comes out of sources that are made for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.evaluate.fusion_baselines import BASELINES, average, guided_filtering, laplacian_pyramid, maximum

RNG = np.random.default_rng(0)
TEXTURE = cv2.GaussianBlur(RNG.integers(0, 256, (131, 177), dtype=np.uint8), (0, 0), 1)


@pytest.mark.parametrize("name", BASELINES)
def test_two_equal_images_stay_what_they_are(name: str) -> None:
    before = TEXTURE.copy()
    fused = BASELINES[name](TEXTURE, TEXTURE)
    assert fused.dtype == np.uint8 and fused.shape == TEXTURE.shape, "of odd sizes, too"
    assert np.abs(fused.astype(int) - TEXTURE).max() <= 1
    assert np.array_equal(TEXTURE, before)


@pytest.mark.parametrize("name", BASELINES)
def test_nothing_wraps_around(name: str) -> None:
    white, black = np.full((64, 64), 255, np.uint8), np.zeros((64, 64), np.uint8)
    assert np.array_equal(BASELINES[name](white, white), white) and np.array_equal(BASELINES[name](black, black), black)


def test_average_and_maximum() -> None:
    a, b = np.array([[255, 0, 10]], np.uint8), np.array([[254, 3, 20]], np.uint8)
    assert average(a, b).tolist() == [[255, 2, 15]], "halves are rounded up"
    assert maximum(a, b).tolist() == [[255, 3, 20]]


@pytest.mark.parametrize("fuser", [laplacian_pyramid, guided_filtering])
def test_detail_of_either_source_comes_through(fuser: object) -> None:
    flat = np.full_like(TEXTURE, 128)
    left, right = TEXTURE.copy(), TEXTURE.copy()
    left[:, 88:], right[:, :88] = 128, 128
    for a, b in ((TEXTURE, flat), (flat, TEXTURE), (left, right)):
        fused = fuser(a, b)  # type: ignore[operator]
        detail, wanted = (
            image[8:-8, 8:-8] - cv2.GaussianBlur(image, (0, 0), 2)[8:-8, 8:-8]
            for image in (fused.astype(np.float32), TEXTURE.astype(np.float32))
        )
        assert np.abs(detail - wanted).mean() < 0.3 * np.abs(wanted).mean()
        halved = average(a, b).astype(np.float32)
        lost = halved[8:-8, 8:-8] - cv2.GaussianBlur(halved, (0, 0), 2)[8:-8, 8:-8] - wanted
        assert np.abs(lost).mean() > 0.4 * np.abs(wanted).mean()


def test_the_pyramid_means_what_is_left() -> None:
    a, b = np.full((64, 64), 40, np.uint8), np.full((64, 64), 200, np.uint8)
    assert np.all(laplacian_pyramid(a, b) == 120)


def test_guided_weights_follow_the_salient_source() -> None:
    flat = np.full_like(TEXTURE, 250)
    fused = guided_filtering(TEXTURE, flat)
    assert abs(float(fused.mean()) - float(TEXTURE.mean())) < 5, "a bright flat source has no say"
