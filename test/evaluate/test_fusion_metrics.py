"""Figures of fused images, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.evaluate.fusion_metrics import (
    average_gradient,
    correlation,
    correlation_coefficient,
    edge_preservation,
    entropy,
    mean_squared_error,
    mutual_information,
    peak_signal_to_noise,
    printed_peak_signal_to_noise,
    spatial_frequency,
    standard_deviation,
    sum_of_correlations_of_differences,
)

RNG = np.random.default_rng(0)
UNIFORM = RNG.permutation(np.repeat(np.arange(256, dtype=np.uint8), 16)).reshape(64, 64)
"""Every grey level equally often."""
OTHER = RNG.permutation(UNIFORM.ravel()).reshape(64, 64)
RAMP = np.tile(np.arange(0, 128, 2, dtype=np.uint8), (48, 1))
FLAT = np.full((64, 64), 7, np.uint8)


def test_entropy() -> None:
    assert entropy(UNIFORM) == pytest.approx(8)
    assert entropy(FLAT) == 0
    halves = np.where(np.arange(64 * 64).reshape(64, 64) % 4 == 0, 10, 250).astype(np.uint8)
    assert entropy(halves) == pytest.approx(0.25 * 2 + 0.75 * np.log2(4 / 3))


def test_contrast_of_stripes_and_ramps() -> None:
    stripes = np.tile(np.array([0, 10], np.uint8), (20, 10))
    assert standard_deviation(stripes) == pytest.approx(5)
    assert spatial_frequency(stripes) == pytest.approx(10), "all differences in rows are 10, in columns 0"
    assert spatial_frequency(RAMP) == spatial_frequency(RAMP.T) == pytest.approx(2)
    assert average_gradient(RAMP) == pytest.approx(2 / np.sqrt(2))
    slope = (3 * np.arange(20)[:, None] + 4 * np.arange(30)).astype(np.uint8)
    assert average_gradient(slope) == pytest.approx(5 / np.sqrt(2)) and spatial_frequency(slope) == pytest.approx(5)
    assert standard_deviation(FLAT) == spatial_frequency(FLAT) == average_gradient(FLAT) == 0


def test_mutual_information_with_itself_is_the_entropy() -> None:
    assert mutual_information(UNIFORM, UNIFORM, UNIFORM) == pytest.approx(16)
    assert mutual_information(UNIFORM, FLAT, UNIFORM) == pytest.approx(8)
    assert mutual_information(UNIFORM, FLAT, 255 - UNIFORM) == pytest.approx(8), "a negative tells as much"
    assert mutual_information(UNIFORM, FLAT, UNIFORM // 2) == pytest.approx(7), "one bit is lost"
    columns, rows = np.meshgrid(np.arange(16, dtype=np.uint8), np.arange(16, dtype=np.uint8))
    assert mutual_information(columns, rows, columns) == pytest.approx(4), "rows tell nothing of columns"
    assert mutual_information(columns, rows, columns * 16 + rows) == pytest.approx(8)


def test_correlations() -> None:
    assert correlation(UNIFORM, UNIFORM) == pytest.approx(1)
    assert correlation(UNIFORM, 255 - UNIFORM) == pytest.approx(-1)
    assert correlation(UNIFORM, FLAT) == 0
    assert correlation_coefficient(UNIFORM, 255 - UNIFORM, UNIFORM) == pytest.approx(0)
    assert correlation_coefficient(RAMP, RAMP, RAMP // 2) == pytest.approx(1), "gain and offset do not count"
    three, other = np.array([[0, 1, 2]], np.uint8), np.array([[0, 2, 1]], np.uint8)
    assert correlation(three, other) == pytest.approx(0.5)


def test_differences_of_a_sum_are_the_sources() -> None:
    a, b = UNIFORM // 2, OTHER // 2
    assert sum_of_correlations_of_differences(a, b, a + b) == pytest.approx(2)
    assert sum_of_correlations_of_differences(a, b, b) == pytest.approx(correlation(b.astype(float) - a, b))
    average = sum_of_correlations_of_differences(UNIFORM, UNIFORM, FLAT)
    assert average == pytest.approx(-2), "what is left of a flat image is the negative"


def test_squared_error_and_peak() -> None:
    a = np.full((8, 8), 100, np.uint8)
    assert mean_squared_error(a, a + 51, a) == pytest.approx(0.2**2 / 2)
    assert peak_signal_to_noise(a, a, a + 51) == pytest.approx(20 * np.log10(5))
    assert printed_peak_signal_to_noise(a, a, a + 51) == pytest.approx(20 * np.log10(5) + 20 * np.log10(255))
    assert peak_signal_to_noise(a, a, a) == 100
    # What the third paper prints for itself belongs together by and large: 0.0275 and 64.71 dB, both means.
    assert 10 * np.log10(255**2 / 0.0275) == pytest.approx(64.71, abs=1.5)


def test_edges_that_are_kept() -> None:
    most = 0.9994 / (1 + np.exp(-7.5)) * 0.9879 / (1 + np.exp(-4.4))
    assert most == pytest.approx(0.9748, abs=1e-4)
    assert edge_preservation(UNIFORM, UNIFORM, UNIFORM) == pytest.approx(most)
    assert edge_preservation(UNIFORM, OTHER, FLAT) < 0.1
    assert edge_preservation(np.zeros_like(FLAT), np.zeros_like(FLAT), UNIFORM) == 0
    # All edges, those of the border as well, have half the strength and keep their direction.
    half = edge_preservation(2 * RAMP, 2 * RAMP, RAMP)
    assert half == pytest.approx(0.9994 / 2 * 0.9879 / (1 + np.exp(-4.4)))
    # The stronger source counts more: its edges alone are kept.
    steep, upright = np.where(np.arange(64) < 32, 0, 200).astype(np.uint8), np.zeros((64, 64), np.uint8)
    upright[:] = steep
    assert (
        edge_preservation(upright, upright.T // 8, upright)
        > 0.8
        > 0.3
        > edge_preservation(upright, upright.T // 8, upright.T // 8)
    )


def test_blur_and_noise_lower_what_is_kept() -> None:
    import cv2

    a, b = (cv2.GaussianBlur(image, (0, 0), 2) for image in (UNIFORM, OTHER))
    blurred = [edge_preservation(a, b, cv2.GaussianBlur(a, (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    noise = RNG.normal(0, 1, a.shape)
    noisy = [edge_preservation(a, b, np.clip(a + sigma * noise, 0, 255).astype(np.uint8)) for sigma in (0, 2, 5, 10)]
    assert blurred == sorted(blurred, reverse=True) and noisy == sorted(noisy, reverse=True)
    told = [mutual_information(a, b, np.clip(a + sigma * noise, 0, 255).astype(np.uint8)) for sigma in (0, 2, 5, 10)]
    assert told == sorted(told, reverse=True)
