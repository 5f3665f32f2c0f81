"""Splits a bag into segments of time, and restores a segment: the work of a worker."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2

from derain_ros import __version__
from derain_ros.config import Config
from derain_ros.fleet import FleetError
from derain_ros.fleet.bags import FoundBag, robot_of
from derain_ros.fleet.folders import KEY, check_ours, clear, is_whole, key_in
from derain_ros.manifest import Manifest
from derain_ros.replay import topics
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.offline import STATIC, OfflineRun, keep
from derain_ros.replay.origin import Origin, origin_of
from derain_ros.replay.record import Record
from derain_ros.replay.records import Message
from derain_ros.runtime.pipeline import Pipeline

SEGMENT_S = 60.0
"""Length of a segment: a lost worker costs little, and loading networks takes a small share of the time."""
WARM_UP_S = 10.0
"""Warm-up before a segment, to which the longest hold time of the alarms is added: it brings alarms to their state."""
TIMED = "Time of the pipeline: not stored, because the results of a fleet do not depend on it"


@dataclass(frozen=True)
class BagTask:
    """One bag to restore into the folder `output`.

    `settings` are those of a Config without its cameras. `cameras` has topics by camera name, and `thermal` is a topic;
    if empty, they are found in the bag. `models` is a directory; None stands for the shipped models.
    """

    found: FoundBag
    output: Path
    settings: Mapping[str, Any]
    models: Path | None = None
    cameras: Mapping[str, str] = field(default_factory=dict)
    thermal: str = ""
    segment_s: float = SEGMENT_S

    @property
    def work(self) -> Path:
        """The folder of the bag until it is complete."""
        return self.output.with_name(f"{self.output.name}.part")


@dataclass(frozen=True)
class Segment:
    """The messages from `start_ns` on and before `end_ns` (None: to the end of the bag); they span `seconds`."""

    start_ns: int
    end_ns: int | None
    seconds: float


@dataclass(frozen=True)
class BagPlan:
    """How a bag is restored; without `segments` if it was restored before.

    `lead` are messages that every segment reads first, because they hold for the whole recording. `damage` says what is
    wrong with the bag.
    """

    task: BagTask
    key: str
    robot: str
    cameras: topics.Cameras
    config: Config
    origin: Origin
    segments: tuple[Segment, ...] = ()
    lead: tuple[Message, ...] = ()
    damage: str = ""

    def file(self, number: int) -> str:
        """The name of a segment's recording, as rosbag2 names the files of a bag."""
        return f"{self.task.output.name}_{number}.mcap"

    def mark(self, number: int) -> Path:
        """The path of a segment's record, which exists once its recording is complete."""
        return self.task.work / f"{self.task.output.name}_{number}.json"


def plan(task: BagTask) -> BagPlan:
    """Read a bag from end to end and split it, unless it was restored before.

    Segments depend only on the recording, not on the workers. A damaged or compressed bag is one segment. ConfigError,
    FleetError or ReplayError if the bag cannot be restored.
    """
    bag, output = task.found.path, task.output
    with BagReader(bag) as reader:
        cameras = topics.choose(reader.topics, task.cameras, task.thermal)
        config = Config.from_mapping(
            {**task.settings, "cameras": list(cameras.images), "thermal": bool(cameras.thermal)}
        )
        origin = origin_of(bag, task.models, config)
        facts = {"segment_s": task.segment_s, "warm_up_s": WARM_UP_S, "derain_ros": __version__}
        origin = replace(origin, config={**origin.config, **facts})
        key = hashlib.sha256(json.dumps([asdict(origin), asdict(cameras)], default=str).encode()).hexdigest()
        robot = robot_of(task.found.name, [(t.name, t.msgtype) for t in reader.topics.values()])
        planned = BagPlan(task, key, robot, cameras, config, origin)
        if is_whole(output, key):
            return planned
        check_ours(output)
        check_ours(task.work)
        task.work.mkdir(parents=True, exist_ok=True)
        if key_in(task.work) != key:
            clear(task.work, output.name)
            (task.work / KEY).write_text(key, encoding="utf-8")
        counts, first_ns, last_ns, lead = Counter[int](), None, 0, dict[object, Message]()
        length_ns = round(task.segment_s * 1e9)
        for message in reader.messages():
            first_ns = message.stamp_ns if first_ns is None else first_ns
            last_ns = max(last_ns, message.stamp_ns)
            counts[(message.stamp_ns - first_ns) // length_ns] += 1
            if cameras.thermal and (message.topic == STATIC or message.topic in cameras.info.values()):
                # Every transform, and the first camera_info of each camera.
                lead.setdefault(message.data if message.topic == STATIC else message.topic, message)
        if first_ns is None:
            raise FleetError(f"{bag}: {reader.damage or 'it has no messages'}")
        if reader.damage or reader.packed:
            segments = [Segment(0, None, (last_ns - first_ns) / 1e9)]
        else:
            starts = [first_ns + number * length_ns for number in sorted(counts)]
            segments = [
                Segment(max(0, start), start + length_ns, (min(start + length_ns, last_ns) - start) / 1e9)
                for start in starts
            ]
    return replace(planned, segments=tuple(segments), lead=tuple(lead.values()), damage=reader.damage)


def restore(plan: BagPlan, number: int) -> float:
    """Restore one segment; returns its seconds of recording, or 0 if it was restored before.

    Its files have temporary names until they are complete, so that a worker may be killed at any time.
    """
    work = plan.task.work
    if plan.mark(number).exists() and (work / plan.file(number)).exists():
        return 0.0
    with TemporaryDirectory(prefix=f"{number}.", dir=work) as temporary:
        made = Path(temporary) / "bag"
        record = _restored(plan, plan.segments[number], made)
        record.save(made / "record.json")
        os.replace(made / f"{made.name}.mcap", work / plan.file(number))
        os.replace(made / "record.json", plan.mark(number))
    return plan.segments[number].seconds


def _restored(plan: BagPlan, segment: Segment, made: Path) -> Record:
    """Write a bag of the segment to `made`, and return its record."""
    config, cameras = plan.config, plan.cameras
    cv2.setNumThreads(1)
    pipeline = Pipeline(config, Manifest.load(plan.task.models))
    pipeline.load()
    hold_s = max(config.on_hold_s, config.off_hold_s, config.severe_hold_s)
    warm_ns = max(0, segment.start_ns - round((WARM_UP_S + hold_s) * 1e9))
    with BagReader(plan.task.found.path) as reader, BagWriter(made) as writer:
        run = OfflineRun(reader, writer, cameras, pipeline, timed=False)
        kept = keep(reader, writer, run.account)
        run.silent = True
        for message in plan.lead:
            if message.stamp_ns < warm_ns:
                run.take(message)
        # The warm-up is for the alarms, not for images; only the temporal filter and fusion need restored images.
        looks_only = replace(config, enabled=config.enabled and (config.temporal or config.thermal))
        for message in reader.messages(warm_ns, segment.end_ns):
            run.silent = message.stamp_ns < segment.start_ns
            pipeline.apply(looks_only if run.silent else config)
            if not run.silent and message.topic in kept:
                writer.write(message)
            run.take(message)
        # A frame that still waits for its counterpart belongs to the next segment, if that has it in its warm-up.
        run.silent = any(other.start_ns == segment.end_ns for other in plan.segments)
        run.end()
    pipeline.close(0.0)
    return Record(plan.task.found.name, TIMED, run.account, [])
