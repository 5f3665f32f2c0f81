"""The restorer's training: it learns, it resumes where it stopped, and it never sees the held-out frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.train.data import Batch, BatchSource, DataError, Pair, real_pairs, synthetic_pairs  # noqa: E402
from derain_ros.train.restore import RestoreRecipe, learning_rate, train  # noqa: E402

TINY = RestoreRecipe(width=16, blocks=1, steps=60, batch=2, crop=64, synthetic=4, validate_every=30, warm_up=5,
                     average=0.9, seed=3)


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_learns_from_real_pairs(data_folder: Path, tmp_path: Path) -> None:
    train(data_folder, tmp_path, replace(TINY, real_share=1.0, clean_share=0.0, steps=150, validate_every=50))
    log = read_log(tmp_path)
    assert [row["step"] for row in log] == [50, 100, 150]
    assert log[-1]["psnr"] > log[-1]["input_psnr"] + 1.0


def test_resumes_to_the_same_result(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(data_folder, tmp_path / "whole", TINY)
    draws = 0

    def draw_until_the_power_fails(source: BatchSource) -> Batch:
        nonlocal draws
        draws += 1
        if draws == 41:
            raise KeyboardInterrupt
        return draw(source)

    draw = BatchSource.draw
    monkeypatch.setattr(BatchSource, "draw", draw_until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        train(data_folder, tmp_path / "cut", TINY)
    assert [row["step"] for row in read_log(tmp_path / "cut")] == [30]
    train(data_folder, tmp_path / "cut", TINY)
    whole, cut = read_log(tmp_path / "whole"), read_log(tmp_path / "cut")
    assert [row["step"] for row in cut] == [30, 60]
    assert cut[-1]["loss"] == whole[-1]["loss"] and cut[-1]["psnr"] == whole[-1]["psnr"]


def test_starts_from_the_weights_of_another_training(data_folder: Path, tmp_path: Path) -> None:
    first = train(data_folder, tmp_path / "first", TINY)
    second = train(data_folder, tmp_path / "second", replace(TINY, start_from=str(first), steps=1, learning_rate=0.0))
    before, after = (torch.load(path, weights_only=False)["net"] for path in (first, second))
    average = torch.load(first, weights_only=False)["average"]
    assert all(torch.equal(after[key], average[key]) for key in average)
    assert not all(torch.equal(after[key], before[key]) for key in before)


def test_held_out_frames_are_kept_out(data_folder: Path) -> None:
    held_out, trained = real_pairs(data_folder, held_out=True), real_pairs(data_folder, held_out=False)
    assert len(held_out) == 2 and len(trained) == 2
    for a in held_out:
        assert not any(np.array_equal(a.clean, b.clean) for b in trained)


def test_masks_of_real_and_synthetic_pairs(data_folder: Path) -> None:
    for pair in real_pairs(data_folder, held_out=False):
        blot = np.zeros_like(pair.mask)
        cv2.circle(blot, (128, 128), 60, 255, -1)
        assert np.count_nonzero(pair.mask & blot) / np.count_nonzero(pair.mask | blot) > 0.85
    for pair in synthetic_pairs([data_folder / "bsds500/train"], 3, 128, seed=1):
        changed = np.abs(pair.wet.astype(int) - pair.clean).max(axis=2) > 0
        assert pair.mask.any() and changed[pair.mask > 0].mean() > 0.9


def test_batches(data_folder: Path) -> None:
    clean = np.full((80, 80, 3), (200, 120, 60), np.uint8)
    pair = Pair(np.full_like(clean, 250), clean, np.full((80, 80), 255, np.uint8))
    source = BatchSource([pair], [], 64, 16, 1.0, 0.5, np.random.default_rng(0))
    batch = source.draw()
    assert batch.wet.shape == batch.clean.shape == (16, 3, 64, 64) and batch.mask.shape == (16, 1, 64, 64)
    assert batch.wet.min() >= 0 and batch.wet.max() <= 1
    same = torch.tensor([torch.equal(w, c) for w, c in zip(batch.wet, batch.clean, strict=True)])
    assert 2 < same.sum() < 14, "about half are clean already"
    assert all(m.max() == 0 for m in batch.mask[same]) and all(m.min() == 1 for m in batch.mask[~same])
    grey = torch.tensor([torch.allclose(c[0], c[1]) and torch.allclose(c[1], c[2]) for c in batch.clean])
    assert 2 < grey.sum() < 14, "about half are grey"
    with pytest.raises(DataError, match="no pairs"):
        BatchSource([], [], 64, 2, 1.0, 0.0, np.random.default_rng(0))


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no .jpg or .png images"):
        train(tmp_path, tmp_path / "out", TINY)


def test_learning_rate_rises_then_falls() -> None:
    recipe = replace(TINY, steps=100, warm_up=10, learning_rate=1.0)
    rates = [learning_rate(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(rates[9], abs=0.03)
    assert rates[9:] == sorted(rates[9:], reverse=True) and rates[-1] < 0.02
