"""The demonstration: records a rainy drive, plays it through the node in real time, and evaluates the result."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Action, Frame, FrameSet
from derain_ros.manifest import PLANS, Manifest
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader
from derain_ros.replay.drive import Drive, record, thermal_place
from derain_ros.replay.origin import origin_of
from derain_ros.replay.player import LIVE, play
from derain_ros.replay.quality import compare
from derain_ros.replay.record import Record
from derain_ros.replay.records import ReplayError
from derain_ros.replay.shown import fused_pictures
from derain_ros.replay.topics import choose
from derain_ros.runtime.pipeline import Pipeline

DRIVE, TRUTH, CLEANED, RECORD, PAGE = "drive", "truth", "cleaned", "record.json", "report.html"
RATES = (20.0, 15.0, 10.0, 5.0, 2.0)
"""Rates in pairs per second at which a drive may be played, besides its own."""
SHARE = 0.5
"""Largest share of the period that restoring may take: camera and recorder run on this machine too."""
PERIODS = 2
"""Budget of a pair in periods, if that is more than the default budget."""
RUNS = 5
"""Pairs on which each plan is measured, after one warm-up."""
IMAGES = 10
"""Approximate number of images that are written for each pair: recorded, dry, published, masks, thermal."""
TOO_SLOW = "this machine is too slow or too busy: end other programs, and see what `derain doctor` says about engines"
REASONS = {
    "dropped": TOO_SLOW,
    Action.PASSED_BUDGET.value: TOO_SLOW,
    Action.PASSED_NO_PLAN.value: "no plan helps against what the detector classified them as",
    Action.PASSED_CLEAN.value: "the detector classified them as clean",
    Action.PASSED_DISABLED.value: "the models were not ready: see `derain doctor`",
    Action.PASSED_UNPAIRED.value: "images of the other camera got lost on the way",
    Action.PASSED_ERROR.value: "restoring failed: /derain/status in the cleaned bag says why",
}
"""Why a wet frame was not restored, by its action."""

Step = Callable[[str], Callable[[int, int], None]]
"""Announces a step of the work, and returns a function that takes its progress: done and total."""


@dataclass(frozen=True)
class Demonstration:
    """The bags, the record, and the reason of a failure, which is empty if there was none."""

    drive: Path
    cleaned: Path
    record: Record
    failure: str


def demonstrate(directory: Path, drive: Drive, models: Path | None, step: Step) -> Demonstration:
    """Run the demonstration in `directory`; results of an earlier one there are replaced.

    The drive is played at its own rate, or at the rate that this machine can restore. Raises ReplayError if the
    directory contains other files, or the disk has no room.
    """
    _clear(directory)
    bag, truth, cleaned = (directory / name for name in (DRIVE, TRUTH, CLEANED))
    rate, plan = measure(Config(), drive, models, step("Measuring engines (once)"))
    notes = [
        f"played at {rate:g} Hz, {plan} being the best plan: what this machine restores, measured for about a second"
    ]
    drive = replace(drive, rate=rate)
    check_room(directory, drive)
    record(drive, bag, truth, step("Recording the drive"))
    with BagReader(bag) as reader:
        cameras = choose(reader.topics)
        config = Config(
            cameras=list(cameras.images),
            thermal=bool(cameras.thermal),
            plan=plan,
            thermal_extrinsic=thermal_place(drive),
            budget_ms=max(Config().budget_ms, PERIODS * 1e3 / rate),
        )
        account = play(reader, cleaned, cameras, config, models, progress=step("Playing through the node"))
    account.notes += notes
    told = step("Comparing with the ground truth")
    wet = {camera: drive.truth(camera) for camera in cameras.images}
    quality, pictures = compare(cleaned, truth, wet)
    pictures += fused_pictures(cleaned, cameras)
    failure = failure_of(account, wet)
    account.notes += [failure] if failure else []
    title = f"derain: a rainy drive of {drive.seconds:g} s at {rate:g} Hz"
    made = Record(title, LIVE, account, pictures, wet, quality, origin=origin_of(bag, models, config))
    made.save(directory / RECORD)
    told(1, 1)
    return Demonstration(bag, cleaned, made, failure)


def measure(config: Config, drive: Drive, models: Path | None, told: Callable[[int, int], None]) -> tuple[float, str]:
    """Return the highest rate that the cheapest plan keeps up with, and the best plan that keeps up at that rate.

    The rate is the drive's or a lower one of RATES. The engines chosen here are stored for the node, which would
    otherwise pass on the frames of the first seconds while it chooses. Raises ReplayError if nothing can be restored.
    """
    config = replace(config, gating=False, plan=PLANS[-1])
    pipeline = Pipeline(config, Manifest.load(models))
    pipeline.load()
    frame = Frame(np.zeros((drive.height, drive.width), np.uint8), "mono8")
    frames = FrameSet(dict.fromkeys(config.cameras, frame))
    rate, best = 0.0, PLANS[-1]
    for done, plan in enumerate(reversed(PLANS)):
        told(done, len(PLANS))
        pipeline.apply(replace(config, plan=plan))
        results = [pipeline.process(frames) for _ in range(1 + RUNS)]
        if not results[-1].models:
            raise ReplayError(f"nothing can be restored: {results[-1].detail}; see `derain doctor`")
        ms = median(result.stage_ms["total"] for result in results[1:])
        rate = rate or rate_for(ms, drive.rate)
        if ms > SHARE * 1e3 / rate:
            break
        best = plan
    told(len(PLANS), len(PLANS))
    return rate, best


def rate_for(ms: float, highest: float) -> float:
    """Return the highest rate in pairs per second at which pairs that take `ms` milliseconds can be restored.

    If no rate is low enough, it returns the lowest of RATES, or `highest` if that is lower.
    """
    return next(
        (rate for rate in (highest, *RATES) if rate <= highest and ms <= SHARE * 1e3 / rate), min(highest, RATES[-1])
    )


def check_room(directory: Path, drive: Drive) -> None:
    """Raise ReplayError if the disk has no room for the bags of a drive."""
    needed, free = IMAGES * drive.frames * drive.width * drive.height, shutil.disk_usage(directory).free
    if needed > free:
        raise ReplayError(
            f"{directory}: the bags take about {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free; "
            "name another --output, or fewer --seconds"
        )


def failure_of(account: Account, wet: Mapping[str, Mapping[int, bool]]) -> str:
    """Say that less than half of the wet frames were restored, and why; empty otherwise."""
    actions = {(output.camera, output.stamp_ns): output.action for output in account.outputs}
    done = Counter(
        actions.get((camera, stamp), "dropped")
        for camera, truth in wet.items()
        for stamp, is_wet in truth.items()
        if is_wet
    )
    whole, restored = sum(done.values()), done.pop(Action.RESTORED.value, 0)
    if 2 * restored >= whole:
        return ""
    [(what, number)] = done.most_common(1)
    why = REASONS.get(what, "the node did not say why")
    return (
        f"less than half of the wet frames were restored, {restored} of {whole}; {number} were "
        f"{what.replace('_', ' ')}: {why}"
    )


def _clear(directory: Path) -> None:
    """Remove an earlier demonstration; ReplayError if the directory contains anything else."""
    if directory.exists() and not directory.is_dir():
        raise ReplayError(f"{directory} is a file; name a directory for the demonstration")
    ours = {DRIVE, TRUTH, CLEANED, RECORD, PAGE}
    foreign = sorted(p.name for p in directory.iterdir() if p.name not in ours) if directory.exists() else []
    if foreign:
        raise ReplayError(f"{directory} contains other files ({', '.join(foreign[:3])}); name another --output")
    directory.mkdir(parents=True, exist_ok=True)
    for name in (DRIVE, TRUTH, CLEANED):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in (RECORD, PAGE):
        (directory / name).unlink(missing_ok=True)
