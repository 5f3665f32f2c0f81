"""Figures of a fused image over windows and scales: SSIM, MS-SSIM, MEF-SSIM, VIF.

All images are (H, W) uint8 of one size, with SMALLEST pixels or more on each side.
"""

from __future__ import annotations

import cv2
import numpy as np

WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation in pixels of the Gaussian window; only windows within the image count."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, from the finest on; each scale has half the size of the one before."""
EXPOSURE_SCALES = SCALES[:3]
"""Exponents of MEF-SSIM's scales; they are divided by their sum."""
SMALLEST = WINDOW * 2 ** (len(EXPOSURE_SCALES) - 1)
"""Least side in pixels: all scales of MEF-SSIM then have a window; the five of MS-SSIM have one from 176 on."""
K1, K2 = 0.01, 0.03
"""SSIM's constants are (K1 L)^2 and (K2 L)^2, with the range L of the values."""
RANGE, UNIT = 255.0, 1.0
NOISE = 2.0
"""Variance of the eye's noise in VIF, in squared grey levels."""
TINY = 1e-10


def similarity(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """SSIM, -1 to 1: mean of the SSIM between the fused image and each source.

    Wang et al. 2004: Gaussian window, sigma 1.5, constants for the range 255, population variances.
    """
    return float(np.mean([_similarity(source, fused, RANGE)[0] for source in (visible, infrared)]))


def printed_similarity(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """SSIM with the constants for a range of 1 on values from 0 to 255, as some fusion papers print it.

    The constants then have little effect, and flat parts of the image are judged by their noise: figures are lower.
    """
    return float(np.mean([_similarity(source, fused, UNIT)[0] for source in (visible, infrared)]))


def multi_scale_similarity(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """MS-SSIM, 0 to 1: mean of the MS-SSIM between the fused image and each source.

    Wang et al. 2003: five scales, each the mean of 2x2 pixels of the one before; contrast and structure of all scales,
    luminance of the coarsest. Negative values of a scale count as 0. For smaller images only the scales with a window
    count; their exponents are divided by their sum.
    """
    return float(np.mean([_multi_scale(source, fused) for source in (visible, infrared)]))


def _multi_scale(a: np.ndarray, b: np.ndarray) -> float:
    a, b, product = a.astype(np.float64), b.astype(np.float64), 1.0
    exponents = [exponent for scale, exponent in enumerate(SCALES) if min(a.shape) // 2**scale >= WINDOW]
    for scale, exponent in enumerate(exponents, 1):
        whole, structure = _similarity(a, b, RANGE)
        product *= max(whole if scale == len(exponents) else structure, 0.0) ** (exponent / sum(exponents))
        a, b = _halved(a), _halved(b)
    return product


def _similarity(a: np.ndarray, b: np.ndarray, values: float) -> tuple[float, float]:
    """SSIM of two images, and its contrast and structure part alone; `values` is the range for the constants."""
    c1, c2 = (K1 * values) ** 2, (K2 * values) ** 2
    mean_a, mean_b, var_a, var_b, covariance = _moments(a.astype(np.float64), b.astype(np.float64), WINDOW, SIGMA)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float(np.mean(luminance * structure)), float(np.mean(structure))


def _moments(a: np.ndarray, b: np.ndarray, window: int, sigma: float) -> tuple[np.ndarray, ...]:
    """Means, variances and covariance of two images in each Gaussian window within them."""
    mean_a, mean_b = _blurred(a, window, sigma), _blurred(b, window, sigma)
    return (
        mean_a,
        mean_b,
        _blurred(a * a, window, sigma) - mean_a**2,
        _blurred(b * b, window, sigma) - mean_b**2,
        _blurred(a * b, window, sigma) - mean_a * mean_b,
    )


def _blurred(image: np.ndarray, window: int, sigma: float) -> np.ndarray:
    return _inner(cv2.GaussianBlur(image, (window, window), sigma), window)


def _inner(image: np.ndarray, window: int) -> np.ndarray:
    """The pixels whose window lies completely within the image."""
    edge = window // 2
    return image[edge:-edge, edge:-edge]


def _halved(image: np.ndarray) -> np.ndarray:
    """The mean of each block of 2x2 pixels; an odd row or column at the end is left out."""
    height, width = (side // 2 * 2 for side in image.shape)
    return image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def exposure_similarity(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """MEF-SSIM, 0 to 1: compares the fused image with the structure of an ideal fusion, at three scales.

    Ma et al. 2015, made for images of several exposures. In each window of 11x11 the ideal contrast is the larger of
    both sources'. The ideal structure is the mean of the sources' structures, weighted by contrast to a power that
    grows with their agreement, at most 10. Structures are compared as in SSIM, in a Gaussian window, with the constant
    (0.03 x 255)^2; brightness is not compared.
    """
    images = [image.astype(np.float64) for image in (visible, infrared, fused)]
    product = 1.0
    for exponent in EXPOSURE_SCALES:
        product *= max(_exposure(*images), 0.0) ** (exponent / sum(EXPOSURE_SCALES))
        images = [_halved(image) for image in images]
    return product


def _exposure(a: np.ndarray, b: np.ndarray, fused: np.ndarray) -> float:
    """MEF-SSIM at one scale. Lengths are norms of windows minus their mean, divided by 11."""
    mean_a, mean_b, length_a, length_b, inner = _box_moments(a, b)
    largest = np.maximum(length_a, length_b)
    agreement = np.sqrt(np.maximum(length_a**2 + length_b**2 + 2 * inner, 0)) / (length_a + length_b)
    power = np.minimum(np.tan(np.pi / 2 * np.minimum(agreement, 1 - TINY)), 10)
    # Each length is divided by the larger of both; otherwise a high power would overflow.
    weight_a, weight_b = ((length / largest) ** power for length in (length_a, length_b))
    share_a, share_b = weight_a / (weight_a + weight_b) / length_a, weight_b / (weight_a + weight_b) / length_b
    length = np.sqrt(
        np.maximum((share_a * length_a) ** 2 + (share_b * length_b) ** 2 + 2 * share_a * share_b * inner, TINY)
    )
    # The ideal window is the sum of both sources with these factors.
    factor_a, factor_b = share_a * largest / length, share_b * largest / length
    _, _, var_a, var_f, cov_af = _moments(a, fused, WINDOW, SIGMA)
    _, _, var_b, _, cov_bf = _moments(b, fused, WINDOW, SIGMA)
    cov_ab = _moments(a, b, WINDOW, SIGMA)[4]
    wanted = factor_a**2 * var_a + factor_b**2 * var_b + 2 * factor_a * factor_b * cov_ab
    constant = (K2 * RANGE) ** 2
    return float(np.mean((2 * (factor_a * cov_af + factor_b * cov_bf) + constant) / (wanted + var_f + constant)))


def _box_moments(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, standard deviations (at least 1e-5) and covariance in each window, with equal weights."""

    def mean(image: np.ndarray) -> np.ndarray:
        return _inner(cv2.blur(image, (WINDOW, WINDOW)), WINDOW)

    mean_a, mean_b = mean(a), mean(b)
    deviations = (
        np.sqrt(np.maximum(mean(image * image) - centre**2, TINY)) for image, centre in ((a, mean_a), (b, mean_b))
    )
    return mean_a, mean_b, *deviations, mean(a * b) - mean_a * mean_b


def visual_information_fidelity(visible: np.ndarray, infrared: np.ndarray, fused: np.ndarray) -> float:
    """VIF, sum of the visual information fidelity to both sources; 0 to 2, more if contrast was raised.

    Sheikh and Bovik 2006, in the pixel domain: four scales, Gaussian windows of 17, 9, 5 and 3 pixels with a sigma of a
    fifth of that, noise variance 2. A source without contrast counts as 0.
    """
    return _fidelity(visible, fused) + _fidelity(infrared, fused)


def _fidelity(source: np.ndarray, fused: np.ndarray) -> float:
    """The information of the source that passes into the fused image, divided by the information in the source."""
    a, b = source.astype(np.float64), fused.astype(np.float64)
    passed = held = 0.0
    for scale in range(4):
        window = 2 ** (4 - scale) + 1
        if scale:
            a, b = (_blurred(image, window, window / 5)[::2, ::2] for image in (a, b))
        _, _, var_a, var_b, covariance = _moments(a, b, window, window / 5)
        var_a, var_b = np.maximum(var_a, 0), np.maximum(var_b, 0)
        # The fused image is modelled as the source times a gain, plus noise; a negative gain counts as noise only.
        gain = np.where((var_a > TINY) & (var_b > TINY), np.maximum(covariance / (var_a + TINY), 0), 0)
        noise = np.maximum(var_b - gain * covariance, TINY)
        passed += float(np.sum(np.log1p(gain**2 * var_a / (noise + NOISE))))
        held += float(np.sum(np.log1p(var_a / NOISE)))
    return passed / held if held > TINY else 0.0
