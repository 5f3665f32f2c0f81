"""FMI: bounds, identities, a window worked out by hand, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.evaluate.fusion_features import (
    cosines,
    edges,
    feature_mutual_information,
    pixels,
    wavelets,
)

FEATURES = (pixels, edges, cosines, wavelets)
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
A = cv2.GaussianBlur(NOISE, (0, 0), 1.5)


@pytest.mark.parametrize("feature", FEATURES)
def test_bounds(feature: object) -> None:
    other = cv2.GaussianBlur(RNG.integers(0, 256, A.shape, dtype=np.uint8), (0, 0), 1.5)
    assert feature_mutual_information(A, A, A, feature) == pytest.approx(1)  # type: ignore[arg-type]
    mixed = feature_mutual_information(A, other, A, feature)  # type: ignore[arg-type]
    strange = feature_mutual_information(other, other, A, feature)  # type: ignore[arg-type]
    assert 0 <= strange < mixed < 1 and mixed == pytest.approx((1 + strange) / 2)


def of_window(a: list[float], f: list[float]) -> float:
    """FMI of pixels of one window of these values, column by column."""
    source, fused = (np.array(values, np.uint8).reshape(3, 3).T for values in (a, f))
    return feature_mutual_information(source, source, fused, pixels)


def test_windows_by_hand() -> None:
    # Of two equal values: 1/2 in two places, one bit. As both fall into one place more, the dependence is closest.
    assert of_window([0, 9, 9, 0, 0, 0, 0, 0, 0], [0, 5, 5, 0, 0, 0, 0, 0, 0]) == pytest.approx(1, abs=1e-4)
    # All at one place: no entropy, and nothing in common with what differs.
    assert of_window([9, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 9]) == 0
    # 1/2 in the places 0 and 1, against 0 and 2: correlation (1/4 - 1/9) / (1/2 - 1/9) = 5/14, so the joint shares are
    # 1/4 (1 + 5/14) twice and 1/4 (1 - 5/14) twice, and what is in common of 1 bit each is 1 - H(19/28).
    share = 19 / 28
    expected = 1 + share * np.log2(share) + (1 - share) * np.log2(1 - share)
    assert of_window([9, 9, 0, 0, 0, 0, 0, 0, 0], [9, 0, 9, 0, 0, 0, 0, 0, 0]) == pytest.approx(expected, abs=1e-4)
    # An even window against any other: no correlation, nothing in common.
    assert of_window([4] * 9, [9, 0, 9, 0, 0, 0, 0, 0, 1]) == pytest.approx(0, abs=1e-4)


def test_gain_and_offset_do_not_count_for_pixels() -> None:
    half = A // 2
    assert feature_mutual_information(2 * half, 2 * half, half + 60, pixels) == pytest.approx(1, abs=1e-3)


def test_opposite_windows_have_something_in_common() -> None:
    rising = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert of_window(rising, rising[::-1]) > of_window(rising, [4, 4, 4, 4, 5, 4, 4, 4, 4]) + 0.1


@pytest.mark.parametrize("feature", FEATURES)
def test_blur_and_noise_lower_it(feature: object) -> None:
    noise = RNG.normal(0, 1, A.shape)
    blurred = [cv2.GaussianBlur(A, (0, 0), sigma) for sigma in (0.4, 1, 3)]
    noisy = [np.clip(A + sigma * noise, 0, 255).astype(np.uint8) for sigma in (1, 6, 40)]
    for images in (blurred, noisy):
        figures = [feature_mutual_information(A, A, image, feature) for image in images]  # type: ignore[arg-type]
        assert figures == sorted(figures, reverse=True)


def test_features() -> None:
    step = np.zeros((20, 30), np.uint8)
    step[:, 15:] = 200
    assert edges(step).sum(axis=1).tolist() == [1] * 20, "one pixel in each row"
    assert edges(np.full((20, 30), 9, np.uint8)).sum() == 0
    flat = cosines(np.full((20, 30), 9, np.uint8))
    assert flat[0, 0] == pytest.approx(9 * np.sqrt(600)) and np.abs(flat).sum() == pytest.approx(flat[0, 0])
    assert np.square(cosines(A)).sum() == pytest.approx(np.square(A.astype(float)).sum())
    quarters = wavelets(np.full((20, 30), 9, np.uint8))
    height, width = quarters.shape
    assert np.allclose(quarters[: height // 2, : width // 2], 18, atol=1e-3), "twice the mean"
    assert np.allclose(quarters[height // 2 :], 0, atol=0.05), "its filters are cut off after 62 values"
