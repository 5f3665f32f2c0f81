"""Evaluation of a detector: one that always says the same on a tiny data folder, and the shipped one on real data."""

from __future__ import annotations

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_pictures import write_own_pictures, write_pictures

pytest.importorskip("torch")

from derain_ros.config import Config  # noqa: E402
from derain_ros.data.pictures import find_pictures, read_grey  # noqa: E402
from derain_ros.data.samples import image_files  # noqa: E402
from derain_ros.engine import load  # noqa: E402
from derain_ros.evaluate.alarm_figures import Figure, auroc  # noqa: E402
from derain_ros.evaluate.detection import DetectionReport, Judged, _figures, evaluate  # noqa: E402
from derain_ros.evaluate.restoration import EvaluationError  # noqa: E402
from derain_ros.frame import Frame  # noqa: E402
from derain_ros.manifest import Manifest, Model  # noqa: E402
from derain_ros.nets.detector import CELLS, CLASSES, SIZE  # noqa: E402
from derain_ros.runtime.judge.detect import Detect  # noqa: E402

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "raindrop_real").is_dir(), reason=f"no data at {DATA}; set DERAIN_DATA to the data folder"
)


class Constant:
    """An engine that finds raindrops, with one score, in every cell of every image."""

    device = "cpu"

    def __init__(self, score: float) -> None:
        self.model = Model("detect", "detect", Path("detect.onnx"), "", 1, 2, classes=CLASSES, size=SIZE)
        self.score = score

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The same for each image of the batch."""
        assert image.shape[1:] == (*SIZE, 1) and image.dtype == np.uint8
        probabilities = np.tile(np.float32([1 - self.score, self.score, 0, 0, 0]), (len(image), 1))
        return {"probabilities": probabilities, "mask": np.ones((len(image), *CELLS), np.float32)}


@pytest.fixture(scope="module")
def pictures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny folder with two stereo frames and two photographs through wet glass."""
    data = write_pictures(tmp_path_factory.mktemp("data"))
    for place in ("kitti_stereo/sequence_1/image_l", "kitti_stereo/sequence_1/image_r", "raindrop_real/inputs"):
        (data / place).mkdir(parents=True)
        for number in range(2):
            shutil.copy(data / f"camvid/val/image/{number}.png", data / place)
    return data


@pytest.mark.parametrize("score", [0.49, 0.61])
def test_a_detector_that_always_cries_wolf_and_one_that_never_does(pictures_folder: Path, score: float) -> None:
    report = evaluate(Constant(score), pictures_folder, on_score=0.6, views=40)
    figures, affected = report.figures, float(score > 0.6)
    for name in (
        "real_recall",
        "wet_recall",
        "dirty_recall",
        "soiled_recall",
        "pasted_recall",
        "pasted_on_froth_recall",
        "froth_false_alarms",
        "rain_recall",
        "photograph_recall",
        "kitti_recall_3",
        "recall",
        "clean_false_alarms",
        "kitti_false_alarms",
        "real_dry_false_alarms",
        "camvid_false_alarms",
    ):
        assert figures[name] == affected, name
    assert figures["real_auroc"] == figures["auroc"] == 0.5
    assert figures["false_alarms_at_98_recall"] == figures["false_alarms_at_98_real_recall"] == 1.0
    assert report.threshold == pytest.approx(score)
    assert figures.get("soiled_called_dirt") == (0.0 if affected else None), "it calls all raindrops"
    groups = [image.group for image in report.images]
    assert [groups.count(name) for name in ("soiled", "pasted", "pasted_on_froth", "froth")] == [2, 4, 8, 2]
    column = 1 if affected else 0
    assert report.confusion.sum() == report.confusion[:, column].sum() > 15
    right = report.confusion[column, column] / report.confusion.sum()
    assert figures["class_accuracy_faint_too"] == pytest.approx(right)
    drops = [image for image in report.images if image.group == "wet"]
    assert figures["mask_iou_wet"] == pytest.approx(sum(i.intersection for i in drops) / sum(i.union for i in drops))
    assert all(i.union <= np.prod(CELLS) for i in drops) and 0.0 < figures["mask_iou_wet"] < 0.9
    assert 0.0 < figures["mask_iou"] < 0.9
    assert 0.05 < figures["calibration_error"] < 0.9


