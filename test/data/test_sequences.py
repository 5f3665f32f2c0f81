"""Sequences for the temporal filter: the scene moves as the steps say, what is on the glass stays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.data import sequences  # noqa: E402
from derain_ros.data.layouts import TrainingFolders  # noqa: E402
from derain_ros.data.sequences import SequenceSample, draw_sequence  # noqa: E402

SIZE, LENGTH = 96, 4


def restore(wet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(wet, 250) + 5, np.where(wet > 200, 255, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photographs of soft texture, so that moving them by parts of a pixel changes little."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("photographs")
    files = [folder / f"{n}.png" for n in range(3)]
    for path in files:
        noise = cv2.GaussianBlur(rng.standard_normal((200, 260)).astype(np.float32), (0, 0), 3)
        cv2.imwrite(str(path), cv2.normalize(noise, None, 30, 220, cv2.NORM_MINMAX))
    return files


def draw(files: list[Path], seed: int) -> SequenceSample:
    return draw_sequence(files, LENGTH, SIZE, restore, np.random.default_rng(seed))


def test_shapes_and_the_seed_decide_all(files: list[Path]) -> None:
    sample, again = draw(files, 3), draw(files, 3)
    for name in ("clean", "wet", "restored", "mask"):
        assert getattr(sample, name).shape == (LENGTH, SIZE, SIZE) and getattr(sample, name).dtype == np.uint8
        assert np.array_equal(getattr(sample, name), getattr(again, name))
    assert sample.covered.shape == (SIZE, SIZE) and sample.steps.shape == (LENGTH - 1, SIZE, SIZE, 2)
    assert np.array_equal(sample.restored, np.minimum(sample.wet, 250) + 5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_scene_moves_as_the_steps_say(files: list[Path], monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(sequences, "DRIVES", share)
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)
    moved, standing = [], []
    for seed in range(4):
        sample = draw(files, seed)
        for before, now, step in zip(sample.clean, sample.clean[1:], sample.steps.astype(np.float32), strict=False):
            maps = grid + np.nan_to_num(step)
            known = ~np.isnan(step[..., 0]) & (maps >= 0).all(-1) & (maps < SIZE - 1).all(-1)
            guess = cv2.remap(before, maps, None, cv2.INTER_LINEAR)
            moved.append(np.abs(guess.astype(int) - now)[known].mean() if known.any() else 0.0)
            standing.append(np.abs(before.astype(int) - now)[known].mean() if known.any() else 0.0)
    assert np.mean(moved) < 0.6 * np.mean(standing)


def test_what_is_on_the_glass_stays_and_may_be_nothing(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "DRIVES", 0.0)
    samples = [draw(files, seed) for seed in range(40)]
    dry = [sample for sample in samples if np.array_equal(sample.wet, sample.clean)]
    assert 1 <= len(dry) <= 12 and not any(sample.covered.any() for sample in dry)
    partly = [sample for sample in samples if 0.02 < (sample.covered > 0).mean() < 0.98]
    assert len(partly) > 15
    for sample in partly:
        differs = np.abs(sample.wet.astype(int) - sample.clean).mean(0)
        assert differs[sample.covered > 0].mean() > 1.2 * differs[sample.covered == 0].mean()


def test_photographs_come_from_the_data_folder(data_folder: Path) -> None:
    sample = draw(TrainingFolders.find([data_folder], "drops").photographs, 1)
    assert sample.clean.std() > 0
