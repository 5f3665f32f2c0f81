"""A vocabulary made of images is a tree in DBoW2's text format."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.slam.vocabulary import BRANCHES, LEVELS, write


def picture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (30, 40), dtype=np.uint8)
    return cv2.resize(noise, (240, 180), interpolation=cv2.INTER_NEAREST)


def test_a_tree_of_medians(tmp_path: Path) -> None:
    words = write([picture(seed) for seed in range(3)], tmp_path / "voc.txt")
    head, *lines = (tmp_path / "voc.txt").read_text().splitlines()
    assert head == f"{BRANCHES} {LEVELS} 0 0"
    table = np.array([line.split() for line in lines], float)
    parents, leaves, descriptors, weights = table[:, 0], table[:, 1] == 1, table[:, 2:34], table[:, 34]
    assert table.shape[1] == 35 and descriptors.min() >= 0 and descriptors.max() <= 255
    assert words == leaves.sum() > 100 and np.array_equal(weights, leaves)
    # A node's number is that of its line; each hangs below one that stands before it and is no leaf.
    assert (parents < np.arange(1, len(table) + 1)).all()
    inner = set(np.flatnonzero(~leaves) + 1) | {0}
    assert set(parents.astype(int)) == inner
    assert max(np.unique(parents, return_counts=True)[1]) <= BRANCHES
    again = tmp_path / "again.txt"
    write([picture(seed) for seed in range(3)], again)
    assert again.read_bytes() == (tmp_path / "voc.txt").read_bytes()


def test_images_without_features_are_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="have no features"):
        write([np.zeros((90, 120), np.uint8)], tmp_path / "voc.txt")
