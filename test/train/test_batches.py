"""Batches: the same whoever draws them, and changed alike on the device."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.data.samples import Pair, SampleSource  # noqa: E402
from derain_ros.train.batches import Batches, RawBatch, Unlabelled, change_colour, loader, prepare  # noqa: E402


@pytest.fixture
def source() -> SampleSource:
    """Samples of a texture, all different."""
    clean = np.random.default_rng(0).integers(0, 200, (96, 96, 3), dtype=np.uint8)
    return SampleSource([Pair(clean + 50, clean, np.full((96, 96), 255, np.uint8))], None, 32, 1.0, 0.0, seed=4)


@pytest.fixture
def unlabelled(tmp_path: Path) -> Unlabelled:
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(1).integers(0, 255, (90, 120, 3), dtype=np.uint8))
    return Unlabelled([tmp_path / "a.png"], 2, 32, seed=4)


def same(a: RawBatch, b: RawBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_workers_draw_the_same(source: SampleSource, unlabelled: Unlabelled) -> None:
    here = list(loader(Batches(source, unlabelled, 4, 0, 5), 0, pin=False))
    there = list(loader(Batches(source, unlabelled, 4, 0, 5), 2, pin=False))
    resumed = list(loader(Batches(source, unlabelled, 4, 2, 5), 2, pin=False))
    assert len(here) == 5 and all(same(a, b) for a, b in zip(here, there, strict=True))
    assert all(same(a, b) for a, b in zip(here[2:], resumed, strict=True))
    assert not same(here[0], here[1])


def test_ranks_share_a_batch(source: SampleSource, unlabelled: Unlabelled) -> None:
    whole = Batches(source, unlabelled, 4, 0, 1).draw(0)
    parts = [Batches(source, unlabelled, 4, 0, 1, rank, 2).draw(0) for rank in (0, 1)]
    assert len(parts[0].clean) == 2 and len(parts[0].wet) == 3
    for place in range(4):
        assert torch.equal(parts[place % 2].clean[place // 2], whole.clean[place])
    assert not torch.equal(parts[0].clean, parts[1].clean)
    assert torch.equal(parts[1].wet[2], whole.wet[5])


def test_prepared_batches(source: SampleSource, unlabelled: Unlabelled) -> None:
    batch = prepare(Batches(source, unlabelled, 4, 0, 1).draw(0), torch.device("cpu"))
    assert batch.wet.shape == batch.clean.shape == (4, 3, 32, 32) and batch.unlabelled.shape == (2, 3, 32, 32)
    assert batch.mask.shape == (4, 1, 32, 32) and batch.mask.min() == 1
    assert batch.wet.min() >= 0 and batch.wet.max() <= 1 and (batch.wet - batch.clean).mean() > 0.05
    assert len(prepare(Batches(source, Unlabelled([], 2, 32, 4), 4, 0, 1).draw(0), torch.device("cpu")).unlabelled) == 0


def test_change_of_colour() -> None:
    image = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1)
    colour = torch.tensor([[0.5, 1.0, 2.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    changed = change_colour(image.expand(2, 3, 1, 1), colour)[..., 0, 0]
    torch.testing.assert_close(changed[0], torch.tensor([0.01, 0.16, 0.16]))
    torch.testing.assert_close(changed[1], torch.full((3,), 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8))
