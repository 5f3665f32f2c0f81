"""A bag in segments comes out as it does in one piece."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fleet_bags import SETTINGS, START_NS, task_of, write_bag
from thermal_bag import write_thermal_bag
from tiny_models import write_models

from derain_ros.config import Config
from derain_ros.fleet import FleetError
from derain_ros.fleet.segments import plan, restore
from derain_ros.fleet.whole import BagDone, finish
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.replay import offline, topics
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.images import image_of
from derain_ros.replay.record import Record
from derain_ros.replay.records import Message
from derain_ros.runtime.pipeline import Pipeline


def restored(bag: Path, output: Path, models: Path, segment_s: float) -> BagDone:
    planned = plan(task_of(bag, output, models, segment_s))
    for number in range(len(planned.segments)):
        restore(planned, number)
    return finish(planned)


def messages(bag: Path) -> dict[str, list[Message]]:
    """The messages of each topic but those that tell times."""
    found = defaultdict(list)
    with BagReader(bag) as reader:
        for message in reader.messages():
            found[message.topic].append(message)
        assert not reader.damage
    found.pop("/derain/status")
    return found


def test_segments_are_what_an_uncut_replay_gives(tmp_path: Path, models: Path) -> None:
    # The alarm rises in the second segment and stands over the third; boundaries part the eyes of pairs.
    bag = write_bag(tmp_path / "drive", 35, wet=range(15, 30))
    done = restored(bag, tmp_path / "fleet", models, 1.0015)
    with BagReader(bag) as reader:
        cameras = topics.choose(reader.topics)
        pipeline = Pipeline(Config(engine="onnxruntime", threads=1), Manifest.load(models))
        pipeline.load()
        account = offline.replay(reader, tmp_path / "uncut", cameras, pipeline)
    whole, uncut = messages(tmp_path / "fleet" / "drive"), messages(tmp_path / "uncut")
    assert whole.keys() == uncut.keys() and all(whole[topic] == uncut[topic] for topic in uncut)
    record = Record.read(tmp_path / "fleet" / "drive" / "record.json")
    assert record.account.total() == account.total() and done.frames == 70
    seen, known = (
        [(o.camera, o.stamp_ns, o.action, o.alarm, o.severity) for o in each.outputs]
        for each in (record.account, account)
    )
    assert seen == known and {o.alarm for o in account.outputs} == {"clear", "affected"}
    assert len(list((tmp_path / "fleet" / "drive").glob("drive_*.mcap"))) == 4
    assert not list((tmp_path / "fleet").glob("*.part"))


def test_a_frame_that_waits_at_a_pause_is_not_lost(tmp_path: Path, models: Path) -> None:
    bag = tmp_path / "pause"
    with BagWriter(bag) as writer:
        for second in (0.0, 0.1, 60.0, 60.1):
            for camera in ("left", "right") if second != 0.1 else ("left",):
                frame = Frame(np.full((48, 64), 60, np.uint8), "mono8", START_NS + round(second * 1e9), camera)
                writer.put(f"/{camera}/image_raw", frame.stamp_ns, image_of(writer.types, frame))
    restored(bag, tmp_path / "fleet", models, 2.0)
    account = Record.read(tmp_path / "fleet" / "pause" / "record.json").account
    assert account.reasons() == {"passed_clean": 6, "passed_unpaired": 1} and account.total()["dropped"] == 0


def test_a_damaged_bag_is_one_segment_and_says_so(tmp_path: Path, models: Path) -> None:
    bag = write_bag(tmp_path / "cut")
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = restored(bag, tmp_path / "fleet", models, 1.0)
    assert "cut off" in done.fault and 30 < done.frames < 100
    assert [path.name for path in (tmp_path / "fleet" / "cut").glob("*.mcap")] == ["cut_0.mcap"]


def test_what_was_made_of_something_else_is_made_again(tmp_path: Path, models: Path) -> None:
    bag, output = write_bag(tmp_path / "drive", frames=5), tmp_path / "fleet"
    restored(bag, output, models, 2.0)
    task = task_of(bag, output, models)
    (output / "drive" / "notes.txt").touch()
    finish(plan(task))
    assert (output / "drive" / "notes.txt").exists(), "what somebody laid there is left alone"
    assert plan(task).segments == ()
    changed = replace(task, settings={**SETTINGS, "enabled": False})
    assert len(plan(changed).segments) == 1
    (output / "drive" / ".fleet").unlink()
    with pytest.raises(FleetError, match="is not a bag of a fleet"):
        plan(changed)


def test_what_was_told_once_holds_for_every_segment(tmp_path: Path) -> None:
    # Where the thermal camera is was said long before the segment with the images.
    bag = write_thermal_bag(tmp_path / "warm", start_ns=100 * 10**9)
    models = write_models(tmp_path / "models", with_fuser=True)
    restored(bag, tmp_path / "fleet", models, 10.0)
    record = Record.read(tmp_path / "fleet" / "warm" / "record.json")
    assert record.account.fusion["fused"] == 11 and sum(record.account.fusion.values()) == 12
    assert len(list((tmp_path / "fleet" / "warm").glob("*.mcap"))) == 3
    assert "fused" in record.pictures[-1].images


def test_a_folder_of_the_same_name_as_ours_is_refused_and_left_alone(tmp_path: Path, models: Path) -> None:
    bag, output = write_bag(tmp_path / "drive", frames=5), tmp_path / "fleet"
    precious = output / "drive.part" / "precious.txt"
    precious.parent.mkdir(parents=True)
    precious.touch()
    with pytest.raises(FleetError, match="drive.part exists already"):
        plan(task_of(bag, output, models))
    assert precious.exists()
    precious.unlink()
    planned = plan(task_of(bag, output, models))  # an empty folder is what is left where making one was cut off
    (planned.task.work / "0.abcdefgh" / "bag").mkdir(parents=True)
    precious.touch()
    changed = plan(replace(planned.task, settings={**SETTINGS, "enabled": False}))
    assert sorted(path.name for path in changed.task.work.iterdir()) == [".fleet", "precious.txt"]


@pytest.mark.parametrize("damage", ["gone", "cut", "no page"])
def test_a_bag_that_is_not_whole_any_more_is_restored_again(tmp_path: Path, models: Path, damage: str) -> None:
    bag, output = write_bag(tmp_path / "drive", frames=30), tmp_path / "fleet" / "drive"
    restored(bag, tmp_path / "fleet", models, 1.0)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    last = output / "drive_2.mcap"
    if damage == "gone":
        last.unlink()
    elif damage == "cut":
        last.write_bytes(before[last.name][:-100])
    else:
        (output / "report.html").unlink()
    (output / "notes.txt").write_bytes(b"mine")
    restored(bag, tmp_path / "fleet", models, 1.0)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before | {"notes.txt": b"mine"}


def test_the_seconds_of_segments_are_those_of_the_bag_and_none_where_they_were_there(
    tmp_path: Path, models: Path
) -> None:
    planned = plan(task_of(write_bag(tmp_path / "drive", frames=25), tmp_path / "fleet", models, 1.0))
    assert [segment.seconds for segment in planned.segments] == pytest.approx([1.0, 1.0, 0.403])
    assert restore(planned, 2) == pytest.approx(0.403)
    assert restore(planned, 2) == 0
