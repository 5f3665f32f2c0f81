"""The operating point lets few clean photographs be called affected."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from derain_ros.config import Config  # noqa: E402
from derain_ros.nets.detector import CLASSES, Detection, Detector  # noqa: E402
from derain_ros.train.calibrate import clean_bias  # noqa: E402
from derain_ros.train.views import Pictures  # noqa: E402


class ByBrightness(Detector):
    """The brighter an image the surer of drops: a logit of brightness / 25."""

    def forward(self, image: torch.Tensor) -> Detection:
        classes = torch.full((len(image), len(CLASSES)), -20.0)
        classes[:, 0], classes[:, 1] = 0.0, image.mean((1, 2, 3)) / 25
        return Detection(classes, torch.zeros(len(image), 17, 23))


def _pictures(folder: Path, levels: list[int]) -> Pictures:
    """Plain photographs; each second one is white, but not for the calibration to see."""
    paths = []
    for number, level in enumerate(levels):
        for name, value in ((f"{number}a.png", level), (f"{number}b.png", 255)):
            cv2.imwrite(str(folder / name), np.full((30, 40), value, np.uint8))
            paths.append(folder / name)
    return Pictures({"camvid": paths, "real": paths[1:2]}, [], [])


def test_bright_photographs_just_reach_the_score(tmp_path: Path) -> None:
    bias = clean_bias(ByBrightness(), _pictures(tmp_path, [100] * 40))
    score = 1 / (1 + np.exp(bias - 100 / 25))
    assert score == pytest.approx(Config().on_score, abs=1e-3)


def test_a_detector_that_is_sure_enough_is_left_alone(tmp_path: Path) -> None:
    assert clean_bias(ByBrightness(), _pictures(tmp_path, [0] * 99 + [100])) == 0.0, "one in 100 may be bright"
