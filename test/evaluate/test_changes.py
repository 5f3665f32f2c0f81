"""Drops that change and views that leap: what each case shows, its figures, and what a filter does to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

from derain_ros.engine import Engine, load
from derain_ros.evaluate import changes
from derain_ros.evaluate.changes import CASES, ChangeCase, cases, evaluate, markdown, measure
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.sequence import Video
from derain_ros.manifest import Manifest
from derain_ros.rain.scene import Camera

COUNT = 12


class World:
    """Renders noise of its own for every time."""

    def render(self, camera: Camera, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(round(seconds * 1000))
        return rng.integers(0, 256, (camera.height, camera.width), np.uint8), np.zeros(0)


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch) -> Video:
    monkeypatch.setattr(changes, "_elsewhere", World)
    wide = cv2.resize(np.random.default_rng(0).integers(60, 200, (12, 32), np.uint8), (320, 96))
    return Video("pan", [np.ascontiguousarray(wide[:, 4 * k : 4 * k + 128]) for k in range(COUNT)], [], 20.0)


def test_what_each_case_shows(video: Video) -> None:
    found = {case.name: case for case in cases(video, "heavy")}
    assert list(found) == list(CASES)
    for case in found.values():
        assert (len(case.clean), len(case.wet), len(case.covered)) == (COUNT,) * 3
        for clean, wet, covered in zip(case.clean, case.wet, case.covered, strict=True):
            assert covered.dtype == bool and np.array_equal(clean, wet) <= (not covered.any())
    cover = {name: [float(c.mean()) for c in case.covered] for name, case in found.items()}
    for name in ("land", "standing"):
        assert cover[name][:4] == [0] * 4 and cover[name] == sorted(cover[name]) and cover[name][8] > 0.1
        assert cover[name][8:] == cover[name][-1:] * 4
    assert cover["dry"][0] > 0.1 and cover["dry"][:4] == cover["dry"][:1] * 4 and cover["dry"][8:] == [0] * 4
    assert cover["grow"][0] == 0 and np.diff(cover["grow"]).min() >= 0 and cover["grow"][-1] > 2 * cover["grow"][1]
    moved = [np.count_nonzero(a & ~b) for a, b in zip(found["run"].covered, found["run"].covered[1:], strict=False)]
    assert np.count_nonzero(moved) > COUNT / 2
    pieces = [cv2.connectedComponents(c.astype(np.uint8))[0] for c in found["merge"].covered]
    assert pieces[-1] < pieces[0] and cover["merge"][0] == cover["merge"][3] > cover["merge"][-1] > 0.05
    for name in ("cut", "stills"):
        assert all(np.array_equal(c, found["dry"].covered[0]) for c in found[name].covered)
    assert all(a is b for a, b in zip(found["cut"].clean[:6], video.frames[:6], strict=True))
    assert len({frame.tobytes() for frame in found["stills"].clean}) == COUNT
    assert not {f.tobytes() for f in found["cut"].clean[6:]} & {f.tobytes() for f in video.frames}
    assert len({frame.tobytes() for frame in found["standing"].clean}) == 1
    again = {case.name: case for case in cases(video, "heavy")}
    assert all(np.array_equal(a, b) for name in CASES for a, b in zip(found[name].wet, again[name].wet, strict=True))


def test_stills_of_a_folder(video: Video, tmp_path: Path) -> None:
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((50, 70), 40 + 60 * k, np.uint8))
    stills = next(case for case in cases(video, "few", tmp_path) if case.name == "stills")
    assert [int(frame[0, 0]) for frame in stills.clean] == [40, 100, 160] * 4 and stills.clean[0].shape == (96, 128)
    for k in (1, 2):
        (tmp_path / f"{k}.png").unlink()
    with pytest.raises(EvaluationError, match="fewer than two"):
        next(cases(video, "few", tmp_path))


def constructed(
    errors: Sequence[int], covered: Sequence[int]
) -> tuple[ChangeCase, list[tuple[np.ndarray, np.ndarray]]]:
    """Frames of 20x20 with such errors within the columns that are covered; the mask holds the first one alone."""
    clean = [np.full((20, 20), 100, np.uint8)] * len(errors)
    where = [np.arange(400).reshape(20, 20) % 20 < c for c in covered]
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 0] = 255
    results = [(np.where(w, 100 + e, 100).astype(np.uint8), mask) for w, e in zip(where, errors, strict=True)]
    return ChangeCase("land", "made", "few", clean, clean, where, 20.0), results


def test_figures_over_all_frames_and_of_the_worst_five() -> None:
    figures = measure(*constructed([5, 10, 10, 10, 10, 10, 5, 5], [1] + [2] * 5 + [1] * 2))
    assert figures.within[1] == pytest.approx(20 * np.log10(255 / 10))
    assert figures.psnr[1] == pytest.approx(20 * np.log10(255 / 10) + 10)
    assert figures.recall == (pytest.approx(8 / 13), 0.5)
    assert figures.within[0] == pytest.approx(10 * np.log10(255**2 / ((10 * 100 + 3 * 25) / 13)))
    short = measure(*constructed([10, 10], [2, 2]))
    assert short.within[0] == short.within[1] and short.recall == (0.5, 0.5)


def test_a_dry_video_has_figures_of_all_pixels_alone() -> None:
    case, results = constructed([0] * 6, [0] * 6)
    figures = measure(case, results)
    assert figures.psnr[0] > 100 and np.isnan([*figures.within, *figures.recall]).all()
    half = measure(*constructed([0] * 5 + [10] * 5, [0] * 5 + [2] * 5))
    assert half.recall == (0.5, 0.5) and half.psnr[1] < half.psnr[0]


def test_a_filter_that_hides_what_lands_is_told(video: Video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_mono"))

    class Covering:
        """Finds everything, and restores nothing."""

        model = engine.model

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            return {"restored": image, "mask": np.full(image.shape[:3], 255, np.uint8)}

    def hiding(
        temporal: Engine, frames: Sequence[np.ndarray], results: Sequence[tuple[np.ndarray, np.ndarray]], rate: float
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Shows the first frame, and half of the mask, for ever."""
        half = results[0][1].copy()
        half[:, half.shape[1] // 2 :] = 0
        return [(results[0][0], half)] * len(frames)

    monkeypatch.setattr(changes, "joined", hiding)
    rows = [evaluate(Covering(), case, engine) for case in cases(video, "few")]
    of = {row.case: row for row in rows}
    assert all(row.alone.recall == (1, 1) and row.model == "restore_mono + restore_mono" for row in rows)
    assert all(row.joined is not None and row.joined.recall[1] <= row.joined.recall[0] < 0.9 for row in rows)
    standing, leaping = of["standing"].joined, of["stills"].joined
    assert standing is not None and leaping is not None
    assert standing.psnr[0] > of["standing"].alone.psnr[0] + 20, "what it showed first was dry"
    assert leaping.psnr[0] < of["stills"].alone.psnr[0] - 3
    table = markdown(rows).splitlines()
    lines = [line for line in table if line.startswith("|")]
    assert len(lines) == 2 + len(CASES) and len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| land | pan | few | restore_mono + restore_mono |")
    assert f"| 1.00 → {standing.recall[0]:.2f} ({standing.recall[0] - 1:+.2f}) |" in lines[-1]
    alone = markdown([evaluate(Covering(), case) for case in cases(video, "few")])
    assert "(+" not in alone and "| 1.00 | 1.00 |" in alone
