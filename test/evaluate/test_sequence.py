"""Restored video: motion is what it is, a still restorer flickers like the clean video, an unsteady one more."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

from derain_ros.engine import load
from derain_ros.evaluate import sequence
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.sequence import Step, Video, drive, evaluate, from_folder, markdown, measure
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


@pytest.fixture
def pan(tmp_path: Path) -> Path:
    """A folder with three images of a camera that glides to the right by four pixels each time."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (96, 200)).astype(np.uint8), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k}.png"), wide[:, 4 * k : 4 * k + 128])
    return tmp_path


def test_flow_of_a_folder_follows_what_moves(pan: Path) -> None:
    with pytest.raises(EvaluationError, match="fewer than two"):
        from_folder(pan, 1)
    video = from_folder(pan, 3)
    middle = video.steps[0].column[30:60, 40:90] - np.arange(40, 90)
    assert np.median(middle) == pytest.approx(4.0, abs=0.3)
    assert measure(video.frames, video.steps, np.zeros((96, 128), bool))[0] < 3


def test_an_unsteady_restorer_is_told(video: Video, tmp_path: Path) -> None:
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_mono"))
    steady = evaluate(engine, video, "photograph")
    # It adds 10 to all: differences stay, but for what saturates; and so does the error.
    assert steady.restored[0] == pytest.approx(steady.wet[0], rel=0.1)
    assert steady.wet_psnr[0] > steady.wet_psnr[1] + 3 and steady.restored_psnr[0] < 28.2

    class Unsteady:
        model, device, turn = engine.model, "", 0

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            self.turn = 20 - self.turn
            return {"restored": np.clip(image.astype(int) + self.turn, 0, 255).astype(np.uint8), "mask": image[..., 0]}

    unsteady = evaluate(Unsteady(), video, "photograph")
    assert unsteady.ratio > 1.5 * steady.ratio and unsteady.clean == steady.clean
    table = markdown([steady, unsteady]).splitlines()
    assert " no |" in table[-1] and len({line.count("|") for line in table[2:]}) == 1
    assert np.isnan(steady.settled) and "nan" not in table[-1]


def test_a_restorer_that_settles_is_told(video: Video, tmp_path: Path) -> None:
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_mono"))

    class Settling:
        model, device, frames = engine.model, "", 0

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            self.frames += 1
            white = 60 * (self.frames % 2 == 0) if self.frames <= sequence.SETTLED else 0
            return {"restored": np.clip(image.astype(int) + white, 0, 255).astype(np.uint8), "mask": image[..., 0]}

    y, x = np.indices(video.frames[0].shape, dtype=np.float32)
    step = Step(x, y, np.ones(video.frames[0].shape, bool))
    noise = np.random.default_rng(0).integers(100, 110, (14, *video.frames[0].shape), np.uint8)
    row = evaluate(Settling(), Video("still", list(noise), [step] * 13, 20.0), "few")
    assert row.ratio > 3 and row.settled < 1.2
    assert f" no | {row.settled:.2f} |" in markdown([row])


def test_a_filter_that_recalls_the_last_output_is_steady(pan: Path, tmp_path: Path) -> None:
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_mono"))
    video = from_folder(pan, 3)

    class Recalling:
        """Takes the restoration at first, and the last output wherever the scene was in view from then on."""

        model = type("Model", (), {"name": "recall"})

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            weights = np.zeros((*image.shape[:3], 3), np.uint8)
            weights[..., 1] = 255
            return {"weights": weights, "mask": image[..., 3], "memory": image[..., 5:]}

    alone, joined = (evaluate(engine, video, "photograph", temporal) for temporal in (None, Recalling()))
    assert joined.restored[0] < 0.7 * alone.restored[0]
    assert joined.model == "restore_mono + recall"


def test_the_shipped_filter_makes_the_shipped_restorer_steadier_and_truer() -> None:
    manifest = Manifest.load()
    engine, temporal = (load(manifest.get(name)) for name in ("restore_mono_int8", "temporal_int8"))
    video = drive(8, width=240, height=180)
    alone, joined = (evaluate(engine, video, "photograph", join) for join in (None, temporal))
    assert joined.restored[0] < 0.9 * alone.restored[0]
    assert joined.restored_psnr[1] > alone.restored_psnr[1] + 0.3
