"""How well the detector tells clean views from affected ones, on pictures kept out of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from derain_ros.engine import Engine
from derain_ros.frame import Anomaly, Frame
from derain_ros.rain.drops import LensDrops
from derain_ros.runtime.detect import Detector
from derain_ros.train.data import image_files
from derain_ros.train.views import IGNORED, MIX, Pictures, View, draw_view, find_pictures, read_grey

COVERAGES = (0.03, 0.1, 0.3)
"""Shares of one lens under synthetic drops in the test on stereo frames."""


@dataclass(frozen=True)
class DetectionReport:
    """Figures by name, shares in [0, 1]; `confusion` counts views, true class by row, class found by column."""

    figures: dict[str, float]
    classes: tuple[str, ...]
    confusion: np.ndarray

    def markdown(self) -> str:
        """Both as tables."""
        lines = ["| figure | value |", "| --- | --- |"]
        lines += [f"| {name} | {value:.4f} |" for name, value in self.figures.items()]
        lines += ["", f"| true class \\ found | {' | '.join(self.classes)} |", "| --- |" + " --- |" * len(self.classes)]
        lines += [f"| {name} | {' | '.join(str(count) for count in row)} |"
                  for name, row in zip(self.classes, self.confusion, strict=True)]
        return "\n".join(lines) + "\n"


def evaluate(engine: Engine, data: Path, on_score: float = 0.6, views: int = 2000, seed: int = 7) -> DetectionReport:
    """Run a detector through the runtime's own stage on the pictures below `data`; a view counts as affected from
    `on_score`. Raises DataError where data is missing.

    `real`: crops of a wet lens and of the dry one beside it, whole frames never trained on. `clean`, `camvid`,
    `bsds500`: whole photographs, every other one, as the rest decided on the operating point. `views`: rendered from
    pictures never trained on. `kitti`: a stereo sequence no part of which was ever used for training or for a choice;
    drops on the left lens only.
    """
    detector = Detector(engine)
    classes = engine.model.classes
    pictures = find_pictures(data, validation=True)
    figures = {**_real(detector, pictures, on_score), **_clean(detector, pictures, on_score)}
    confusion, quality = _rendered(detector, classes, pictures, on_score, views, seed)
    figures |= quality | _stereo(detector, data / "kitti_stereo" / "sequence_1", on_score, seed)
    return DetectionReport(figures, classes, confusion)


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a random one of the scores `positive` is above a random one of `negative`; ties count half."""
    higher = positive[:, None] > negative[None]
    equal = positive[:, None] == negative[None]
    return float(higher.mean() + 0.5 * equal.mean())


def _detect(detector: Detector, images: Iterable[np.ndarray], on_score: float) -> Iterator[Anomaly]:
    for image in images:
        yield detector.detect([Frame(image)], on_score)[0]


def _scores(detector: Detector, images: Iterable[np.ndarray], on_score: float) -> np.ndarray:
    return np.array([found.score for found in _detect(detector, images, on_score)])


def _real(detector: Detector, pictures: Pictures, on_score: float) -> dict[str, float]:
    wet = _scores(detector, (read_grey(p) for p, _ in pictures.drops), on_score)
    dry = _scores(detector, (read_grey(p) for _, p in pictures.drops), on_score)
    return {"real_auroc": auroc(wet, dry), "real_recall": float(np.mean(wet >= on_score)),
            "real_false_alarms": float(np.mean(dry >= on_score)),
            "real_accuracy": float((np.mean(wet >= on_score) + np.mean(dry < on_score)) / 2)}


def _clean(detector: Detector, pictures: Pictures, on_score: float) -> dict[str, float]:
    rates = {}
    scores = {name: _scores(detector, map(read_grey, pictures.clean[name][1::2]), on_score)
              for name in ("camvid", "bsds500", "msrs", "llvip", "roadscene")}
    for name in ("camvid", "bsds500"):
        rates[f"{name}_false_alarms"] = float(np.mean(scores[name] >= on_score))
    rates["clean_false_alarms"] = float(np.mean(np.concatenate(list(scores.values())) >= on_score))
    streaks = [d.kind for d in _detect(detector, (read_grey(p) for p, _ in pictures.streaks), on_score)]
    rates["roadscene_rain_recall"] = float(np.mean([kind != "clean" for kind in streaks]))
    return rates


def _rendered(detector: Detector, classes: tuple[str, ...], pictures: Pictures, on_score: float, count: int, seed: int
              ) -> tuple[np.ndarray, dict[str, float]]:
    confusion = np.zeros((len(classes), len(classes)), int)
    overlap: dict[str, list[int]] = {kind: [0, 0] for kind in classes}
    alarms: dict[str, list[bool]] = {kind: [] for kind in MIX}
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        kind = str(rng.choice(list(MIX), p=list(MIX.values())))
        view = draw_view(pictures, rng, kind)
        found = detector.detect([Frame(view.image)], on_score)[0]
        if view.label < 0:
            continue
        confusion[view.label, classes.index(found.kind)] += 1
        alarms[kind].append(found.affected)
        for i, cells in enumerate(_overlap(found, view)):
            overlap[classes[view.label]][i] += cells
    known = {f"views_{kind.replace(' ', '_')}_{'false_alarms' if kind in ('clean', 'spoiled') else 'recall'}":
             float(np.mean(flags)) for kind, flags in alarms.items() if flags}
    intersection, union = (sum(overlap[kind][i] for kind in classes) for i in (0, 1))
    return confusion, {**known, "class_accuracy": float(np.trace(confusion) / confusion.sum()),
                       "mask_iou": intersection / union,
                       "mask_iou_raindrop": overlap["raindrop"][0] / overlap["raindrop"][1]}


def _overlap(found: Anomaly, view: View) -> tuple[int, int]:
    """Cells in the intersection and in the union of the mask found and the true one."""
    mask, truth, known = found.mask > 0, view.cells == 1, view.cells != IGNORED
    return int((mask & truth).sum()), int(((mask | truth) & known).sum())


def _stereo(detector: Detector, sequence: Path, on_score: float, seed: int) -> dict[str, float]:
    left, right = image_files(sequence / "image_l"), image_files(sequence / "image_r")
    dry = _scores(detector, map(read_grey, left + right), on_score)
    figures = {"kitti_false_alarms": float(np.mean(dry >= on_score)), "kitti_highest_dry_score": float(dry.max())}
    for coverage in COVERAGES:
        flags = []
        for number, path in enumerate(left[::2]):
            image = read_grey(path)
            glass = LensDrops(image.shape[0], image.shape[1], np.random.default_rng((seed, number)), coverage)
            flags.append(detector.detect([Frame(glass.apply(image)[0])], on_score)[0].affected)
        figures[f"kitti_recall_{round(100 * coverage)}"] = float(np.mean(flags))
    return figures
