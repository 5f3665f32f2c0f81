"""Crops of labelled scenes, and counts and overlaps of classes worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_streets import write_streets

from derain_ros.data.labelled import VOID, labelled_scenes
from derain_ros.data.segmentation import class_overlaps, confusion, draw_crop, mean_overlap


def test_counts_of_true_and_found_classes() -> None:
    labels = np.array([[0, 0, 0, 1, 1, VOID, 2]], np.uint8)
    found = np.array([[0, 0, 1, 1, 2, 0, VOID]], np.uint8)
    counts = confusion(labels, found, 4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], "void counts on neither side"
    assert class_overlaps(counts) == pytest.approx([2 / 3, 1 / 3, 0, np.nan], nan_ok=True)
    assert mean_overlap(counts) == pytest.approx(1 / 3), "of the three classes that are there or were found"
    assert np.isnan(mean_overlap(0 * counts))


def test_a_crop_and_its_labels_show_the_same(tmp_path: Path) -> None:
    scenes = labelled_scenes(write_streets(tmp_path), "train")
    for seed in range(12):
        image, labels = draw_crop(scenes, 64, np.random.default_rng(seed))
        assert image.shape == (64, 64, 3) and labels.shape == (64, 64) and image.dtype == labels.dtype == np.uint8
        assert set(np.unique(labels)) <= {0, 1, 3, VOID}
        again = draw_crop(scenes, 64, np.random.default_rng(seed))
        assert np.array_equal(again[0], image) and np.array_equal(again[1], labels)
        # Sky is brighter than the road in any light.
        grey = image.mean(2)
        if min(np.mean(labels == 0), np.mean(labels == 3)) > 0.05:
            assert grey[labels == 0].mean() > grey[labels == 3].mean() + 20


def test_beyond_a_small_scene_there_is_void(tmp_path: Path) -> None:
    scenes = labelled_scenes(write_streets(tmp_path, height=20, width=24), "train")
    image, labels = draw_crop(scenes, 96, np.random.default_rng(0))
    assert image.shape == (96, 96, 3) and labels.shape == (96, 96)
    assert (labels[48:] == VOID).all() and (labels[:, 48:] == VOID).all() and (labels != VOID).any()
