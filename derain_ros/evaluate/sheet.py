"""Contact sheets: restored images from the least gain to the best, methods of fusion, segmentations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from derain_ros.engine import Engine
from derain_ros.evaluate.fusion import FusionScene, Method
from derain_ros.evaluate.restoration import EvaluationPair, Score
from derain_ros.runtime.labels import coloured, palette
from derain_ros.runtime.stages.restore import restore_image

HEIGHT, LOW = 220, 140
"""Height in pixels of each picture, and of pictures beside their labels."""
BAR = 22
"""Height in pixels of the text above the sheet and above each row."""
FONT = cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA


def before_after(engine: Engine, pairs: Sequence[EvaluationPair], scores: Sequence[Score], rows: int = 6) -> np.ndarray:
    """The sheet (H, W, 3) uint8 BGR of at most `rows` pairs, spread over the gains in PSNR; `scores` are the pairs'."""
    order = np.argsort([s.psnr - s.input_psnr for s in scores], kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(rows, len(order))).round().astype(int))]
    strips = [_strip(engine, pairs[k], scores[k]) for k in chosen]
    width = max(strip.shape[1] for strip in strips)
    return _stacked([_text(width, "wet | restored | mask of what was reconstructed | clean"), *strips])


def side_by_side(scenes: Iterable[FusionScene], methods: Mapping[str, Method]) -> np.ndarray:
    """The sheet (H, W, 3) uint8 BGR with a row per scene: visible, infrared, and the result of each method."""
    strips = []
    for scene in scenes:
        pictures = {
            f"{scene.name}: visible": scene.visible,
            "infrared": scene.infrared,
            **{name: method(scene) for name, method in methods.items()},
        }
        width = round(scene.visible.shape[1] * HEIGHT / scene.visible.shape[0])
        strips.append(
            np.hstack([np.vstack([_text(width, text), _scaled(image, width)]) for text, image in pictures.items()])
        )
    return _stacked(strips)


def segmentations(
    rows: Iterable[Mapping[str, tuple[np.ndarray, np.ndarray]]], classes: Sequence[str], views: Sequence[str]
) -> np.ndarray:
    """The sheet (H, W, 3) uint8 BGR: each row has the `views`, each beside its labels in colour.

    A row has, by the name of the view, an RGB image (H, W, 3) and its labels (H, W), both uint8. The last row is the
    legend with the colours of those `classes` that occur.
    """
    strips, found = [], set()
    for row in rows:
        pictures = []
        for view in views:
            image, labels = row[view]
            width = round(image.shape[1] * LOW / image.shape[0])
            plain = cv2.resize(labels, (width, LOW), interpolation=cv2.INTER_NEAREST)
            pictures += [_scaled(image, width, LOW), _bgr(coloured(plain))]
            found |= set(np.unique(plain).tolist())
        titles = [text for view in views for text in (view, f"{view}, segmented")]
        strips.append(
            np.hstack([np.vstack([_text(p.shape[1], text), p]) for text, p in zip(titles, pictures, strict=True)])
        )
    legend, colours = _text(max(strip.shape[1] for strip in strips), ""), palette()[:, ::-1]
    x = 4
    for label in sorted(found & set(range(len(classes)))):
        cv2.rectangle(legend, (x, 5), (x + 12, BAR - 6), colours[label].tolist(), -1)
        legend = cv2.putText(legend, classes[label], (x + 17, BAR - 7), *FONT)
        x += 29 + cv2.getTextSize(classes[label], FONT[0], FONT[1], 1)[0][0]
    return _stacked([*strips, legend])


def _strip(engine: Engine, pair: EvaluationPair, score: Score) -> np.ndarray:
    """One row: four pictures of one height under a line of text."""
    restored, mask = restore_image(engine, pair.wet)
    width = round(pair.wet.shape[1] * HEIGHT / pair.wet.shape[0])
    pictures = [_scaled(image, width) for image in (pair.wet, restored, mask, pair.clean)]
    text = f"{pair.name}: {score.input_psnr:.1f} to {score.psnr:.1f} dB, {score.input_ssim:.2f} to {score.ssim:.2f}"
    return np.vstack([_text(4 * width, text), np.hstack(pictures)])


def _stacked(strips: Sequence[np.ndarray]) -> np.ndarray:
    """The strips one below the other; narrower ones are filled up with black."""
    width = max(strip.shape[1] for strip in strips)
    return np.vstack([cv2.copyMakeBorder(s, 0, 0, 0, width - s.shape[1], cv2.BORDER_CONSTANT) for s in strips])


def _scaled(image: np.ndarray, width: int, height: int = HEIGHT) -> np.ndarray:
    """The image as BGR, scaled to this size."""
    return cv2.resize(_bgr(image), (width, height), interpolation=cv2.INTER_AREA)


def _bgr(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR)


def _text(width: int, text: str) -> np.ndarray:
    bar = np.full((BAR, width, 3), 32, np.uint8)
    return cv2.putText(bar, text, (4, BAR - 7), *FONT)
