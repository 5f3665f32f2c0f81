"""Losses (1) to (4) of paper 2 against values worked out by hand."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.segmentation import Maps  # noqa: E402
from derain_ros.train.task_losses import (  # noqa: E402
    attention_loss,
    image_loss,
    rainy_pixels,
    refinement_loss,
    semantic_loss,
)


def flat(value: float, size: int = 16) -> torch.Tensor:
    return torch.full((1, 3, size, size), value)


def ssim_of_flat(a: float, b: float) -> float:
    """Structural similarity of two images without structure."""
    return (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)


def test_1_rain_is_where_grey_differs_by_more_than_five_of_255() -> None:
    clean = flat(0.5, 2)
    rainy = clean.clone()
    rainy[0, :, 0, 0] += 6 / 255
    rainy[0, :, 0, 1] += 4 / 255
    rainy[0, :, 1, 0] -= 6 / 255
    rainy[0, 2, 1, 1] += 40 / 255  # blue alone: 0.114 of it in grey, 4.56
    target = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    assert torch.equal(rainy_pixels(rainy, clean), target)
    assert attention_loss(target, rainy, clean) == 0
    assert attention_loss(torch.full((1, 1, 2, 2), 0.5), rainy, clean) == pytest.approx(0.25)
    assert attention_loss(1 - target, rainy, clean) == pytest.approx(1.0)


def test_2_weighs_structure_by_085() -> None:
    expected = 0.85 * (1 - ssim_of_flat(0.6, 0.4)) + 0.15 * 0.2
    assert image_loss(flat(0.6), flat(0.4)) == pytest.approx(expected, abs=1e-4)
    assert image_loss(flat(0.4), flat(0.4)) == pytest.approx(0, abs=1e-4)


def test_3_takes_half_the_squares_of_all_but_the_last() -> None:
    last = 0.85 * (1 - ssim_of_flat(0.6, 0.5)) + 0.15 * 0.1
    found = refinement_loss([flat(0.8), flat(0.7), flat(0.6)], flat(0.5))
    assert found == pytest.approx(0.5 * (0.3**2 + 0.2**2) + last, abs=1e-4)
    assert refinement_loss([flat(0.6)], flat(0.5)) == pytest.approx(last, abs=1e-4), "nothing before the last"


def test_4_is_the_mean_of_five_maps_and_a_tenth_of_the_last_one() -> None:
    def maps(aspp: list[float], last: float, skip: float) -> Maps:
        five = tuple(torch.full((1, 4, 2, 3), float(value)) for value in aspp)
        return Maps(five, torch.full((1, 7, 2, 3), float(last)), torch.tensor(float(skip)))

    clean = maps([0, 0, 0, 0, 0], 0, 0)
    found = semantic_loss(maps([1, -2, 3, -4, 5], -6, 99), clean)
    assert found == pytest.approx(15 / 5 + 0.1 * 6), "signs and the skip do not count"
    assert semantic_loss(clean, clean) == 0


def test_4_teaches_the_derained_image_alone() -> None:
    image, goal = (torch.rand(1, 4, 2, 2, requires_grad=True) for _ in range(2))
    mine, theirs = (Maps((x,) * 5, x, x) for x in (image, goal))
    semantic_loss(mine, theirs).backward()
    assert image.grad is not None and image.grad.abs().sum() > 0 and goal.grad is None
