"""Figures of restorers: PSNR and SSIM of known cases, tables, and what cannot be evaluated."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

from derain_ros.engine import load
from derain_ros.evaluate.restoration import (
    EvaluationError,
    EvaluationPair,
    evaluate,
    markdown,
    mean_and_interval,
    read_pairs,
    score,
    similarity,
    summary,
    write_csv,
)
from derain_ros.manifest import Manifest


def test_psnr_and_ssim_of_known_images() -> None:
    image = np.random.default_rng(0).integers(20, 200, (64, 64), dtype=np.uint8)
    assert similarity(image, image) == (100.0, pytest.approx(1.0))
    psnr, ssim = similarity(image, image + 10)
    assert psnr == pytest.approx(20 * np.log10(255 / 10))
    assert 0.9 < ssim < 1.0


def test_scores_a_restorer_on_pairs(tmp_path: Path) -> None:
    # The tiny restorer adds 10, so an image that is 10 too dark comes back as it should be.
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_rgb"))
    clean = np.random.default_rng(0).integers(20, 200, (48, 40, 3), dtype=np.uint8)
    scores = evaluate(engine, [EvaluationPair("a", clean - 10, clean), EvaluationPair("b", clean, clean)])
    assert scores[0].psnr == 100.0 and scores[0].input_psnr == pytest.approx(28.13, abs=0.01)
    assert scores[1].input_psnr == 100.0 and scores[1].psnr == pytest.approx(28.13, abs=0.01)
    figures = summary(scores)
    assert figures["psnr_gain"] == figures["psnr_gain_luma"] == pytest.approx(0.0)
    assert figures["psnr_gain_low"] < -60 and figures["psnr_gain_high"] > 60 and "mask_iou" not in figures
    write_csv(scores, tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", "b"]
    table = markdown([("held out", "tiny", scores)]).splitlines()
    rows = [line for line in table if line.startswith("|")]
    assert len(rows) == 6 and len({row.count("|") for row in rows}) == 1, "a table for each protocol"
    assert all("| held out | tiny | 2 |" in rows[k] for k in (2, 5))
    assert "RGB" in table[0] and any(line.startswith("Luminance: 0.299") for line in table)


def test_both_protocols_and_the_mask() -> None:
    clean = np.full((40, 40, 3), 100, np.uint8)
    wet, restored, mask = clean.copy(), clean.copy(), np.zeros((40, 40), np.uint8)
    wet[..., 2] += 30
    restored[:, :20, 1] += 10
    mask[:, :20] = 255
    found = np.zeros_like(mask)
    found[:, 10:30] = 255
    figures = score(EvaluationPair("a", wet, clean, mask), restored, found)
    assert figures.input_psnr == pytest.approx(20 * np.log10(255 / 30) + 10 * np.log10(3))
    assert figures.input_psnr_luma == pytest.approx(20 * np.log10(255 / 3), abs=1e-6), "0.114 of 30, rounded"
    assert figures.psnr_luma == pytest.approx(20 * np.log10(255 / 6) + 10 * np.log10(2)), "0.587 of 10, rounded"
    assert (figures.mask_shared, figures.mask_joined) == (400, 1200)
    assert summary([figures])["mask_iou"] == pytest.approx(1 / 3)


def test_what_is_wrong_under_the_mask_is_told_apart() -> None:
    clean = np.full((20, 40, 3), 100, np.uint8)
    mask = np.zeros((20, 40), np.uint8)
    mask[:, :10] = 255
    restored = clean + np.where(mask[..., None] > 0, 20, 5).astype(np.uint8)
    figures = score(EvaluationPair("a", clean + 30, clean, mask), restored, mask)
    assert figures.covered == 0.25
    assert figures.psnr_hidden == pytest.approx(20 * np.log10(255 / 20) + 10 * np.log10(4)) and figures.psnr_hidden > (
        figures.psnr
    )
    unknown = score(EvaluationPair("a", clean + 30, clean), restored, mask)
    assert np.isnan(unknown.covered) and np.isnan(unknown.psnr_hidden)


def test_the_iou_is_that_of_all_pixels_together() -> None:
    image = np.zeros((16, 16), np.uint8)
    small = score(
        EvaluationPair("a", image, image + 1, np.where(np.arange(256).reshape(16, 16) < 2, 255, 0)), image, image
    )
    large = score(EvaluationPair("b", image, image + 1, image + 255), image, image + 255)
    assert summary([small, large])["mask_iou"] == pytest.approx(256 / 258)


def test_clean_images_have_no_gain_and_grey_ones_one_protocol(tmp_path: Path) -> None:
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_rgb"))
    grey = np.random.default_rng(0).integers(20, 200, (32, 32), dtype=np.uint8)
    scores = evaluate(engine, [EvaluationPair("a", grey, grey)])
    assert scores[0].psnr == pytest.approx(28.13, abs=0.01), "a colour model takes grey as three equal channels"
    assert set(summary(scores)) == {"images", "psnr", "ssim"}
    table = markdown([("clean", "tiny", scores)])
    assert "RGB:" not in table and "| clean | tiny | 1 |  |  | 28.13 (28.13 to 28.13) |" in table


def test_an_image_smaller_than_the_window_is_told() -> None:
    small = np.zeros((10, 40), np.uint8)
    with pytest.raises(EvaluationError, match="SSIM needs at least 11x11 pixels, but an image has 40x10"):
        score(EvaluationPair("a", small, small), small, small)


def test_interval_holds_the_mean_and_narrows() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(5, 1, 10), rng.normal(5, 1, 1000)
    for values in (few, many):
        mean, low, high = mean_and_interval(values)
        assert low < mean < high and mean == pytest.approx(values.mean())
    assert mean_and_interval(many)[2] - mean_and_interval(many)[1] < 0.2


def test_pairs_are_read_by_name(tmp_path: Path) -> None:
    for folder in ("wet", "clean"):
        (tmp_path / folder).mkdir()
        for name in ("a_1.png", "b_1.png"):
            cv2.imwrite(str(tmp_path / folder / name), np.full((20, 30, 3), (250, 0, 0), np.uint8))
    pairs = list(read_pairs(tmp_path / "wet", tmp_path / "clean", 3, ("b_",)))
    assert [p.name for p in pairs] == ["b_1.png"] and tuple(pairs[0].wet[0, 0]) == (0, 0, 250)
    assert next(read_pairs(tmp_path / "wet", tmp_path / "clean", 1)).wet.shape == (20, 30)
    cv2.imwrite(str(tmp_path / "clean/a_1.png"), np.zeros((20, 31, 3), np.uint8))
    with pytest.raises(EvaluationError, match="a_1.png.*different sizes"):
        list(read_pairs(tmp_path / "wet", tmp_path / "clean", 3))
    (tmp_path / "clean/b_1.png").write_bytes(b"not a picture")
    with pytest.raises(EvaluationError, match="b_1.png: cannot be read"):
        list(read_pairs(tmp_path / "wet", tmp_path / "clean", 3, ("b_",)))
    with pytest.raises(EvaluationError, match="contains no"):
        list(read_pairs(tmp_path, tmp_path, 3))