def test_pictures_of_ones_own_are_measured(tmp_path: Path) -> None:
    report = evaluate(Constant(0.9), write_own_pictures(tmp_path / "mine"), views=20)
    figures = report.figures
    assert figures["own_false_alarms"] == figures["labelled_raindrop_recall"] == figures["wet_recall"] == 1.0
    assert figures["auroc"] == 0.5 and "real_auroc" not in figures and "kitti_recall_3" not in figures
    groups = [image.group for image in report.images if not image.group.startswith("view ")]
    assert {group: groups.count(group) for group in groups} == {"own": 2, "labelled raindrop": 2, "wet": 2, "dirty": 1}
    assert "own_false_alarms" in report.markdown() and "nan" not in report.markdown()


def test_every_image_has_its_line(pictures_folder: Path, tmp_path: Path) -> None:
    report = evaluate(Constant(0.9), pictures_folder, views=10)
    report.write_csv(tmp_path / "images.csv")
    with (tmp_path / "images.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(report.images)
    assert {line["group"] for line in lines} >= {"camvid", "real_wet", "real_dry", "rain", "wet", "dirty", "kitti 30"}
    wet = next(line for line in lines if line["group"] == "kitti 30")
    assert wet["true"] == wet["found"] == "raindrop" and 0.15 < float(wet["covered"]) < 0.5


def test_report_is_readable() -> None:
    report = DetectionReport(
        {"real_auroc": Figure(0.98765, 0.9, 1.0, 42), "none": Figure(float("nan"), 0, 1, 0)},
        ("clean", "raindrop"),
        np.array([[5, 1], [2, 7]]),
        [],
        0.31,
    )
    assert "| real_auroc | 0.9877 | 0.9000 to 1.0000 | 42 |" in report.markdown()
    assert "| raindrop | 2 | 7 |" in report.markdown() and "0.310" in report.markdown()
    assert report.figures == {"real_auroc": 0.98765}


def test_a_detector_of_other_classes_is_refused(tmp_path: Path) -> None:
    engine = Constant(0.5)
    engine.model = replace(engine.model, classes=CLASSES[:4])
    with pytest.raises(EvaluationError, match="detect: detects clean, raindrop, dirt, streak on"):
        evaluate(engine, tmp_path)


@needs_data
def test_the_shipped_detector_tells_wet_from_dry() -> None:
    detector, pictures = Detect(load(Manifest.load().get("detect"))), find_pictures(DATA, "evaluation")

    def scores(paths: list[Path]) -> np.ndarray:
        return np.array([detector.detect([Frame(read_grey(path))])[0].score for path in paths])

    wet, dry = scores([wet for wet, _ in pictures.drops]), scores([dry for _, dry in pictures.drops])
    assert auroc(wet, dry) > 0.98
    assert np.mean(scores(image_files(DATA / "kitti_stereo/sequence_1/image_l")) >= Config.on_score) < 0.03
    assert np.mean(scores(pictures.clean["camvid"]) >= Config.on_score) < 0.03
    assert np.mean(scores([rainy for rainy, _ in pictures.streaks]) >= Config.on_score) > 0.9


def test_dirt_is_counted_as_dirt_where_it_is_flagged_and_called_so_and_froth_by_itself() -> None:
    def judged(group: str, true: str, found: str, score: float) -> Judged:
        return Judged(group, "", true, found, score, "", 1.0, 0.0, 0, 1)

    images = [
        judged("soiled", "dirt", "dirt", 0.9),
        judged("soiled", "dirt", "raindrop", 0.8),
        judged("soiled", "dirt", "clean", 0.3),
        judged("froth", "clean", "raindrop", 0.9),
        judged("froth", "clean", "clean", 0.1),
        judged("camvid", "clean", "clean", 0.1),
    ]
    figures, _ = _figures(images, on_score=0.75)
    assert figures["soiled_recall"].value == pytest.approx(2 / 3) and figures["soiled_called_dirt"].value == 0.5
    assert figures["froth_false_alarms"].value == 0.5 and figures["clean_false_alarms"].value == 0.0


def test_false_alarms_are_told_at_the_recall_of_real_drops_alone_too() -> None:
    def judged(group: str, score: float) -> Judged:
        true = "clean" if group in ("camvid", "bsds500") else "raindrop"
        return Judged(group, "", true, "", score, "", 1.0, 0.0, 0, 1)

    images = [judged("real_wet", 0.9), judged("wet", 0.2), judged("camvid", 0.5), judged("bsds500", 0.1)]
    figures, threshold = _figures(images, on_score=0.75)
    assert figures["false_alarms_at_98_real_recall"].value == 0.0
    assert figures["false_alarms_at_98_recall"].value == 0.5 and threshold == pytest.approx(0.2)
