"""How well the detector separates clean views from affected ones, on held-out pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from rich.progress import track

from derain_ros.config import Config
from derain_ros.data.pictures import Pictures, find_pictures, read_grey
from derain_ros.data.samples import image_files
from derain_ros.data.views import (
    FAINT,
    IGNORED,
    MIX,
    UNKNOWN,
    WHOLE,
    View,
    cells_of,
    draw_kind,
    draw_view,
    lost,
    to_detector,
)
from derain_ros.engine import Engine
from derain_ros.evaluate.alarm_figures import Figure, alarms_at_recall, area, calibration_error, overlap, share
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.frame import Anomaly, Frame
from derain_ros.nets.detector import CLASSES, SIZE
from derain_ros.rain.dirt import LensDirt
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.soiled import SoiledLens, read_soil
from derain_ros.runtime.judge.detect import Detect

RECALL = 0.98
"""Recall, on frames with more than COVERED of the view covered, at which false alarms are counted."""
COVERED = 0.02
LOOK_ALIKES = "froth"
"""Source of clean pictures that look like drops: reported separately, as it is harder than what most robots see."""
ON_FROTH = 4
"""Number of dirty glasses for each of its pictures."""
DRAWS = 20
"""Largest number of dirty glasses drawn for one picture until one is visible."""
COVERAGES = (0.03, 0.1, 0.3)
"""Shares of one lens under synthetic drops in the test on stereo frames."""
EVEN = 0.5
"""Score from which a rendered view counts as affected; an alarm needs more."""
RENDERED = ("clean", "spoiled", "raindrop", "dirt", "streak", "night_rain")
"""The kinds of views that are rendered with one class in each."""


@dataclass(frozen=True)
class Judged:
    """The result of one image, by its `group` and `name`.

    `true` has the true classes joined by +, or `?` if one is too faint to judge; `found` is the class that the runtime
    found. `probabilities` are those of all classes, joined by blanks. `covered` and `covered_found` are the shares of
    the view that are covered in truth and as found. `intersection` and `union` count the cells of both masks, 0 if the
    true mask is not known.
    """

    group: str
    name: str
    true: str
    found: str
    score: float
    probabilities: str
    covered: float
    covered_found: float
    intersection: int
    union: int


@dataclass(frozen=True)
class DetectionReport:
    """The results of `evaluate`, which explains the figures.

    `measured` has the figures by name, shares in [0, 1]. `confusion` counts rendered views of one class, with true
    classes as rows and found classes as columns. `images` has the result of every image. `threshold` is the score that
    RECALL of the covered frames reach.
    """

    measured: dict[str, Figure]
    classes: tuple[str, ...]
    confusion: np.ndarray
    images: list[Judged]
    threshold: float

    @property
    def figures(self) -> dict[str, float]:
        """The values of all figures that have samples, by name."""
        return {name: figure.value for name, figure in self.measured.items() if figure.samples}

    def markdown(self) -> str:
        """The figures and the confusion matrix as Markdown tables."""
        lines = [
            "No image here was used for training or calibration. Intervals of 95 %: Wilson's for shares, "
            "bootstrap for the rest. "
            f"False alarms at {RECALL:.0%} recall are counted at the score {self.threshold:.3f}.",
            "",
            "| figure | value | interval | n |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {name} | {f.value:.4f} | {f.low:.4f} to {f.high:.4f} | {f.samples} |"
            for name, f in self.measured.items()
            if f.samples
        ]
        lines += ["", f"| true class \\ found | {' | '.join(self.classes)} |", "| --- |" + " --- |" * len(self.classes)]
        lines += [
            f"| {name} | {' | '.join(str(count) for count in row)} |"
            for name, row in zip(self.classes, self.confusion, strict=True)
        ]
        return "\n".join(lines) + "\n"

    def write_csv(self, path: Path) -> None:
        """Write a CSV file with a header and a line per image."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Judged)])
            writer.writeheader()
            writer.writerows(asdict(image) for image in self.images)


