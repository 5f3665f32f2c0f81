"""How well a segmenter classifies pixels: on dry scenes, in rain, and on restored images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from derain_ros.data.segmentation import class_overlaps, confusion, mean_overlap
from derain_ros.engine import Engine

DRAWS = 1000
"""Number of bootstrap draws."""

Segment = Callable[[np.ndarray], np.ndarray]
"""Gives the class of each pixel, (H, W) uint8, of an RGB image (H, W, 3) uint8."""


def segmented_by(engine: Engine) -> Segment:
    """The segmentation by an engine that runs a segmenter."""
    return lambda image: engine.run(image=image[None])["labels"][0]


def as_grey(image: np.ndarray) -> np.ndarray:
    """The RGB image (H, W, 3) uint8 as a grey camera sees it, with three equal channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


@dataclass(frozen=True)
class Overlap:
    """Figures of a segmenter, in percent.

    `miou` is over all pixels of all images; `low` and `high` bound its 95 % bootstrap interval over images. `classes`
    has the IoU of each class by name; `accuracy` is the share of correct pixels.
    """

    miou: float
    low: float
    high: float
    classes: Mapping[str, float]
    accuracy: float


def overlap(counts: Sequence[np.ndarray], names: Sequence[str]) -> Overlap:
    """The figures of images from their confusion matrices `counts`, (classes, classes) each."""
    stacked = np.stack(counts)
    total = stacked.sum(0)
    values = bootstrap(lambda chosen: 100 * mean_overlap(stacked[chosen].sum(0)), len(stacked))
    low, high = np.percentile(values, [2.5, 97.5])
    by_class = dict(zip(names, (100 * class_overlaps(total)).tolist(), strict=True))
    accuracy = 100 * float(np.trace(total)) / max(1, int(total.sum()))
    return Overlap(100 * mean_overlap(total), float(low), float(high), by_class, accuracy)


def bootstrap(figure: Callable[[np.ndarray], float], count: int, draws: int = DRAWS) -> np.ndarray:
    """The values (draws,) of `figure` for resamplings of `count` images; it gets indices drawn with replacement."""
    rng = np.random.default_rng(0)
    return np.array([figure(rng.integers(count, size=count)) for _ in range(draws)])


def evaluate(segment: Segment, scenes: Iterable[tuple[np.ndarray, np.ndarray]], classes: int) -> list[np.ndarray]:
    """The confusion matrix of each scene; a scene is an RGB image (H, W, 3) and its labels (H, W), both uint8."""
    return [confusion(labels, segment(image), classes) for image, labels in scenes]
