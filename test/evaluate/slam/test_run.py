"""Frames on tapes, their pairs, and runs of ORB-SLAM3, the real one where it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from derain_ros.evaluate.odometry import drive
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.slam import vocabulary
from derain_ros.evaluate.slam.environment import VARIABLE
from derain_ros.evaluate.slam.run import Stereo, Tape, Tapes, settings, track
from derain_ros.evaluate.slam.study import recorded, stamps_of
from derain_ros.evaluate.slam.trajectory import compare

CAMERA = Stereo(307.0, (239.5, 179.5), 0.11)


def taped(folder: Path, left: list[int], right: list[int]) -> Tapes:
    tapes = Tapes.in_folder(folder)
    for tape, stamps in ((tapes.left, left), (tapes.right, right)):
        for stamp_ns in stamps:
            tape.add(np.full((6, 8), stamp_ns % 256, np.uint8), stamp_ns)
    return tapes


def test_a_tape_keeps_images_and_their_order(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "left.raw")
    with pytest.raises(EvaluationError, match="no images"):
        tape.images()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 5, 9), dtype=np.uint8)
    for n, picture in enumerate(pictures):
        tape.add(picture[:, ::-1][:, ::-1], n)
    assert np.array_equal(tape.images(), pictures)
    with pytest.raises(EvaluationError, match="all images of a camera must have one size"):
        tape.add(np.zeros((5, 8), np.uint8), 3)


def test_pairs_are_of_near_stamps_in_order(tmp_path: Path) -> None:
    tapes = taped(tmp_path / "a", [10, 20, 30, 40], [11, 29, 41, 50])
    assert tapes.pairs(2) == [(10, 0, 0), (30, 2, 1), (40, 3, 2)]
    assert tapes.pairs(0) == []
    # The nearest, not the first.
    assert taped(tmp_path / "b", [100], [92, 100]).pairs(10) == [(100, 0, 1)]
    assert taped(tmp_path / "c", [100, 108], [108]).pairs(10) == [(108, 1, 0)]
    assert taped(tmp_path / "d", [100, 133], [101, 110, 130, 134]).pairs(10) == [(100, 0, 0), (133, 1, 3)]
    assert taped(tmp_path / "e", [5], []).pairs(10) == []


def test_settings_say_what_the_camera_is(tmp_path: Path) -> None:
    text = settings(CAMERA, taped(tmp_path / "a", [1], [1]).left, 0.05)
    values = dict(line.split(": ") for line in text.splitlines()[1:])
    assert float(values["Camera.bf"]) == pytest.approx(307 * 0.11) and values["Camera.cx"] == "239.5"
    assert (values["Camera.width"], values["Camera.height"], values["Camera.fps"]) == ("8", "6", "20")


def test_a_program_that_fails_leaves_all_untracked_and_says_why(tmp_path: Path) -> None:
    tapes = taped(tmp_path / "a", [1, 2, 3], [1, 2, 3])
    found, trouble = track(Path(sys.executable), tmp_path / "voc.txt", CAMERA, tapes, [1, 2, 3])
    assert not found.known.any() and found.points.tolist() == [0, 0, 0]
    assert "exit code 1" in trouble and "pyorbslam3" in trouble
    with pytest.raises(EvaluationError, match="no stamps of the two cameras are within 0 ms"):
        track(Path(sys.executable), tmp_path / "voc.txt", CAMERA, taped(tmp_path / "b", [1], [9]), [1])


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"no ORB-SLAM3: name a Python with pyorbslam3 in {VARIABLE}")
def test_the_real_one_tracks_the_dry_drive_and_not_a_blank_one(tmp_path: Path) -> None:
    sequence, python = drive(8, width=480, height=360), Path(os.environ[VARIABLE])
    stamps_ns = stamps_of(sequence)
    camera = Stereo(sequence.focal, sequence.centre, sequence.baseline)
    vocabulary.write(sequence.eyes[0], tmp_path / "voc.txt")
    blank = [[np.full_like(image, 90) for image in images] for images in sequence.eyes]
    figures = []
    for name, eyes in (("dry", sequence.eyes), ("blank", blank)):
        tapes = recorded(tmp_path, name, eyes, stamps_ns)
        found, trouble = track(python, tmp_path / "voc.txt", camera, tapes, stamps_ns)
        assert not trouble
        figures.append(compare(found, sequence.poses[:, :3, 3]))
    dry, lost = figures
    assert dry.tracked == 1.0 and dry.right >= 0.5 and dry.points > 50
    assert (lost.tracked, lost.right) == (0.0, 0.0)
