from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.runtime.input.alignment import likeness, peak, structure


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Houses and a road, so to speak: rectangles of all greys."""
    rng = np.random.default_rng(2)
    image = np.full((240, 320), 120, np.uint8)
    for _ in range(40):
        x, y, w, h = (int(value) for value in rng.integers((0, 0, 20, 20), (300, 220, 90, 90)))
        cv2.rectangle(image, (x, y), (x + w, y + h), int(rng.integers(20, 240)), -1)
    return cv2.GaussianBlur(image, (0, 0), 1.2)


def thermal_of(image: np.ndarray) -> np.ndarray:
    """The same contours with other greys: some turned over, all fainter."""
    rng = np.random.default_rng(5)
    table = cv2.GaussianBlur(rng.integers(0, 256, (1, 256)).astype(np.float32), (0, 0), 20).ravel()
    return cv2.LUT(image, (100 + 0.4 * (table - table.mean()) * 8).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("move", [(0, 0), (3, -5), (-6, 2)])
def test_a_move_is_found_whatever_the_greys_are(picture: np.ndarray, move: tuple[int, int]) -> None:
    thermal = np.roll(thermal_of(picture), (-move[1], -move[0]), (0, 1))
    assert np.corrcoef(picture.ravel(), thermal.ravel())[0, 1] < 0.8
    found = peak(likeness(structure(picture), structure(thermal), 8))
    assert found == pytest.approx(move, abs=0.3)


def test_a_fraction_of_a_pixel_is_told(picture: np.ndarray) -> None:
    moved = cv2.warpAffine(
        picture, np.float32([[1, 0, -2.5], [0, 1, 1.25]]), picture.shape[::-1], borderMode=cv2.BORDER_REPLICATE
    )
    column, row = peak(likeness(structure(picture), structure(moved), 6))
    assert column == pytest.approx(2.5, abs=0.3) and row == pytest.approx(-1.25, abs=0.3)


def test_noise_has_no_strong_contours_and_both_signs_are_alike(picture: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(100, 1, (100, 100)).round().astype(np.uint8)
    assert np.linalg.norm(structure(noise), axis=2).mean() < 0.2
    assert np.allclose(structure(picture), structure(255 - picture), atol=1e-3)
    assert np.abs(structure(picture)).max() <= 1
