"""Evaluation of a detector: its arithmetic on made-up scores, and the shipped model on the real data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from derain_ros.engine import load  # noqa: E402
from derain_ros.evaluate.detection import DetectionReport, auroc, evaluate  # noqa: E402
from derain_ros.manifest import Manifest, Model  # noqa: E402
from derain_ros.nets.detector import CELL, CLASSES, SIZE  # noqa: E402

DATA = Path(os.environ.get("DERAIN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "raindrop_real").is_dir(),
                                reason=f"no data at {DATA}; set DERAIN_DATA to the data folder")


class Constant:
    """An engine that finds raindrops, with one score, in every cell of every image."""

    device = "cpu"

    def __init__(self, score: float) -> None:
        self.model = Model("detect", "detect", Path("detect.onnx"), "", 1, CELL, classes=CLASSES, size=SIZE)
        self.score = score

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The same for each image of the batch."""
        assert image.shape[1:] == (*SIZE, 1) and image.dtype == np.uint8
        probabilities = np.tile(np.float32([1 - self.score, self.score, 0, 0]), (len(image), 1))
        mask = np.ones((len(image), SIZE[0] // CELL, SIZE[1] // CELL), np.float32)
        return {"probabilities": probabilities, "mask": mask}


def test_auroc() -> None:
    low, high = np.array([0.1, 0.2, 0.3]), np.array([0.7, 0.8])
    assert auroc(high, low) == 1.0 and auroc(low, high) == 0.0
    assert auroc(low, low) == 0.5
    assert auroc(np.array([0.2, 0.9]), low) == pytest.approx((1.5 + 3) / 6)


@needs_data
@pytest.mark.parametrize("score", [0.59, 0.6])
def test_a_detector_that_always_cries_wolf_and_one_that_never_does(score: float) -> None:
    report = evaluate(Constant(score), DATA, on_score=0.599, views=40)
    figures = report.figures
    affected = float(score == 0.6)
    assert figures["real_recall"] == figures["kitti_recall_3"] == affected
    assert figures["real_false_alarms"] == figures["clean_false_alarms"] == figures["kitti_false_alarms"] == affected
    assert figures["real_auroc"] == figures["real_accuracy"] == 0.5
    column = 1 if affected else 0
    assert report.confusion.sum() == report.confusion[:, column].sum() > 20
    assert figures["class_accuracy"] == pytest.approx(report.confusion[column, column] / report.confusion.sum())
    assert 0.0 < figures["mask_iou"] < 0.9


def test_report_is_readable() -> None:
    report = DetectionReport({"real_auroc": 0.98765}, ("clean", "raindrop"), np.array([[5, 1], [2, 7]]))
    assert "| real_auroc | 0.9877 |" in report.markdown()
    assert "| raindrop | 2 | 7 |" in report.markdown()


@needs_data
def test_the_shipped_detector_tells_wet_from_dry() -> None:
    figures = evaluate(load(Manifest.load().get("detect")), DATA, views=200).figures
    assert figures["real_auroc"] > 0.98 and figures["real_accuracy"] > 0.95
    assert figures["camvid_false_alarms"] < 0.02 and figures["clean_false_alarms"] < 0.05
    assert figures["kitti_false_alarms"] < 0.05
    assert figures["kitti_recall_30"] > 0.8
    assert figures["mask_iou"] > 0.5
