"""Joins the segments of a bag into a complete bag, with its record and its page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mcap.reader import make_reader

from derain_ros.engine.machine import this_machine
from derain_ros.fleet import folders
from derain_ros.fleet.bags import METADATA
from derain_ros.fleet.folders import PAGE, RECORD
from derain_ros.fleet.lens import Seen, seen_of
from derain_ros.fleet.segments import TIMED, BagPlan
from derain_ros.frame import Action
from derain_ros.replay import mcap_file
from derain_ros.replay.account import Account
from derain_ros.replay.metadata import Written, metadata_of
from derain_ros.replay.record import Record
from derain_ros.replay.records import Topic
from derain_ros.replay.shown import fused_pictures, restored_pictures
from derain_ros.report import page


@dataclass(frozen=True)
class BagDone:
    """The result of a bag; `name` is its path below the output.

    `fault` says what is wrong with the bag, empty if nothing is. The fields after it are empty if nothing was restored.
    """

    name: str
    robot: str
    fault: str = ""
    frames: int = 0
    restored: int = 0
    recorded_s: float = 0.0
    lenses: list[Seen] = field(default_factory=list)

    @property
    def page(self) -> str:
        """The path of the bag's page below the output; empty if there is none."""
        return f"{self.name}/{PAGE}" if self.lenses else ""


def finish(plan: BagPlan) -> BagDone:
    """Make the complete bag, unless that was done before; the bag gets its name when nothing is missing."""
    output, work = plan.task.output, plan.task.work
    if not folders.is_whole(output, plan.key):
        record = _record(plan)
        record.save(work / RECORD)
        page.write(work / PAGE, record)
        folders.check_ours(output)
        folders.replace(work, output)
    folders.tidy(output, output.name)
    return _done(plan, Record.read(output / RECORD).account)


def _record(plan: BagPlan) -> Record:
    """Write metadata.yaml of the segments' recordings, and return the record of the whole bag."""
    numbers = range(len(plan.segments))
    files = [plan.task.work / plan.file(number) for number in numbers]
    accounts = [Record.read(plan.mark(number)).account for number in numbers]
    account = replace(_sum(accounts), damage=plan.damage)
    topics = _merged(topic for file in files for topic in mcap_file.topics(file))
    metadata = metadata_of(topics, list(map(_written, files)))
    (plan.task.work / METADATA).write_text(metadata, encoding="utf-8")
    # Pictures are from one segment: to look for them in all would take as long as reading the bag again.
    shown = max(numbers, key=lambda n: (accounts[n].total()["restored"], accounts[n].fusion["fused"]))
    inputs = {name: topic.name for name, topic in plan.cameras.images.items()}
    pictures = restored_pictures(files[shown], inputs, accounts[shown])
    pictures += fused_pictures(files[shown], plan.cameras) if account.fusion["fused"] else []
    machine = {name: value for name, value in this_machine(plan.config.threads).items() if name != "load_average"}
    title = f"derain: {plan.task.found.name}"
    return Record(title, TIMED, account, pictures, machine=machine, origin=plan.origin)


def _sum(accounts: Sequence[Account]) -> Account:
    """The accounts of all segments as one."""
    whole = Account()
    for account in accounts:
        whole.frames_in.update(account.frames_in)
        whole.outputs += account.outputs
        whole.broken.update(account.broken)
        whole.plans.update(account.plans)
        whole.fusion.update(account.fusion)
    whole.notes = list(dict.fromkeys(note for account in accounts for note in account.notes))
    whole.engines = max((account.engines for account in accounts), key=len)
    return whole


def _merged(topics: Iterable[Topic]) -> list[Topic]:
    """Each topic once, with its number of messages in all files."""
    found: dict[str, Topic] = {}
    for topic in topics:
        known = found.setdefault(topic.name, replace(topic, count=0))
        found[topic.name] = replace(known, count=known.count + topic.count)
    return list(found.values())


def _written(file: Path) -> Written:
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None and summary.statistics is not None  # BagWriter wrote it
    told = summary.statistics
    return Written(file.name, told.message_count, told.message_start_time, told.message_end_time)


def _done(plan: BagPlan, account: Account) -> BagDone:
    lenses = [seen_of(account.outputs, camera, topic.name) for camera, topic in plan.cameras.images.items()]
    stamps = [o.stamp_ns for o in account.outputs]
    return BagDone(
        plan.task.found.name,
        plan.robot,
        account.damage,
        len(account.outputs),
        sum(o.action == Action.RESTORED.value for o in account.outputs),
        (max(stamps) - min(stamps)) / 1e9 if stamps else 0.0,
        lenses,
    )
