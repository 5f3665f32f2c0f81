"""Studies of ORB-SLAM3 on a folder, on the project's own drive and on a bag."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import evo  # noqa: F401  imported early, so that it is reported as missing before the work
import numpy as np

from derain_ros.config import Config
from derain_ros.evaluate.odometry import drive, from_kitti
from derain_ros.evaluate.pairs import pipelines
from derain_ros.evaluate.saved import made_of
from derain_ros.evaluate.slam import bag, vocabulary
from derain_ros.evaluate.slam.run import Stereo
from derain_ros.evaluate.slam.study import DRY, MASKED, WET, SlamJudge, Study, of_sequence, stamps_of
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader
from derain_ros.replay.topics import NONE, Cameras, choose

LOOKED_AT = 40
"""Largest number of images that a vocabulary is made of."""
TOLERANCE_NS = round(Config.pair_tolerance_ms * 1e6)


@dataclass(frozen=True)
class Way:
    """How ORB-SLAM3 is run.

    `python` is its interpreter. `vocabulary` is a file, or None to make one. `repeats` is the number of runs per view,
    and `masked` adds masked views. Trajectories are written below `output`, temporary files below `place`. `told` is
    called with progress messages.
    """

    python: Path
    vocabulary: Path | None
    repeats: int
    masked: bool
    output: Path | None
    place: Path
    told: Callable[[str], None]

    def words(self, images: Sequence[np.ndarray]) -> Path:
        """Return the vocabulary; it is made of `images` (H, W) uint8 if none was given."""
        if self.vocabulary is not None:
            return self.vocabulary
        made = self.place / "vocabulary.txt"
        vocabulary.write(images[:: -(-len(images) // LOOKED_AT)], made)
        return made


def of_folder(
    folder: Path | None,
    frames: int,
    seed: int,
    cases: Sequence[tuple[str, float]],
    plans: Sequence[str],
    models: Path | None,
    all_frames: bool,
    way: Way,
) -> Study:
    """Study the first `frames` of a folder in KITTI's layout, or of the project's own drive if `folder` is None.

    The views have the anomalies and amounts of `cases`, and are restored by `plans`.
    """
    sequence = drive(frames, seed=seed) if folder is None else from_kitti(folder, frames)
    judge = SlamJudge(
        Study(sequence.name, len(sequence.poses), way.repeats, origin=made_of(models)),
        way.python,
        way.words(sequence.eyes[0]),
        Stereo(sequence.focal, sequence.centre, sequence.baseline),
        stamps_of(sequence),
        sequence.poses[:, :3, 3],
        way.output,
    )
    made = pipelines(plans, models, all_frames)
    return of_sequence(judge, sequence, cases, made, way.masked, seed, way.told)


def of_bag(
    path: Path,
    named: Mapping[str, str],
    dry: Path | None,
    truth: str,
    restorers: Mapping[str, Callable[[BagReader, Path, Cameras], Account]],
    models: Path | None,
    way: Way,
) -> Study:
    """Study a bag as it is, and the bags that each of `restorers`, by name, writes from it.

    `named` are the cameras' topics; without them they are found by type. `dry` is a bag with the same stamps and dry
    lenses. Its trajectory is the ground truth if the bag has none on the topic `truth`; see `bag.truth`.
    """
    with BagReader(path) as reader:
        cameras = choose(reader.topics, named, NONE)
        camera, maps = bag.lenses(reader, cameras)
        topics = {name: topic.name for name, topic in cameras.images.items()}
        wet = bag.views(path, way.place / WET, topics, maps)
        stamps_ns = sorted({stamp_ns for stamp_ns, _, _ in wet.pairs(TOLERANCE_NS)})
        where, places = bag.truth(reader, truth, stamps_ns)
        study = Study(path.name, len(stamps_ns), way.repeats, origin=made_of(models, path))
        words = way.words(list(wet.left.images()))
        judge = SlamJudge(study, way.python, words, camera, stamps_ns, places, way.output, TOLERANCE_NS)
        study.notes.extend([f"truth: {where}"] if where else [])
        if dry is not None:
            way.told(DRY)
            with BagReader(dry) as dry_reader:
                dry_topics = {name: topic.name for name, topic in choose(dry_reader.topics, named, NONE).images.items()}
            found = judge.row("", 0.0, 0.0, DRY, bag.views(dry, way.place / DRY, dry_topics, maps))
            if places is None:
                judge.take_truth(found)
                study.notes.append("truth: the trajectory of the first run on the dry bag")
        way.told(WET)
        judge.row("", 0.0, 0.0, WET, wet)
        for name, restore in restorers.items():
            way.told(name)
            output = way.place / f"{name} bag"
            account = restore(reader, output, cameras)
            plans = ", ".join(f"{by} ({models}): {count}" for (by, models), count in account.plans.items())
            images, masks = (
                {camera: f"/derained/{camera}/{what}" for camera in topics} for what in ("image_raw", "anomaly_mask")
            )
            judge.row("", 0.0, 0.0, name, bag.views(output, way.place / name, images, maps), plans)
            if way.masked:
                views = bag.views(output, way.place / (name + MASKED), images, maps, masks)
                judge.row("", 0.0, 0.0, name + MASKED, views, plans)
    return study
