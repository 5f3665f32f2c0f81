"""Runs ORB-SLAM3 once in its own process: images on disk in, a trajectory out."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.slam.trajectory import Trajectory

STARTS_S, FRAME_S = 120.0, 5.0
"""Time limits of the program: for its start, and for each pair."""
SETTINGS = """%YAML:1.0
Camera.type: "PinHole"
Camera.fx: {focal}
Camera.fy: {focal}
Camera.cx: {column}
Camera.cy: {row}
Camera.k1: 0.0
Camera.k2: 0.0
Camera.p1: 0.0
Camera.p2: 0.0
Camera.bf: {bf}
Camera.width: {width}
Camera.height: {height}
Camera.fps: {rate}
Camera.RGB: 1
ThDepth: 40.0
ORBextractor.nFeatures: 2000
ORBextractor.scaleFactor: 1.2
ORBextractor.nLevels: 8
ORBextractor.iniThFAST: 12
ORBextractor.minThFAST: 7
Viewer.KeyFrameSize: 0.6
Viewer.KeyFrameLineWidth: 2.0
Viewer.GraphLineWidth: 1.0
Viewer.PointSize: 2.0
Viewer.CameraSize: 0.7
Viewer.CameraLineWidth: 3.0
Viewer.ViewpointX: 0.0
Viewer.ViewpointY: -100.0
Viewer.ViewpointZ: -0.1
Viewer.ViewpointF: 2000.0
"""
"""In the old format, because "Rectified" of the new one fails in the wheel. Rectified stereo; values as for KITTI."""


@dataclass(frozen=True)
class Stereo:
    """A rectified stereo camera: `focal` length and `centre` (column, row) in pixels, `baseline` in metres."""

    focal: float
    centre: tuple[float, float]
    baseline: float


class Tape:
    """The grey images of one eye in one file, with their stamps in nanoseconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps_ns: list[int] = []
        self.size: tuple[int, int] | None = None
        path.write_bytes(b"")

    def add(self, image: np.ndarray, stamp_ns: int) -> None:
        """Append an image (H, W) uint8; EvaluationError if its size differs from that of the first one."""
        if image.shape != (self.size or image.shape):
            raise EvaluationError(
                f"an image of {image.shape} follows images of {self.size}: all images of a camera must have one size"
            )
        self.size = (image.shape[0], image.shape[1])
        self.stamps_ns.append(stamp_ns)
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(image).tobytes())

    def images(self) -> np.ndarray:
        """Return all images as a memory map (N, H, W) uint8; EvaluationError if there are none."""
        if self.size is None:
            raise EvaluationError(f"{self.path.name}: there are no images of this camera")
        return np.memmap(self.path, np.uint8, "r", shape=(len(self.stamps_ns), *self.size))


@dataclass(frozen=True)
class Tapes:
    """The tapes of both eyes, in a folder of their own."""

    left: Tape
    right: Tape

    @classmethod
    def in_folder(cls, folder: Path) -> Tapes:
        """Two empty tapes in a new folder."""
        folder.mkdir(parents=True)
        return cls(Tape(folder / "left.raw"), Tape(folder / "right.raw"))

    def pairs(self, tolerance_ns: int) -> list[tuple[int, int, int]]:
        """Return stamp and index of the left image and index of the right one for each pair, in order of time.

        The images of a pair are at most `tolerance_ns` apart, and each is the nearest to the other.
        """
        found, j = [], 0
        left, right = self.left.stamps_ns, self.right.stamps_ns
        for i, stamp_ns in enumerate(left):
            while j + 1 < len(right) and abs(right[j + 1] - stamp_ns) < abs(right[j] - stamp_ns):
                j += 1
            if j == len(right):
                break
            apart_ns = abs(right[j] - stamp_ns)
            next_is_nearer = i + 1 < len(left) and abs(left[i + 1] - right[j]) < apart_ns
            if apart_ns <= tolerance_ns and not next_is_nearer:
                found.append((stamp_ns, i, j))
                j += 1
        return found


def track(
    python: Path, vocabulary: Path, camera: Stereo, tapes: Tapes, stamps_ns: Sequence[int], tolerance_ns: int = 0
) -> tuple[Trajectory, str]:
    """Run ORB-SLAM3 with the interpreter `python` on the pairs of `tapes`.

    Returns the trajectory at the increasing instants `stamps_ns`, unknown where a pair is missing or was not tracked.
    Also returns what the program said last if it failed, else an empty text. Raises EvaluationError without a pair.
    """
    pairs = tapes.pairs(tolerance_ns)
    if not pairs:
        raise EvaluationError(
            f"there is no stereo pair: no stamps of the two cameras are within {tolerance_ns / 1e6:g} ms of each other"
        )
    period_s = float(np.median(np.diff(stamps_ns))) / 1e9 if len(stamps_ns) > 1 else 0.1
    with tempfile.TemporaryDirectory(prefix="derain") as name:
        place = Path(name)
        (place / "settings.yaml").write_text(settings(camera, tapes.left, period_s), encoding="ascii")
        job = {
            "vocabulary": str(vocabulary.resolve()),
            "settings": str(place / "settings.yaml"),
            "eyes": [
                {"file": str(tape.path.resolve()), "shape": tape.images().shape} for tape in (tapes.left, tapes.right)
            ],
            "pairs": [((stamp_ns - stamps_ns[0]) / 1e9, i, j) for stamp_ns, i, j in pairs],
            "period_s": period_s,
            "output": str(place / "found.jsonl"),
        }
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        trouble = _run([str(python), "-I", _program(), str(place / "job.json")], STARTS_S + FRAME_S * len(pairs), place)
        told = (place / "found.jsonl").read_text(encoding="utf-8") if (place / "found.jsonl").exists() else ""
    lines = [json.loads(line) for line in told.splitlines() if line.endswith("}")]
    poses, points = np.full((len(stamps_ns), 4, 4), np.nan), np.zeros(len(stamps_ns))
    index = {stamp_ns: k for k, stamp_ns in enumerate(stamps_ns)}
    for (stamp_ns, _, _), line in zip(pairs, lines, strict=False):
        if line["pose"] is not None and stamp_ns in index:
            poses[index[stamp_ns]], points[index[stamp_ns]] = line["pose"], line["points"]
    return Trajectory(np.array(stamps_ns) / 1e9, poses, points), trouble


def settings(camera: Stereo, tape: Tape, period_s: float) -> str:
    """Return the text of ORB-SLAM3's settings file for images like those of `tape`."""
    height, width = tape.images().shape[1:]
    return SETTINGS.format(
        focal=camera.focal,
        column=camera.centre[0],
        row=camera.centre[1],
        bf=camera.focal * camera.baseline,
        width=width,
        height=height,
        rate=max(1, round(1 / period_s)),
    )


def _program() -> str:
    """Return the path of the program that is run."""
    return str(Path(__file__).with_name("program.py"))


def _run(command: Sequence[str], limit_s: float, place: Path) -> str:
    """Run a program; return what it said last if it failed or took longer than `limit_s`, else an empty text."""
    log = place / "log.txt"
    with log.open("wb") as file:
        try:
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=limit_s, cwd=place)
        except subprocess.TimeoutExpired:
            return f"it did not end within {limit_s:.0f} s"
    if done.returncode == 0:
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"exit code {done.returncode}, last output: {lines[-1] if lines else 'none'}"
