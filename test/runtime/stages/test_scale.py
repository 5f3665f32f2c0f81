from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from derain_ros.runtime.stages.scale import MOST_PIXELS, compose, fitting_scale, reduce, small_size

RNG = np.random.default_rng(7)


def rough(*shape: int) -> np.ndarray:
    """Grey levels from 60 to 180: no change of these tests saturates."""
    return RNG.integers(60, 180, shape, np.uint8)


@pytest.mark.parametrize(
    ("scale", "height", "width", "expected"),
    [
        (1, 540, 720, 1),
        (2, 540, 720, 2),
        (1, 1536, 2048, 2),
        (2, 1536, 2048, 2),
        (1, 3000, 4000, 3),
        (4, 3000, 4000, 4),
    ],
)
def test_images_are_reduced_as_the_network_wants_and_until_they_are_small_enough(
    scale: int, height: int, width: int, expected: int
) -> None:
    assert fitting_scale(scale, height, width) == expected
    rows, columns = small_size(height, width, expected)
    assert rows * columns <= MOST_PIXELS + rows + columns


@pytest.mark.parametrize("channels", [1, 3])
def test_each_pixel_is_the_mean_of_those_it_stands_for(channels: int) -> None:
    batch = rough(2, 8, 12, channels)
    small = reduce(batch, 2)
    means = batch.reshape(2, 4, 2, 6, 2, channels).mean((2, 4))
    assert small.shape == means.shape and np.abs(small - means).max() <= 0.5
    assert reduce(batch, 1) is batch


@pytest.mark.parametrize("size", [(7, 11), (1, 1), (3, 8)])
def test_sizes_that_are_no_multiples_are_rounded_up(size: tuple[int, int]) -> None:
    small = reduce(np.full((2, *size, 3), 77, np.uint8), 2)
    assert small.shape == (2, *small_size(*size, 2), 3) and (small == 77).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "scale"), [((16, 24), 2), ((15, 23), 2), ((17, 25), 3), ((1, 1), 2)])
def test_what_the_network_left_alone_comes_back_bit_for_bit(size: tuple[int, int], scale: int, channels: int) -> None:
    batch = rough(2, *size, channels)
    small = reduce(batch, scale)
    done, masks = compose(batch, small, small.copy(), np.zeros(small.shape[:3], np.uint8))
    assert np.array_equal(done, batch) and masks.shape == batch.shape[:3] and not masks.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_outside_the_mask_the_change_is_added_and_under_it_detail_is_replaced(channels: int) -> None:
    batch = rough(1, 32, 48, channels)
    small = reduce(batch, 2)
    mask = np.zeros(small.shape[:3], np.uint8)
    mask[:, :, 12:] = 255
    restored = np.where(mask[..., None] > 0, np.uint8(90), small + 20)
    given = [array.copy() for array in (batch, small, restored, mask)]
    done, masks = compose(batch, small, restored, mask)
    assert np.array_equal(done[:, :, :20], batch[:, :, :20] + 20) and (done[:, :, 28:] == 90).all()
    assert (masks[:, :, :22] == 0).all() and (masks[:, :, 26:] == 255).all()
    assert all(np.array_equal(a, b) for a, b in zip(given, (batch, small, restored, mask), strict=True))


def test_changes_that_saturate_do_not_wrap_around() -> None:
    batch = np.array([[[[0], [255]] * 4] * 8], np.uint8)
    small = reduce(batch, 2)
    for change in (-100, 100):
        done, _ = compose(
            batch, small, (small.astype(int) + change).astype(np.uint8), np.zeros(small.shape[:3], np.uint8)
        )
        assert set(done.flat) == {max(0, change), min(255, 255 + change)}


def test_it_is_what_networks_are_trained_with() -> None:
    torch = pytest.importorskip("torch")
    from derain_ros.nets import fast

    batch = np.stack([cv2.GaussianBlur(rough(32, 48), (0, 0), 1.5) for _ in range(2)])[..., None]
    small = reduce(batch, 2)
    restored = np.clip(small.astype(int) + RNG.integers(-40, 40, small.shape), 0, 255).astype(np.uint8)
    logits = RNG.normal(0, 3, small.shape[:3])
    done, masks = compose(batch, small, restored, np.round(255 / (1 + np.exp(-logits))).astype(np.uint8))

    def tensor(images: np.ndarray) -> Any:
        return torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)

    out = fast.Restoration(tensor(restored), tensor(restored), torch.from_numpy(logits.astype(np.float32))[:, None])
    trained = fast.compose(tensor(batch), tensor(small), out, 2)
    assert np.abs(done[..., 0] - 255 * trained.restored[:, 0].clamp(0, 1).numpy()).max() <= 2
