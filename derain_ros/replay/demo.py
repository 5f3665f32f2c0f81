"""The demonstration: a rainy drive is recorded, played through the node in real time, judged and reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Frame, FrameSet
from derain_ros.manifest import Manifest
from derain_ros.replay import report
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader
from derain_ros.replay.drive import Drive, record
from derain_ros.replay.player import play
from derain_ros.replay.quality import compare
from derain_ros.replay.records import ReplayError
from derain_ros.replay.topics import choose
from derain_ros.runtime.pipeline import Pipeline

DRIVE, TRUTH, CLEANED, REPORT = "drive", "truth", "cleaned", "report.html"

Step = Callable[[str], Callable[[int, int], None]]
"""Announces a step of the work; what it returns is told how much is done, of how much."""


@dataclass(frozen=True)
class Demonstration:
    """Where the results lie, what happened, and the tables that tell it."""

    drive: Path
    cleaned: Path
    page: Path
    account: Account
    tables: list[report.Table]


def demonstrate(directory: Path, drive: Drive, models: Path | None, step: Step) -> Demonstration:
    """Make all of it in `directory`; results of an earlier demonstration there are replaced.

    ReplayError where the directory holds anything else.
    """
    _clear(directory)
    bag, truth, cleaned, page = (directory / name for name in (DRIVE, TRUTH, CLEANED, REPORT))
    record(drive, bag, truth, step("Recording the drive"))
    with BagReader(bag) as reader:
        cameras = choose(reader.topics)
        config = Config(cameras=list(cameras.images), thermal=bool(cameras.thermal))
        measure_engines(config, drive, models, step("Measuring engines, once"))
        account = play(reader, cleaned, cameras, config, models, progress=step("Playing through the node"))
    told = step("Comparing with the truth")
    wet = {camera: drive.truth(camera) for camera in cameras.images}
    quality = compare(cleaned, truth, wet)
    told(1, 2)
    tables = [report.frames_table(account), report.actions_table(account),
              report.latency_table(account, "Latency, from camera to receiver"), report.decisions_table(account, wet),
              report.quality_table(quality)]
    report.write(page, f"derain: a rainy drive of {drive.seconds:g} s", tables, account, quality, wet)
    told(2, 2)
    return Demonstration(bag, cleaned, page, account, tables)


def measure_engines(config: Config, drive: Drive, models: Path | None, told: Callable[[int, int], None]) -> None:
    """Choose the engines for frames of the drive's size, which is remembered: a node that must do so at its start
    passes the first seconds on."""
    pipeline = Pipeline(replace(config, gating=False), Manifest.load(models))
    pipeline.load()
    told(1, 2)
    frame = Frame(np.zeros((drive.height, drive.width), np.uint8), "mono8")
    pipeline.process(FrameSet(dict.fromkeys(config.cameras, frame)))
    told(2, 2)


def _clear(directory: Path) -> None:
    """Remove an earlier demonstration, and nothing else."""
    if directory.exists() and not directory.is_dir():
        raise ReplayError(f"{directory} is a file; name a directory for the demonstration")
    ours = {DRIVE, TRUTH, CLEANED, REPORT}
    foreign = sorted(p.name for p in directory.iterdir() if p.name not in ours) if directory.exists() else []
    if foreign:
        raise ReplayError(f"{directory} holds other things ({', '.join(foreign[:3])}); name another --output")
    directory.mkdir(parents=True, exist_ok=True)
    for name in (DRIVE, TRUTH, CLEANED):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / REPORT).unlink(missing_ok=True)
