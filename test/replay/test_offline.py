"""A bag through the pipeline without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_models import BRIGHTER_BY, write_models

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.images import frame_of, image_of
from derain_ros.replay.offline import replay
from derain_ros.replay.topics import choose
from derain_ros.runtime.pipeline import Pipeline

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Manifest.load(write_models(tmp_path_factory.mktemp("models")))


def run(bag: Path, output: Path, manifest: Manifest, **settings: object) -> Account:
    with BagReader(bag) as reader:
        cameras = choose(reader.topics)
        config = Config(cameras=list(cameras.images), budget_ms=10000.0, on_hold_s=0.0, off_hold_s=0.0, **settings)
        pipeline = Pipeline(config, manifest)
        pipeline.load()
        return replay(reader, output, cameras, pipeline)


def by_topic(bag: Path) -> dict[str, list[tuple[int, object]]]:
    found: dict[str, list[tuple[int, object]]] = {}
    with BagReader(bag) as reader:
        for message in reader.messages():
            found.setdefault(message.topic, []).append((message.stamp_ns, reader.decode(message)))
        assert not reader.damage
    return found


@pytest.mark.parametrize(("storage", "compressed"), [("mcap", False), ("sqlite3", False), ("mcap", True)])
def test_wet_frames_are_restored_clean_ones_untouched(write_bag: Write, tmp_path: Path, manifest: Manifest,
                                                      storage: str, compressed: bool) -> None:
    bag = write_bag(storage=storage, compressed=compressed, wet=range(4, 7))
    account = run(bag, tmp_path / "out", manifest)
    assert account.total() == {"in": 20, "out": 20, "dropped": 0, "restored": 6, "passed on": 14, "broken": 0}
    before, after = by_topic(bag), by_topic(tmp_path / "out")
    for topic, messages in before.items():
        assert [s for s, _ in after[topic]] == [s for s, _ in messages], f"{topic} is not kept"
    for camera in ("left", "right"):
        source = before[f"/{camera}/image_raw" + ("/compressed" if compressed else "")]
        for k, ((_, seen), (_, out)) in enumerate(zip(source, after[f"/derained/{camera}/image_raw"], strict=True)):
            old, new = frame_of(seen), frame_of(out)
            np.testing.assert_array_equal(new.image, old.image + (BRIGHTER_BY if k in range(4, 7) else 0))
            assert (new.stamp_ns, new.frame_id, new.encoding) == (old.stamp_ns, old.frame_id, old.encoding)
        masks = [frame_of(m).image.any() for _, m in after[f"/derained/{camera}/anomaly_mask"]]
        assert masks == [k in range(4, 7) for k in range(10)]
        assert len(after[f"/derained/{camera}/camera_info"]) == 10
    statuses = [status for _, array in after["/derain/status"] for status in array.status]
    actions = [value.value for status in statuses for value in status.values if value.key == "action"]
    assert Counter(actions) == {"restored": 6, "passed_clean": 14}
    assert [m.data for _, m in after["/derain/anomaly"]] == [k in range(4, 7) for k in range(10)]


def test_all_frames(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    account = run(write_bag(), tmp_path / "out", manifest, gating=False)
    assert account.reasons() == {"restored": 20}
    assert [o.flagged for o in account.outputs] == [False] * 20


def test_one_camera_alone(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    account = run(write_bag(cameras=("/front/image_raw",)), tmp_path / "out", manifest)
    assert account.total("left")["out"] == 10


def test_a_cut_bag_is_processed_up_to_its_end(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    bag = write_bag(frames=60)
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    account = run(bag, tmp_path / "out", manifest)
    assert 20 < account.total("left")["out"] < 40
    assert "cut off" in account.damage and "messages were read" in account.damage
    assert len(by_topic(tmp_path / "out")["/derained/left/image_raw"]) == account.total("left")["out"]


def test_an_unknown_encoding_is_counted_and_said(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    odd = tmp_path / "odd"
    with Reader(write_bag()) as reader, Writer(odd, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=types) for c in reader.connections}
        for k, (connection, stamp, data) in enumerate(reader.messages()):
            writer.write(made[connection.id], stamp, data.replace(b"mono8", b"wrong") if k < 5 else data)
    account = run(odd, tmp_path / "out", manifest)
    assert account.broken == {"left": 1, "right": 1}
    assert account.total()["out"] == 18
    assert len(account.notes) == 2 and "wrong" in account.notes[0]


def test_frames_without_a_partner_are_passed_on(tmp_path: Path, manifest: Manifest) -> None:
    bag = tmp_path / "gaps"
    wet = np.full((48, 64), 150, np.uint8)
    with BagWriter(bag) as writer:
        for k in range(8):
            for camera in ("left", "right"):
                if (camera, k) not in (("right", 3), ("left", 7)):
                    frame = Frame(wet, "mono8", (k + 1) * 10**8, camera)
                    writer.put(f"/{camera}/image_raw", frame.stamp_ns, image_of(writer.types, frame))
    account = run(bag, tmp_path / "out", manifest)
    assert account.total() == {"in": 14, "out": 14, "dropped": 0, "restored": 12, "passed on": 2, "broken": 0}
    unpaired = [(o.camera, o.stamp_ns) for o in account.outputs if o.action == "passed_unpaired"]
    assert unpaired == [("left", 4 * 10**8), ("right", 8 * 10**8)]
    out = [frame_of(m) for _, m in by_topic(tmp_path / "out")["/derained/left/image_raw"]]
    assert [frame.stamp_ns for frame in out if np.array_equal(frame.image, wet)] == [4 * 10**8]


def test_a_cleaned_bag_can_be_replayed_again(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    run(write_bag(), tmp_path / "once", manifest)
    account = run(tmp_path / "once", tmp_path / "twice", manifest)
    assert account.total()["out"] == 20
    assert "replaced" in account.notes[0]
    once, twice = by_topic(tmp_path / "once"), by_topic(tmp_path / "twice")
    assert {t: len(m) for t, m in once.items()} == {t: len(m) for t, m in twice.items()}
