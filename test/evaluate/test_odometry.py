"""Visual odometry: it finds the drive's motion, is lost where nothing can be seen, and reads sequences of KITTI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

from derain_ros.engine import load
from derain_ros.evaluate.odometry import StereoSequence, drive, evaluate, from_kitti, markdown, measure, motion
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.manifest import Manifest
from derain_ros.rain.scene import SPEED_M_S


@pytest.fixture(scope="module")
def sequence() -> StereoSequence:
    return drive(4, width=480, height=360)


def test_the_motion_of_the_drive_is_found(sequence: StereoSequence) -> None:
    step = np.linalg.norm(sequence.poses[1, :3, 3] - sequence.poses[0, :3, 3])
    assert step == pytest.approx(SPEED_M_S / 10, rel=0.02)
    found = measure(sequence, sequence.eyes)
    assert found.error_m < 0.06 * step and found.points > 100 and (found.lost, found.steps) == (0, 3)


def test_the_motion_takes_points_of_a_frame_to_the_next(sequence: StereoSequence) -> None:
    found = motion(sequence, (sequence.eyes[0][0], sequence.eyes[1][0], sequence.eyes[0][1]))
    assert found is not None
    # What stands before the camera comes nearer.
    assert found[0][2, 3] == pytest.approx(-SPEED_M_S / 10, rel=0.1)


def test_what_sticks_to_both_lenses_misleads_it(sequence: StereoSequence) -> None:
    speckled = [[frame.copy() for frame in frames] for frames in sequence.eyes]
    rng = np.random.default_rng(1)
    for row, column in rng.integers((20, 40), (340, 440), (400, 2)):
        for eye, frames in enumerate(speckled):
            for frame in frames:
                cv2.circle(frame, (int(column) - 6 * eye, int(row)), 4, 255, cv2.FILLED)
    clean, wet = (measure(sequence, (eyes[0], eyes[1])) for eyes in (sequence.eyes, speckled))
    assert wet.error_m > 10 * clean.error_m


def test_without_corners_it_is_lost_and_stands_still(sequence: StereoSequence) -> None:
    everywhere = [np.full_like(frame, 255) for frame in sequence.eyes[0]]
    blank = [np.zeros_like(frame) for frame in sequence.eyes[0]]
    for lost in (measure(sequence, sequence.eyes, (everywhere, everywhere)), measure(sequence, (blank, blank))):
        assert (lost.lost, lost.points) == (3, 0)
        assert lost.error_m == pytest.approx(SPEED_M_S / 10, rel=0.02)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_corner_hidden_in_any_image_does_not_count(sequence: StereoSequence, which: int) -> None:
    images = sequence.eyes[0][0], sequence.eyes[1][0], sequence.eyes[0][1]
    masks = [np.zeros_like(image) for image in images]
    found = motion(sequence, images, masks)
    masks[which][:, :240] = 255
    half = motion(sequence, images, masks)
    assert found is not None and half is not None and half[1] < 0.75 * found[1]


def test_a_row_of_figures_for_each_thing_that_is_tracked(sequence: StereoSequence, tmp_path: Path) -> None:
    engine = load(Manifest.load(tiny_models.write_models(tmp_path)).get("restore_mono"))
    temporal = load(Manifest.load().get("temporal_int8"))
    short = replace(sequence, eyes=(sequence.eyes[0][:2], sequence.eyes[1][:2]))
    row = evaluate(engine, short, "few", 0.3, temporal)
    assert list(row.figures) == [
        "clean",
        "wet",
        "wet, masked",
        "restore_mono",
        "restore_mono, masked",
        "restore_mono + temporal_int8",
    ]
    assert 0.2 < row.coverage < 0.5 and row.figures["wet"].points < row.figures["clean"].points
    lines = markdown(
        [
            row,
            evaluate(engine, short, "few"),
            replace(
                row,
                figures={what: replace(figures, error_m=4 * figures.error_m) for what, figures in row.figures.items()},
            ),
        ]
    ).splitlines()
    assert sum(line.startswith("| drive | few |") for line in lines) == 3
    assert {line.count("|") for line in lines if line.startswith("|")} == {4 + 5, 4 + 6}
    mean = next(line for line in lines if line.startswith("| geometric mean"))
    assert f"| {200 * row.figures['clean'].error_m:.1f} |" in mean


@pytest.fixture
def kitti(sequence: StereoSequence, tmp_path: Path) -> Path:
    for eye, frames in zip("lr", sequence.eyes, strict=True):
        (tmp_path / f"image_{eye}").mkdir()
        for n, frame in enumerate(frames):
            cv2.imwrite(str(tmp_path / f"image_{eye}/{n:06d}.png"), frame)
    calibration = [
        [sequence.focal, 0, sequence.centre[0], shift, 0, sequence.focal, sequence.centre[1], 0, 0, 0, 1, 0]
        for shift in (0.0, -sequence.focal * sequence.baseline)
    ]
    (tmp_path / "calib.txt").write_text("\n".join(f"P{n}: " + " ".join(map(str, p)) for n, p in enumerate(calibration)))
    np.savetxt(tmp_path / "poses.txt", sequence.poses[:, :3].reshape(-1, 12))
    return tmp_path


def test_a_sequence_in_kittis_form_is_read_as_it_is(kitti: Path, sequence: StereoSequence) -> None:
    read = from_kitti(kitti, 10)
    assert (read.focal, *read.centre, read.baseline) == pytest.approx(
        (sequence.focal, *sequence.centre, sequence.baseline)
    )
    assert measure(read, read.eyes) == measure(sequence, sequence.eyes)
    assert len(from_kitti(kitti, 3).poses) == len(from_kitti(kitti, 3).eyes[0]) == 3


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("poses.txt", "1 2 3", "poses.txt: must have lines of 12 numbers"),
        ("poses.txt", " ".join("0" * 12), "4 left and 4 right images and 1 poses"),
        ("calib.txt", None, "calib.txt: must have"),
        ("calib.txt", "P0: a b", "calib.txt: must have"),
        ("calib.txt", "P0: " + " ".join("0" * 12), "one for each camera"),
    ],
)
def test_what_does_not_fit_is_told(kitti: Path, file: str, text: str | None, told: str) -> None:
    (kitti / file).unlink()
    if text is not None:
        (kitti / file).write_text(text)
    with pytest.raises(EvaluationError, match=told):
        from_kitti(kitti, 10)
