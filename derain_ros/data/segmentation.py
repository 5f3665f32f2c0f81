"""Crops of labelled scenes for training, and the metrics of segmentation: confusion matrix, IoU and mIoU."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from derain_ros.data.labelled import VOID, LabelledScene

SCALES = (0.6, 1.8)
"""Range of the random scale of a scene."""
GAMMAS, GAINS, TINTS = (0.5, 2.2), (0.5, 1.4), (0.85, 1.18)
"""Ranges of the light: gamma, gain, and gain of each single channel. Held-out scenes may be at dusk."""
GREY_SHARE = 0.25
"""Share of grey crops: many robots' cameras have no colour."""


def draw_crop(scenes: Sequence[LabelledScene], size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random crop of one of the scenes, scaled, mirrored half of the time, and in another light.

    Gives RGB (size, size, 3) uint8 and labels (size, size) uint8, which are VOID beyond the scene's edge.
    """
    image, labels = scenes[int(rng.integers(len(scenes)))].read()
    scale = _log_uniform(SCALES, rng)
    height, width = (round(side * scale) for side in labels.shape)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    top, left = (int(rng.integers(max(1, side - size + 1))) for side in (height, width))
    image, labels = (part[top : top + size, left : left + size] for part in (image, labels))
    beyond = ((0, size - labels.shape[0]), (0, size - labels.shape[1]))
    image = np.pad(image, (*beyond, (0, 0)), mode="reflect") if any(map(any, beyond)) else image
    labels = np.pad(labels, beyond, constant_values=VOID)
    return in_other_light(image, rng), np.ascontiguousarray(labels)


def in_other_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An RGB image (H, W, 3) uint8 with a random gain, gamma, tint and noise, or grey."""
    out = np.ascontiguousarray(image).astype(np.float32) / 255
    if rng.random() < 0.8:
        gamma = _log_uniform(GAMMAS, rng)
        gain = _log_uniform(GAINS, rng)
        tint = np.array([_log_uniform(TINTS, rng) for _ in range(3)], np.float32)
        out = out**gamma * gain * tint
    if rng.random() < 0.3:
        out += rng.normal(0, rng.uniform(0.005, 0.03), out.shape).astype(np.float32)
    lit = np.clip(out * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < GREY_SHARE:
        return cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return lit


def _log_uniform(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def confusion(labels: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix (classes, classes) int64: pixels of each true class (rows) found as each class (columns).

    `labels` and `found` are uint8 of one shape; pixels where either is not below `classes` (VOID) do not count.
    """
    counted = (labels < classes) & (found < classes)
    pairs = labels[counted].astype(np.int64) * classes + found[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_overlaps(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class from a confusion matrix, (classes,) float64 in [0, 1].

    NaN for classes that are neither in the labels nor found.
    """
    both = np.diag(counts).astype(float)
    union = counts.sum(0) + counts.sum(1) - both
    return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)


def mean_overlap(counts: np.ndarray) -> float:
    """mIoU in [0, 1]: the mean of `class_overlaps` over the classes in the labels or found; NaN without pixels."""
    overlaps = class_overlaps(counts)
    return float(np.nanmean(overlaps)) if np.isfinite(overlaps).any() else float("nan")