def evaluate(
    engine: Engine, data: Path, on_score: float = Config.on_score, views: int = 1200, seed: int = 7
) -> DetectionReport:
    """Run a detector through the runtime's own stage on the pictures below `data`.

    A view counts as affected from `on_score`; for rendered views it is EVEN. DataError if data is missing,
    EvaluationError for a detector of other classes or size.

    Groups of real pictures. `real_wet`, `real_dry`: crops of three whole frames of a wet lens and of the dry lens
    beside it. `camvid`, `bsds500`, `msrs`, `roadscene`, `kitti`: clean photographs, whole. `froth`: froth behind clean
    glass. `rain`: road scenes in rain. `photograph`: photographs through wet glass; known is only that there are drops.
    `soiled`: photographs through dirty lenses.

    Groups that are made of these. `wet`, `dirty`: the clean photographs, each behind drops and every third behind dirt,
    over 2 to 50 % of the view; only what is visible counts. `pasted`: the dirt of `soiled` on every third clean
    photograph; `pasted_on_froth`: on froth. `kitti ...`: every second frame of the left lens behind drops. `view ...`:
    rendered as for training, but harder: cropped, spoiled, in any exposure.

    Figures. `class_accuracy`: share of correctly classified views among those that are clean or have one class over
    more than 2 %; `_faint_too`: also with less. `label_accuracy`: share of right answers about each class separately.
    `false_alarms_at_98_recall`: of all clean photographs, at the score that 98 % of `wet`, `dirty`, `real_wet` and
    labelled drops and dirt reach; `false_alarms_at_98_real_recall`: at the score that 98 % of `real_wet` reach. The
    calibration error is over all answers about views; `_of_score` over their scores alone. `..._called_dirt`: share of
    those that reach `on_score` that are classified as dirt. Froth and real dirt are reported separately: they are not
    part of all clean and all covered photographs.
    """
    if (engine.model.classes, engine.model.size) != (CLASSES, SIZE):
        raise EvaluationError(
            f"{engine.model.name}: detects {', '.join(engine.model.classes)} on {engine.model.size}; "
            f"only detectors of {', '.join(CLASSES)} on {SIZE} can be measured: train and export one"
        )
    detector, pictures = Detect(engine), find_pictures(data, "evaluation")
    sequence, photographs = data / "kitti_stereo" / "sequence_1", data / "raindrop_real" / "inputs"
    stereo = {side: image_files(sequence / f"image_{side}") if sequence.is_dir() else [] for side in "lr"}
    clean = {**pictures.clean, "kitti": stereo["l"] + stereo["r"]}
    images = [
        _judge(detector, path, name if name != "real" else "real_dry", "clean", 0.0, on_score)
        for name, paths in clean.items()
        for path in track(paths, name)
    ]
    images += [_judge(detector, p, "real_wet", "raindrop", 1.0, on_score) for p, _ in pictures.drops]
    images += [_judge(detector, p, "rain", "streak", 1.0, on_score) for p, _ in pictures.streaks]
    images += [
        _judge(detector, p, "photograph", "raindrop", 1.0, on_score)
        for p in (image_files(photographs) if photographs.is_dir() else [])
    ]
    images += [
        _judge(detector, p, f"labelled {kind}", kind, 1.0, on_score)
        for kind, paths in pictures.labelled.items()
        for p in paths
    ]
    covered = [p for name, paths in pictures.clean.items() if name not in ("real", LOOK_ALIKES) for p in paths]
    covered += stereo["l"]
    images += _covered(detector, covered, pictures, on_score, seed)
    if pictures.soil:
        images += [_judge(detector, p, "soiled", "dirt", 1.0, on_score) for p, _ in pictures.soil]
        images += _pasted(detector, covered[::3], "pasted", pictures, on_score, seed)
        images += _pasted(detector, pictures.clean[LOOK_ALIKES] * ON_FROTH, "pasted_on_froth", pictures, on_score, seed)
    images += _kitti(detector, stereo["l"][::2], on_score, seed)
    rendered = list(_views(detector, replace(pictures, labelled={}), views, seed))
    figures, threshold = _figures(images, on_score)
    quality, confusion = _quality([image for image, _ in rendered], rendered)
    return DetectionReport(
        figures | quality, engine.model.classes, confusion, images + [image for image, _ in rendered], threshold
    )


