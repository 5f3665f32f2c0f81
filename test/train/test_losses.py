"""The loss of the mask: what misses a small drop must cost."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.train.losses import mask_loss, overlap  # noqa: E402


def a_small_drop() -> torch.Tensor:
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, 0, 10:14, 20:24] = 1
    return mask


def test_overlap_is_intersection_over_union_of_the_whole_batch() -> None:
    true, found = torch.zeros(2, 1, 40, 40), torch.zeros(2, 1, 40, 40)
    true[0, 0, :20], found[0, 0, 10:30] = 1, 1
    assert overlap(found, true).item() == pytest.approx(1 / 3, abs=1e-3)
    assert overlap(true, true).item() == overlap(0 * true, 0 * true).item() == 1.0


def test_to_miss_a_small_drop_costs_more_than_its_share_of_the_pixels() -> None:
    true = a_small_drop()
    nothing, all_of_it = torch.full_like(true, -14.0), 28 * true - 14
    assert mask_loss(all_of_it, true).item() < 0.05
    assert mask_loss(nothing, true).item() > 0.4 > 100 * true.mean().item()


def test_it_draws_every_pixel_towards_the_truth() -> None:
    true = a_small_drop()
    logits = torch.zeros_like(true, requires_grad=True)
    mask_loss(logits, true).backward()
    assert logits.grad is not None
    assert (logits.grad[true == 1] < 0).all() and (logits.grad[true == 0] > 0).all()
