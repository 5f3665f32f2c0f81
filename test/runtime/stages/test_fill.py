from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain_ros.runtime.stages.fill import smooth

RNG = np.random.default_rng(2)


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def image(request: pytest.FixtureRequest) -> np.ndarray:
    return RNG.integers(0, 256, (200, 260, request.param), np.uint8)


def test_without_a_mask_it_is_the_image_itself(image: np.ndarray) -> None:
    assert smooth(image, np.zeros(image.shape[:2], np.uint8)) is image


def test_under_the_mask_there_is_no_detail_and_away_from_it_nothing_changes(image: np.ndarray) -> None:
    mask, before = np.zeros(image.shape[:2], np.uint8), image.copy()
    mask[60:120, 90:170] = 255
    done = smooth(image, mask)
    assert done.shape == image.shape and done.dtype == np.uint8 and np.array_equal(image, before)
    inside = done[60:120, 90:170].astype(float)
    assert inside.std() < 0.2 * image.std() and inside.mean() == pytest.approx(image[60:120, 90:170].mean(), abs=8)
    away = cv2.dilate(mask, np.ones((15, 15), np.uint8)) == 0
    assert np.array_equal(done[away], image[away])


def test_its_edge_is_no_contour() -> None:
    image = np.tile(np.uint8([[0], [255]]), (100, 300))[..., None]  # rows of black and white, grey where blurred
    mask = np.zeros((200, 300), np.uint8)
    mask[:, 150:] = 255
    done = smooth(image, mask)[1::2, :, 0].astype(int)
    # From white to grey, but in no single step.
    assert done[:, 100].min() == 255 and done[:, 200].max() < 150 and np.abs(np.diff(done, axis=1)).max() < 80


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 9)])
def test_small_images_and_whole_masks_are_no_trouble(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 40, np.uint8)
    assert np.array_equal(smooth(image, np.full(size, 255, np.uint8)), image)
