"""What the scores of a detector come to: shares with intervals, area under the curve, operating point, calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DRAWS = 1000
"""Bootstrap draws."""
BINS = 15
"""Of equal width, for the calibration error."""


class Figure(NamedTuple):
    """A value with the bounds of its 95 % interval and the number of samples behind it."""

    value: float
    low: float
    high: float
    samples: int


NONE = Figure(float("nan"), 0.0, 1.0, 0)
"""What is told of no samples."""


def share(flags: np.ndarray) -> Figure:
    """Share of the flags that are set, with Wilson's interval: that of a bootstrap is empty where none is set."""
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
    """Probability that a random one of the scores `positive` is above a random one of `negative`; ties count half."""
    ranked = np.sort(negative)
    below = np.searchsorted(ranked, positive, "left")
    up_to = np.searchsorted(ranked, positive, "right")
    return float((below + up_to).mean() / (2 * len(negative)))


def alarms_at_recall(positive: np.ndarray, negative: np.ndarray, recall: float) -> tuple[Figure, float]:
    """Share of `negative` scores that reach the highest threshold which `recall` of `positive` reach, bootstrapped over
    both sets; and that threshold.
    """
    if not (len(positive) and len(negative)):
        return NONE, float("nan")
    rng = np.random.default_rng(0)

    def at(wet: np.ndarray, dry: np.ndarray) -> float:
        return float(np.mean(dry >= threshold_of(wet, recall)))

    drawn = [at(rng.choice(positive, len(positive)), rng.choice(negative, len(negative))) for _ in range(DRAWS)]
    return Figure(at(positive, negative), *_bounds(drawn), len(negative)), threshold_of(positive, recall)


def threshold_of(positive: np.ndarray, recall: float) -> float:
    """The highest score which at least the share `recall` of the scores `positive` reach."""
    return float(np.sort(positive)[int(np.floor((1 - recall) * len(positive) + 1e-9))])


def overlap(intersections: np.ndarray, unions: np.ndarray) -> Figure:
    """Intersection over union of all samples' cells together, bootstrapped over the samples."""
    if not len(unions):
        return NONE
    rng = np.random.default_rng(0)
    chosen = [rng.integers(len(unions), size=len(unions)) for _ in range(DRAWS)]
    drawn = [float(intersections[i].sum() / max(1, unions[i].sum())) for i in chosen]
    return Figure(float(intersections.sum() / max(1, unions.sum())), *_bounds(drawn), len(unions))


def calibration_error(probabilities: np.ndarray, truths: np.ndarray) -> Figure:
    """Expected calibration error of probabilities (N,) of what is so or not, (N,) bool; bootstrapped.

    Mean over BINS of the distance between what was said and what was so, weighted by the samples in each (Guo et al.
    2017, eq. 3, for a yes or no). The interval of a bootstrap lies rather high: resampling adds to the distances.
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
