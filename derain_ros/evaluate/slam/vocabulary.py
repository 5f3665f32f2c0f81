"""Makes a small vocabulary of ORB features from images, because ORB-SLAM3 does not start without one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from derain_ros.evaluate.restoration import EvaluationError

BRANCHES, LEVELS = 10, 4
"""Branches of a node, and levels of the tree."""
FEATURES, MOST = 1500, 60_000
"""Largest number of features of an image, and of all images together."""
ROUNDS = 4
"""Rounds of clustering."""


def write(images: Iterable[np.ndarray], path: Path, seed: int = 1) -> int:
    """Write the vocabulary of `images` (H, W) uint8 in DBoW2's text format; return its number of words.

    Descriptors are clustered level by level with k-medians of their bits. This is enough for tracking and
    relocalisation within a drive; the vocabulary of a hundred megabytes that ORB-SLAM3 publishes knows more places.
    Raises EvaluationError if the images show no features.
    """
    orb = cv2.ORB_create(FEATURES, 1.2, 8)  # type: ignore[attr-defined]  # not in its stubs
    found = [found for found in (orb.detectAndCompute(image, None)[1] for image in images) if found is not None]
    if not found:
        raise EvaluationError("the images have no features to make a vocabulary from; name one with --vocabulary")
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
    """Cluster the rows `members` of `bits`; return up to BRANCHES medians (256,) of 0 and 1, and the rows of each."""
    own = bits[members]
    centres = own[rng.choice(len(own), min(BRANCHES, len(own)), replace=False)]
    for turn in range(ROUNDS + 1):
        # The Hamming distance without the part that is equal for all centres.
        nearest = (centres.sum(1) - 2 * own @ centres.T).argmin(1)
        groups = [nearest == k for k in range(len(centres))]
        if turn < ROUNDS:
            centres = np.stack(
                [own[group].mean(0) >= 0.5 if group.any() else old for group, old in zip(groups, centres, strict=True)]
            ).astype(np.float32)
    return [(centre, members[group]) for centre, group in zip(centres, groups, strict=True) if group.any()]
