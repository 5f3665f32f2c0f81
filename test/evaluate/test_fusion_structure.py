"""SSIM, MS-SSIM, the measure of exposure fusion and VIF: identities, the library's SSIM, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from derain_ros.evaluate.fusion_structure import (
    SMALLEST,
    exposure_similarity,
    multi_scale_similarity,
    printed_similarity,
    similarity,
    visual_information_fidelity,
)

RNG = np.random.default_rng(0)


def texture(seed: int) -> np.ndarray:
    """(200, 230) uint8 with detail at several scales."""
    noise = np.random.default_rng(seed).normal(0, 1, (200, 230))
    layers = sum(sigma * 25 * cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (1, 4, 16))
    return np.clip(128 + layers, 0, 255).astype(np.uint8)


A, B = texture(1), texture(2)
MEASURES = (similarity, printed_similarity, multi_scale_similarity, exposure_similarity, visual_information_fidelity)


def test_an_image_with_itself() -> None:
    for measure in MEASURES[:4]:
        assert measure(A, A, A) == pytest.approx(1)
    assert visual_information_fidelity(A, A, A) == pytest.approx(2), "1 of each source"
    flat = np.full_like(A, 90)
    assert visual_information_fidelity(A, flat, A) == pytest.approx(1), "a flat source holds no information"


def test_ssim_is_the_library_s() -> None:
    for measure, data_range in ((similarity, 255), (printed_similarity, 1)):
        expected = [
            structural_similarity(
                source,
                A // 2 + B // 2,
                data_range=data_range,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for source in (A, B)
        ]
        assert measure(A, B, A // 2 + B // 2) == pytest.approx(np.mean(expected), abs=1e-6)


def test_ssim_of_flat_images_is_luminance_alone() -> None:
    a, b = np.full((200, 200), 100, np.uint8), np.full((200, 200), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert similarity(a, a, b) == pytest.approx(luminance)
    assert multi_scale_similarity(a, a, b) == pytest.approx(luminance ** (0.1333 / 1.0001)), "the coarsest scale's"
    shallow = multi_scale_similarity(a[:100], a[:100], b[:100])
    assert shallow == pytest.approx(luminance ** (0.2363 / 0.8668)), "of 100 pixels four scales are left"
    assert exposure_similarity(a, a, b) == pytest.approx(1), "brightness does not count"


def test_structure_alone_has_all_scales_exponents() -> None:
    # Half the contrast of everything, around the same mean: each scale has nearly 2 (1/2) / (1 + 1/4) = 0.8.
    checks = np.kron(RNG.integers(0, 2, (8, 8)), np.ones((32, 32)))
    a = (28 + 200 * checks).astype(np.uint8)
    half = (78 + 100 * checks).astype(np.uint8)
    assert multi_scale_similarity(a, a, half) == pytest.approx(0.8, abs=0.1)
    assert exposure_similarity(a, a, a // 2) == pytest.approx(exposure_similarity(a, a, a // 2 + 100), abs=0.02)


def test_wanted_structure_is_that_of_the_stronger_source() -> None:
    flat = np.full_like(A, 90)
    assert exposure_similarity(A, flat, A) == pytest.approx(1, abs=1e-3), "where one is flat, the other is wanted whole"
    assert exposure_similarity(A, flat, (A // 2 + flat // 2)) < 0.9, "the mean loses half of its contrast"
    assert exposure_similarity(A, B, A) == pytest.approx(exposure_similarity(B, A, A))
    left, right = A.copy(), A.copy()
    left[:, 115:], right[:, :115] = 90, 90
    assert exposure_similarity(left, right, A) > 0.97 > 0.8 > exposure_similarity(left, right, left)


def test_fidelity_of_gain() -> None:
    quieter, louder = (128 + (A.astype(float) - 128) * 0.5), (128 + (A.astype(float) - 128) * 1.2)
    dim, strong = (np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in (quieter, louder))
    assert visual_information_fidelity(A, A, dim) < 2 < visual_information_fidelity(A, A, strong)
    assert visual_information_fidelity(A, A, 255 - A) == pytest.approx(0, abs=1e-3), "a negative tells nothing"
    assert visual_information_fidelity(A, A, B) < 0.1


@pytest.mark.parametrize("measure", MEASURES)
def test_blur_and_noise_lower_every_figure(measure: object) -> None:
    noise = RNG.normal(0, 1, A.shape)
    blurred = [A] + [cv2.GaussianBlur(A, (0, 0), sigma) for sigma in (0.7, 1.5, 3)]
    noisy = [np.clip(A + sigma * noise, 0, 255).astype(np.uint8) for sigma in (0, 5, 15, 40)]
    for images in (blurred, noisy):
        figures = [measure(A, A, image) for image in images]  # type: ignore[operator]
        assert figures == sorted(figures, reverse=True) and figures[0] > figures[-1] + 0.05


def test_the_smallest_image() -> None:
    small = A[:SMALLEST, :SMALLEST]
    for measure in MEASURES[:4]:
        assert measure(small, small, small) == pytest.approx(1)
    assert visual_information_fidelity(small, small, small) == pytest.approx(2)
