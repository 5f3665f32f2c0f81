"""Figures from the scores of a detector: shares with intervals, area under the curve, operating point, calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DRAWS = 1000
"""Number of bootstrap draws."""
BINS = 15
"""Number of bins of equal width for the calibration error."""


class Figure(NamedTuple):
    """A value with the bounds of its 95 % confidence interval and the number of its samples."""

    value: float
    low: float
    high: float
    samples: int


NONE = Figure(float("nan"), 0.0, 1.0, 0)
"""The figure of no samples."""


def share(flags: np.ndarray) -> Figure:
    """Share of the flags that are set, with Wilson's interval: a bootstrap interval is empty if no flag is set."""
    n = len(flags)
    if n == 0:
        return NONE
    p, z = float(np.mean(flags)), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return Figure(p, max(0.0, middle - half), min(1.0, middle + half), n)


def area(positive: np.ndarray, negative: np.ndarray) -> Figure:
    """`auroc` with a bootstrap interval over both sets of scores."""
    if not (len(positive) and len(negative)):
        return NONE
    rng = np.random.default_rng(0)
    drawn = [auroc(rng.choice(positive, len(positive)), rng.choice(negative, len(negative))) for _ in range(DRAWS)]
    return Figure(auroc(positive, negative), *_bounds(drawn), len(positive) + len(negative))


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a random score of `positive` is above a random score of `negative`; ties count half."""
    ranked = np.sort(negative)
    below = np.searchsorted(ranked, positive, "left")
    up_to = np.searchsorted(ranked, positive, "right")
    return float((below + up_to).mean() / (2 * len(negative)))


def alarms_at_recall(positive: np.ndarray, negative: np.ndarray, recall: float) -> tuple[Figure, float]:
    """The share of `negative` scores that reach the threshold for a `recall`, and that threshold.

    The threshold is the highest that the share `recall` of the `positive` scores reach; see `threshold_of`. The
    interval is from a bootstrap over both sets.
    """
    if not (len(positive) and len(negative)):
        return NONE, float("nan")
    rng = np.random.default_rng(0)

    def at(wet: np.ndarray, dry: np.ndarray) -> float:
        return float(np.mean(dry >= threshold_of(wet, recall)))

    drawn = [at(rng.choice(positive, len(positive)), rng.choice(negative, len(negative))) for _ in range(DRAWS)]
    return Figure(at(positive, negative), *_bounds(drawn), len(negative)), threshold_of(positive, recall)


def threshold_of(positive: np.ndarray, recall: float) -> float:
    """The highest score that at least the share `recall` of the scores `positive` reach."""
    return float(np.sort(positive)[int(np.floor((1 - recall) * len(positive) + 1e-9))])


def overlap(intersections: np.ndarray, unions: np.ndarray) -> Figure:
    """Intersection over union of the cells of all samples together, with a bootstrap interval over the samples."""
    if not len(unions):
        return NONE
    rng = np.random.default_rng(0)
    chosen = [rng.integers(len(unions), size=len(unions)) for _ in range(DRAWS)]
    drawn = [float(intersections[i].sum() / max(1, unions[i].sum())) for i in chosen]
    return Figure(float(intersections.sum() / max(1, unions.sum())), *_bounds(drawn), len(unions))


def calibration_error(probabilities: np.ndarray, truths: np.ndarray) -> Figure:
    """Expected calibration error of probabilities (N,) against truths (N,) bool, with a bootstrap interval.

    It is the mean, over BINS weighted by their samples, of the distance between mean probability and share of true
    samples (Guo et al. 2017, eq. 3, binary case). The interval is biased upwards: resampling adds to the distances.
    """
    rng = np.random.default_rng(0)
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)

    def error(index: np.ndarray) -> float:
        gap = np.bincount(bins[index], probabilities[index] - truths[index], BINS)
        return float(np.abs(gap).sum() / len(index))

    every = np.arange(len(bins))
    drawn = [error(rng.choice(every, len(every))) for _ in range(DRAWS)]
    return Figure(error(every), *_bounds(drawn), len(bins))


def _bounds(drawn: list[float]) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
