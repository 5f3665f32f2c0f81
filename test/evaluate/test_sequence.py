"""Flicker: motion is what it is, a still restorer flickers like the clean video, an unsteady one more."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

from derain_ros.engine import load
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.sequence import Step, Video, drive, flicker, from_folder, markdown, measure
from derain_ros.manifest import Manifest


@pytest.fixture(scope="module")
def video() -> Video:
    return drive(3, width=160, height=120)


def standing(step: Step) -> Step:
    """The same pixels, as if nothing moved."""
    y, x = np.indices(step.known.shape, dtype=np.float32)
    return Step(x, y, step.known)


def test_motion_of_the_drive_is_exact(video: Video) -> None:
    nowhere = np.zeros(video.frames[0].shape, bool)
    compensated = measure(video.frames, video.steps, nowhere)[0]
    still = measure(video.frames, [standing(s) for s in video.steps], nowhere)[0]
    assert compensated < 0.5 * still
    assert all(0.7 < step.known.mean() <= 1 for step in video.steps)


def test_flow_of_a_folder_follows_what_moves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (96, 200)).astype(np.uint8), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    with pytest.raises(EvaluationError, match="fewer than two"):
        from_folder(tmp_path, 3)
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k}.png"), wide[:, 4 * k:4 * k + 128])
    video = from_folder(tmp_path, 3)
    middle = video.steps[0].column[30:60, 40:90] - np.arange(40, 90)
    assert np.median(middle) == pytest.approx(4.0, abs=0.3)
    assert measure(video.frames, video.steps, np.zeros((96, 128), bool))[0] < 3


def test_an_unsteady_restorer_is_told(video: Video, tmp_path: Path) -> None:
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_mono"))
    steady = flicker(engine, video)
    # It adds 10 to all: differences stay, but for what saturates.
    assert steady.restored[0] == pytest.approx(steady.wet[0], rel=0.1)

    class Unsteady:
        model, device, turn = engine.model, "", 0

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            self.turn = 20 - self.turn
            return {"restored": np.clip(image.astype(int) + self.turn, 0, 255).astype(np.uint8), "mask": image[..., 0]}

    unsteady = flicker(Unsteady(), video)
    assert unsteady.ratio > 2 and unsteady.clean == steady.clean
    table = markdown([steady, unsteady]).splitlines()
    assert table[-1].endswith("| no |") and len({line.count("|") for line in table[2:]}) == 1
