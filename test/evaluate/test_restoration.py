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
    Pair,
    evaluate,
    markdown,
    mean_and_interval,
    read_pairs,
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
    scores = evaluate(engine, [Pair("a", clean - 10, clean), Pair("b", clean, clean)])
    assert scores[0].psnr == 100.0 and scores[0].input_psnr == pytest.approx(28.13, abs=0.01)
    assert scores[1].input_psnr == 100.0 and scores[1].psnr == pytest.approx(28.13, abs=0.01)
    assert summary(scores)["psnr_gain"] == pytest.approx(0.0)
    write_csv(scores, tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", "b"]
    table = markdown({"tiny": scores}).splitlines()
    assert len(table) == 3 and len({line.count("|") for line in table}) == 1 and "| tiny | 2 |" in table[2]


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
    with pytest.raises(EvaluationError, match="holds no"):
        list(read_pairs(tmp_path, tmp_path, 3))