def _judge(
    detector: Detect,
    picture: Path | np.ndarray,
    group: str,
    true: str,
    covered: float,
    on_score: float,
    name: str = "",
    cells: np.ndarray | None = None,
) -> Judged:
    image = read_grey(picture) if isinstance(picture, Path) else picture
    found = detector.detect([Frame(image)], on_score)[0]
    both = either = 0
    if cells is not None:
        both, either = _cells(found, cells)
    told = " ".join(f"{p:.5f}" for p in found.probabilities.values())
    return Judged(
        group,
        picture.name if isinstance(picture, Path) else name,
        true,
        found.kind,
        found.score,
        told,
        covered,
        found.coverage,
        both,
        either,
    )


def _cells(found: Anomaly, cells: np.ndarray) -> tuple[int, int]:
    """Numbers of cells in the intersection and in the union of the found and the true mask."""
    mask, truth, known = found.mask > 0, (cells > WHOLE // 2) & (cells != IGNORED), cells != IGNORED
    return int((mask & truth).sum()), int(((mask | truth) & known).sum())


def _covered(detector: Detect, paths: list[Path], pictures: Pictures, on_score: float, seed: int) -> Iterator[Judged]:
    """Every photograph behind drops, and every third also behind dirt."""
    for number, path in enumerate(track(paths, "behind drops and dirt")):
        rng = np.random.default_rng((seed, number))
        image = read_grey(path)
        height, width = image.shape
        for group in ("wet", "dirty") if number % 3 == 0 else ("wet",):
            coverage = float(np.exp(rng.uniform(np.log(COVERED), np.log(0.5))))
            if group == "wet":
                chosen = None
                if pictures.outlines:
                    chosen = [pictures.outlines[i] for i in rng.integers(len(pictures.outlines), size=12)]
                glass: LensDrops | LensDirt = LensDrops(
                    height, width, rng, coverage, outlines=chosen if number % 2 else None
                )
            else:
                glass = LensDirt(height, width, rng, coverage)
            affected, alpha = glass.apply(image)
            covered, truth = _truth(image, affected, alpha)
            yield _judge(
                detector, affected, group, "raindrop" if group == "wet" else "dirt", covered, on_score, path.name, truth
            )


def _truth(image: np.ndarray, affected: np.ndarray, alpha: np.ndarray) -> tuple[float, np.ndarray]:
    """The share of the view that is visibly covered, and the true cells."""
    cover, gone = to_detector(alpha), lost(to_detector(affected), to_detector(image))
    return float(np.mean((cover > 0.3) & (gone > FAINT))), cells_of(cover, gone)


def _pasted(
    detector: Detect, paths: list[Path], group: str, pictures: Pictures, on_score: float, seed: int
) -> Iterator[Judged]:
    """Every photograph behind real dirt that visibly covers more than COVERED of the view, if one of DRAWS does."""
    soils = [read_soil(*soil) for soil in pictures.soil]
    for number, path in enumerate(track(paths, group)):
        rng = np.random.default_rng((seed, number))
        image = read_grey(path)
        for _ in range(DRAWS):
            affected, alpha = SoiledLens(image.shape[0], image.shape[1], rng, soils).apply(image)
            covered, truth = _truth(image, affected, alpha)
            if covered > COVERED:
                yield _judge(detector, affected, group, "dirt", covered, on_score, path.name, truth)
                break


def _kitti(detector: Detect, paths: list[Path], on_score: float, seed: int) -> Iterator[Judged]:
    for coverage in COVERAGES:
        for number, path in enumerate(paths):
            image = read_grey(path)
            glass = LensDrops(image.shape[0], image.shape[1], np.random.default_rng((seed, number)), coverage)
            affected, alpha = glass.apply(image)
            yield _judge(
                detector,
                affected,
                f"kitti {round(100 * coverage)}",
                "raindrop",
                _truth(image, affected, alpha)[0],
                on_score,
                path.name,
            )


def _views(detector: Detect, pictures: Pictures, count: int, seed: int) -> Iterator[tuple[Judged, View]]:
    for number in track(range(count), "views"):
        rng = np.random.default_rng((seed, number))
        kind = draw_kind(pictures, rng)
        view = draw_view(pictures, rng, kind)
        true = "+".join(name for name, label in zip(CLASSES, view.labels, strict=True) if label == 1)
        if (view.labels == UNKNOWN).any():
            true = "?"
        yield _judge(detector, view.image, f"view {kind}", true, view.coverage, EVEN, str(number), view.cells), view


def _figures(images: list[Judged], on_score: float) -> tuple[dict[str, Figure], float]:
    """The figures on whole images, and the score that RECALL of the covered images reach."""

    def scores(*groups: str) -> np.ndarray:
        return np.array([i.score for i in images if i.group in groups])

    clean = tuple(dict.fromkeys(i.group for i in images if i.true == "clean" and i.group != LOOK_ALIKES))
    on_lens = ("wet", "dirty", "real_wet", "labelled raindrop", "labelled dirt")
    wet = np.array([i.score for i in images if i.group in on_lens and i.covered > COVERED])
    at_recall, threshold = alarms_at_recall(wet, scores(*clean), RECALL)
    at_real_recall, _ = alarms_at_recall(scores("real_wet"), scores(*clean), RECALL)
    figures = {
        "real_auroc": area(scores("real_wet"), scores("real_dry")),
        "false_alarms_at_98_real_recall": at_real_recall,
        "real_recall": share(scores("real_wet") >= on_score),
        "false_alarms_at_98_recall": at_recall,
        "auroc": area(wet, scores(*clean)),
        "recall": share(wet >= on_score),
        "clean_false_alarms": share(scores(*clean) >= on_score),
    }
    figures |= {f"{name}_false_alarms": share(scores(name) >= on_score) for name in (*clean, LOOK_ALIKES)}
    figures |= {f"{name}_recall": share(scores(name) >= on_score) for name in ("wet", "rain", "photograph")}
    for name in ("dirty", "soiled", "pasted", "pasted_on_froth"):
        figures[f"{name}_recall"] = share(scores(name) >= on_score)
        figures[f"{name}_called_dirt"] = share(
            np.array([i.found == "dirt" for i in images if i.group == name and i.score >= on_score])
        )
    labelled = dict.fromkeys(i.group for i in images if i.group.startswith("labelled"))
    figures |= {f"{name.replace(' ', '_')}_recall": share(scores(name) >= on_score) for name in labelled}
    figures |= {
        f"kitti_recall_{round(100 * c)}": share(scores(f"kitti {round(100 * c)}") >= on_score) for c in COVERAGES
    }
    drops = [i for i in images if i.group == "wet"]
    figures["mask_iou_wet"] = overlap(np.array([i.intersection for i in drops]), np.array([i.union for i in drops]))
    return figures, threshold


def _quality(images: list[Judged], rendered: list[tuple[Judged, View]]) -> tuple[dict[str, Figure], np.ndarray]:
    """The figures on rendered views: classes, masks and calibration; and the confusion matrix."""
    single = [i for i in images if i.group.removeprefix("view ") in RENDERED and i.true in CLASSES]
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    for image in single:
        confusion[CLASSES.index(image.true), CLASSES.index(image.found)] += 1
    told = np.stack([view.labels for _, view in rendered])
    said = np.array([[float(p) for p in i.probabilities.split()] for i in images])
    known, right = told != UNKNOWN, (said >= 0.5) == (told == 1)
    synthetic = np.array(["real" not in i.group for i in images])
    plain = [i for i in single if i.true == "clean" or i.covered > COVERED]
    figures = {
        "class_accuracy": share(np.array([i.true == i.found for i in plain])),
        "class_accuracy_faint_too": share(np.array([i.true == i.found for i in single])),
        "label_accuracy": share(right[synthetic][known[synthetic]]),
        "all_labels_right": share((right | ~known)[synthetic].all(1)),
    }
    for kind in MIX:
        flags = np.array([i.found != "clean" for i in images if i.group == f"view {kind}" and i.true != "?"])
        clean = kind in ("clean", "spoiled")
        figures[f"view_{kind.replace(' ', '_')}_{'false_alarms' if clean else 'recall'}"] = share(flags)
    for name, group in {
        "mask_iou": [i for i in images if "clean" not in i.true],
        "mask_iou_raindrop": [i for i in images if i.group == "view raindrop"],
    }.items():
        figures[name] = overlap(np.array([i.intersection for i in group]), np.array([i.union for i in group]))
    figures["calibration_error"] = calibration_error(said[known], told[known] == 1)
    affected = told[:, 0] != UNKNOWN
    figures["calibration_error_of_score"] = calibration_error(
        np.array([i.score for i in images])[affected], told[affected, 0] == 0
    )
    return figures, confusion
