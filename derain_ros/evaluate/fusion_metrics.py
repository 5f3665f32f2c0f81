"""Figures of a fused image alone, and of what it keeps of its two sources.

All images are (H, W) uint8 of one size. Here sources and fused image are compared pixel by pixel. Figures over windows
and scales are in `fusion_structure`, those of features in `fusion_features`.
"""

from __future__ import annotations

import cv2
import numpy as np

from derain_ros.evaluate.restoration import SAME

LEVELS = 256
"""Grey levels, and bins of each histogram."""
WHITE = LEVELS - 1

# Of Qabf: largest value, slope and position of the sigmoid, for the strength and for the direction of an edge.
STRENGTH = (0.9994, -15.0, 0.5)
DIRECTION = (0.9879, -22.0, 0.8)


def entropy(image: np.ndarray) -> float:
    """EN in bits, 0 to 8: Shannon entropy of the histogram of 256 grey levels (Roberts et al. 2008)."""
    return _bits(np.bincount(image.ravel(), minlength=LEVELS))


def standard_deviation(image: np.ndarray) -> float:
    """SD in grey levels, 0 to 127.5: population standard deviation (Rao 1997)."""
    return float(np.std(image, dtype=np.float64))


def spatial_frequency(image: np.ndarray) -> float:
    """SF in grey levels: root of the sum of the mean squared differences of neighbours in rows and in columns.

    Eskicioglu and Fisher 1995; each mean is over the existing differences, not over all pixels.
    """
    values = image.astype(np.float64)
    return float(np.sqrt(np.mean(np.diff(values, axis=1) ** 2) + np.mean(np.diff(values, axis=0) ** 2)))


def average_gradient(image: np.ndarray) -> float:
    """AG in grey levels: mean of sqrt((dx^2 + dy^2) / 2), differences to the right and to the lower neighbour.

    Cui et al. 2015; over the pixels that have both neighbours.
    """
    values = image.astype(np.float64)
    dx, dy = np.diff(values, axis=1)[:-1], np.diff(values, axis=0)[:, :-1]
    return float(np.mean(np.sqrt((dx**2 + dy**2) / 2)))


def mutual_information(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """MI in bits, 0 to 16: mutual information of the fused image and the visible one, plus that with the infrared one.

    Qu et al. 2002; from histograms of 256 grey levels and of 256x256 pairs of them.
    """
    return sum(
        entropy(source) + entropy(fused) - _bits(np.bincount(source.ravel() * np.int64(LEVELS) + fused.ravel()))
        for source in (visible, infrared)
    )


def _bits(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log2(shares)))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two images of any numeric type, -1 to 1; 0 if one of them is flat."""
    a, b = (values - np.mean(values, dtype=np.float64) for values in (a, b))
    scale = np.sqrt(np.sum(a * a) * np.sum(b * b))
    return float(np.sum(a * b) / scale) if scale > 0 else 0.0


def correlation_coefficient(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """CC, -1 to 1: mean of the fused image's correlations with its sources."""
    return (correlation(visible, fused) + correlation(infrared, fused)) / 2


def sum_of_correlations_of_differences(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """SCD, -2 to 2: sum of each source's correlation with the fused image minus the other source.

    Aslantas and Bendes 2015; differences keep their sign.
    """
    a, b, f = (image.astype(np.float64) for image in (visible, infrared, fused))
    return correlation(f - b, a) + correlation(f - a, b)


def mean_squared_error(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """MSE, 0 to 1, of images scaled to 0..1: mean of the fused image's mean squared errors to both sources."""
    a, b, f = (image / WHITE for image in (visible, infrared, fused))
    return float((np.mean((f - a) ** 2) + np.mean((f - b) ** 2)) / 2)


def peak_signal_to_noise(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """PSNR in dB, 10 log10(1 / MSE), with `mean_squared_error`; SAME if both sources equal the fused image.

    It is the ordinary PSNR of the mean of both errors.
    """
    error = mean_squared_error(visible, infrared, fused)
    return 10 * float(np.log10(1 / error)) if error > 0 else SAME


def printed_peak_signal_to_noise(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """PSNR in dB as fusion papers print it: the peak is 255, but the MSE is of images in 0..1; this adds 48.13 dB."""
    return peak_signal_to_noise(visible, infrared, fused) + 20 * float(np.log10(WHITE))


def edge_preservation(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """Qabf, 0 to 0.975: how well strength and direction of the sources' edges are kept, weighted by their strength.

    Xydeas and Petrovic 2000 (Electronics Letters): Sobel edges, directions in -90 to 90 degrees whose distance is not
    wrapped around; the weight is the strength itself. Beyond its border an image is black, as in others' tables, so
    that the border counts as an edge. 0 if neither source has an edge.
    """
    edges = _edges(fused)
    kept = weights = 0.0
    for source in (visible, infrared):
        strength, direction = _edges(source)
        low, high = np.minimum(strength, edges[0]), np.maximum(strength, edges[0])
        ratio = np.divide(low, high, out=np.ones_like(low), where=high > 0)
        likeness = 1 - np.abs(direction - edges[1]) / (np.pi / 2)
        kept += float(np.sum(strength * _step(ratio, *STRENGTH) * _step(likeness, *DIRECTION)))
        weights += float(np.sum(strength))
    return kept / weights if weights > 0 else 0.0


def _edges(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength, and direction in -pi/2 to pi/2, of the edge at each pixel, (H, W) float64 each."""
    values = image.astype(np.float64)
    dx, dy = (cv2.Sobel(values, cv2.CV_64F, *order, borderType=cv2.BORDER_CONSTANT) for order in ((1, 0), (0, 1)))
    upright = np.full_like(dx, np.pi / 2)
    return np.hypot(dx, dy), np.where(dx == 0, upright, np.arctan(np.divide(dy, dx, out=upright.copy(), where=dx != 0)))


def _step(values: np.ndarray, largest: float, slope: float, place: float) -> np.ndarray:
    return largest / (1 + np.exp(slope * (values - place)))
