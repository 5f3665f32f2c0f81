"""FMI: the mutual information between features of the fused image and of its sources, window by window.

Haghighat et al. 2011, in the fast form of Haghighat and Razian 2014.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pywt
from scipy.fft import dctn

SIDE = 3
"""Side of a window in pixels."""
CHUNK = 4096
"""Number of windows processed together: their tables fit into the processor's cache."""
EDGE = 4.0
"""Squared strength above which an edge counts, as a multiple of the image's mean squared strength."""
TINY = 1e-12


def pixels(image: np.ndarray) -> np.ndarray:
    """The image (H, W) itself, float64."""
    return image.astype(np.float64)


def edges(image: np.ndarray) -> np.ndarray:
    """Sobel edges, (H, W) float64: 1 at an edge, else 0.

    At an edge the strength has a maximum across the edge, and its square is above EDGE times the image's mean square.
    Borders are repeated.
    """
    values = image.astype(np.float64)
    dx, dy = (cv2.Sobel(values, cv2.CV_64F, *order, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1)))
    square = dx * dx + dy * dy
    around = np.pad(square, 1)
    ridge_x = (around[1:-1, :-2] <= square) & (square > around[1:-1, 2:]) & (np.abs(dx) >= np.abs(dy))
    ridge_y = (around[:-2, 1:-1] <= square) & (square > around[2:, 1:-1]) & (np.abs(dy) >= np.abs(dx))
    return ((square > EDGE * square.mean()) & (ridge_x | ridge_y)).astype(np.float64)


def cosines(image: np.ndarray) -> np.ndarray:
    """The discrete cosine transform (type II, orthonormal) of the whole image, (H, W) float64."""
    return dctn(image.astype(np.float64), norm="ortho")


def wavelets(image: np.ndarray) -> np.ndarray:
    """One level of the discrete Meyer wavelet, with mirrored borders; its four parts are the quarters of one image.

    The image is float64.
    """
    coarse, (across, down, diagonal) = pywt.dwt2(image.astype(np.float64), "dmey", mode="symmetric")
    return np.block([[coarse, across], [down, diagonal]])


def feature_mutual_information(
    visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray, feature: Callable[[np.ndarray], np.ndarray]
) -> float:
    """FMI, 0 to 1, of images (H, W) uint8: mean over both sources and all windows of 2 I(A; F) / (H(A) + H(F)).

    In each window of 3x3 the `feature` of an image, minus its smallest value, is taken as a distribution over the nine
    places, column by column. The joint distribution of two windows lies between independence and the closest possible
    dependence (Frechet's bound), as far as their correlation says. Equal windows count as 1.
    """
    of_fused = _windows(feature(fused))
    return float(
        np.mean([np.mean(_information(_windows(feature(source)), of_fused)) for source in (visible, infrared)])
    )


def _windows(values: np.ndarray) -> np.ndarray:
    """The values of each window, column by column, (9, N)."""
    views = np.lib.stride_tricks.sliding_window_view(values, (SIDE, SIDE))
    return views.transpose(3, 2, 0, 1).reshape(SIDE * SIDE, -1)


def _information(a: np.ndarray, f: np.ndarray) -> np.ndarray:
    """The share of common information of windows (9, N), (N,) in 0 to 1; 1 for equal windows."""
    shares = np.ones(a.shape[1])
    different = np.flatnonzero((a != f).any(axis=0))
    for start in range(0, len(different), CHUNK):
        part = different[start : start + CHUNK]
        shares[part] = _common(_distribution(a[:, part]), _distribution(f[:, part]))
    return shares


def _distribution(windows: np.ndarray) -> np.ndarray:
    """Distributions (9, N) float32, whose columns sum to 1; uniform for a flat window."""
    low, high = windows.min(axis=0), windows.max(axis=0)
    raised = np.where(high > low, windows - low, 1.0)
    return (raised / raised.sum(axis=0)).astype(np.float32)


def _common(a: np.ndarray, f: np.ndarray) -> np.ndarray:
    """2 I(A; F) / (H(A) + H(F)) of distributions (9, N), (N,) in 0 to 1; 0 if both have no entropy."""
    correlation = _correlation(a, f)
    # With a negative correlation, the closest dependence is that of one distribution and the reverse of the other.
    f = np.where(correlation < 0, f[::-1], f)
    shares, of_a, of_f = _closest(a, f)
    mean_a, variance_a = _mean_and_variance(a)
    mean_f, variance_f = _mean_and_variance(f)
    covariance = (shares * (of_a * of_f).astype(np.float32)).sum(axis=0) - mean_a * mean_f
    deviations = np.sqrt(variance_a * variance_f)
    nearness = np.clip(np.abs(correlation) * deviations / np.maximum(covariance, TINY), 0, 1)
    nearness = np.where(deviations > TINY, nearness, 0)
    # Joint entropy: of all 81 pairs of places as if independent, then corrected for the pairs in the dependence.
    entropies = _entropy(a) + _entropy(f)
    independent = (1 - nearness) * np.take_along_axis(a, of_a, axis=0) * np.take_along_axis(f, of_f, axis=0)
    joint = (1 - nearness) * entropies - _logs(1 - nearness)
    joint += (_logs(independent) - _logs(independent + nearness * shares)).sum(axis=0)
    return np.clip(2 * (entropies - joint) / np.maximum(entropies, TINY), 0, 1)


def _closest(a: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The closest dependence of two distributions (9, N): shares of pairs of places, and the places in both.

    Each is (17, N). Starting at the first pair of places, the distribution with the smaller cumulative sum moves on to
    its next place.
    """
    sum_a, sum_f = (np.minimum(np.cumsum(distribution, axis=0), 1) for distribution in (a, f))
    sum_a[-1] = sum_f[-1] = 1
    windows = np.arange(a.shape[1])
    place_a, place_f, reached = np.zeros_like(windows), np.zeros_like(windows), np.zeros_like(sum_a[0])
    shares, of_a, of_f = [], [], []
    for _ in range(2 * len(a) - 1):
        end_a, end_f = sum_a[place_a, windows], sum_f[place_f, windows]
        end = np.minimum(end_a, end_f)
        shares.append(end - reached)
        of_a.append(place_a)
        of_f.append(place_f)
        place_a, place_f = np.minimum(place_a + (end_a <= end_f), len(a) - 1), place_f + (end_f < end_a)
        reached = end
    return np.stack(shares), np.stack(of_a), np.stack(of_f)


def _correlation(a: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the columns, (N,); 0 if one of them is uniform."""
    a, f = a - a.mean(axis=0), f - f.mean(axis=0)
    return (a * f).sum(axis=0) / np.sqrt(np.maximum((a * a).sum(axis=0) * (f * f).sum(axis=0), TINY))


def _mean_and_variance(distribution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the place, 0 to 8, under each distribution, (N,) each."""
    places = np.arange(len(distribution), dtype=np.float32)[:, None]
    mean = (places * distribution).sum(axis=0)
    return mean, ((places - mean) ** 2 * distribution).sum(axis=0)


def _entropy(distribution: np.ndarray) -> np.ndarray:
    """Entropy of each column in nats, (N,)."""
    return -_logs(distribution).sum(axis=0)


def _logs(shares: np.ndarray) -> np.ndarray:
    """Each share times its natural logarithm; 0 for a share of 0."""
    return shares * np.log(np.maximum(shares, TINY))
