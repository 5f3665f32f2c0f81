"""A small vocabulary of ORB features, made of images: ORB-SLAM3 does not start without one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from derain_ros.evaluate.restoration import EvaluationError

BRANCHES, LEVELS = 10, 4
"""Of the tree."""
FEATURES, MOST = 1500, 60_000
"""Features of an image, and of all that are used."""
ROUNDS = 4
"""Of clustering."""


def write(images: Iterable[np.ndarray], path: Path, seed: int = 1) -> int:
    """Write the vocabulary of (H, W) uint8 `images` in DBoW2's text format; the number of its words.

    Descriptors are clustered level by level by k-medians of their bits. Enough for tracking and for finding the way
    back within a drive; the one of a hundred megabytes that ORB-SLAM3 publishes knows more places. EvaluationError
    where the images show no features.
    """
    orb = cv2.ORB_create(FEATURES, 1.2, 8)  # type: ignore[attr-defined]  # not in its stubs
    found = [found for found in (orb.detectAndCompute(image, None)[1] for image in images) if found is not None]
    if not found:
        raise EvaluationError("the images show no features to make a vocabulary of; give one with --vocabulary")
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(rng.permutation(np.concatenate(found))[:MOST], axis=1).astype(np.float32)
    lines, waiting, words = [f"{BRANCHES} {LEVELS} 0 0"], [(np.arange(len(bits)), 0, 1)], 0
    while waiting:
        members, parent, level = waiting.pop(0)
        for centre, chosen in _clusters(bits, members, rng):
            leaf = level == LEVELS or len(chosen) <= BRANCHES
            values = " ".join(map(str, np.packbits(centre.astype(np.uint8))))
            lines.append(f"{parent} {int(leaf)} {values} {float(leaf)}")
            words += leaf
            if not leaf:  # a node's number is that of its line
                waiting.append((chosen, len(lines) - 1, level + 1))
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return words


def _clusters(bits: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Up to BRANCHES medians, (256,) of 0 and 1, of the rows `members` of `bits`, and the rows nearest to each."""
    own = bits[members]
    centres = own[rng.choice(len(own), min(BRANCHES, len(own)), replace=False)]
    for turn in range(ROUNDS + 1):
        # The Hamming distance but for what all centres share.
        nearest = (centres.sum(1) - 2 * own @ centres.T).argmin(1)
        groups = [nearest == k for k in range(len(centres))]
        if turn < ROUNDS:
            centres = np.stack(
                [own[group].mean(0) >= 0.5 if group.any() else old for group, old in zip(groups, centres, strict=True)]
            ).astype(np.float32)
    return [(centre, members[group]) for centre, group in zip(centres, groups, strict=True) if group.any()]
