"""A bag through the pipeline without ROS."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from tiny_models import BRIGHTER_BY, write_models
from waiting import PATIENCE_S

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.replay import offline
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.images import image_of
from derain_ros.replay.topics import choose
from derain_ros.runtime.input.messages import frame_of
from derain_ros.runtime.loading import loader
from derain_ros.runtime.pipeline import Pipeline

TYPES = get_typestore(Stores.ROS2_JAZZY)
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
        return offline.replay(reader, output, cameras, pipeline)


def by_topic(bag: Path) -> dict[str, list[tuple[int, object]]]:
    found: dict[str, list[tuple[int, object]]] = {}
    with BagReader(bag) as reader:
        for message in reader.messages():
            found.setdefault(message.topic, []).append((message.stamp_ns, reader.decode(message)))
        assert not reader.damage
    return found


@pytest.mark.parametrize(("storage", "compressed"), [("mcap", False), ("sqlite3", False), ("mcap", True)])
def test_wet_frames_are_restored_clean_ones_untouched(
    write_bag: Write, tmp_path: Path, manifest: Manifest, storage: str, compressed: bool
) -> None:
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
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    account = run(bag, tmp_path / "out", manifest)
    assert 20 < account.total("left")["out"] < 40
    assert "cut off" in account.damage and "messages were read" in account.damage
    assert len(by_topic(tmp_path / "out")["/derained/left/image_raw"]) == account.total("left")["out"]


Change = Callable[[Any], Any]


def changed(bag: Path, path: Path, change: Change) -> Path:
    """Write a copy of a bag whose first image of the left camera is what `change` makes of it."""
    with BagReader(bag) as reader, BagWriter(path) as writer:
        left = [message for message in reader.messages() if message.topic.startswith("/left/image_raw")]
        for message in reader.messages():
            value = reader.decode(message)
            writer.put(message.topic, message.stamp_ns, change(value) if message == left[0] else value)
    return path


def deep(image: Any, order: str) -> Any:
    """The same picture in 16 bits of this byte order, its rows padded."""
    data = np.zeros((48, 70), order)
    data[:, :64] = image.data.reshape(48, 64).astype(order) << 4
    data[:4, :4] = 4095  # the white that the others are seen against
    return replace(
        image, encoding="mono16", is_bigendian=int(order[0] == ">"), step=140, data=data.view(np.uint8).ravel()
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda image: replace(image, encoding="h264"), "'h264'"),
        (lambda image: replace(image, step=0), "step 0"),
        (lambda image: deep(image, ">u2"), "little-endian"),
    ],
)
def test_what_cannot_be_processed_is_passed_on_as_it_is(
    write_bag: Write, tmp_path: Path, manifest: Manifest, change: Change, says: str
) -> None:
    bag = changed(write_bag(wet=range(10)), tmp_path / "odd", change)
    account = run(bag, tmp_path / "out", manifest)
    assert account.total() == {"in": 20, "out": 20, "dropped": 0, "restored": 18, "passed on": 2, "broken": 0}
    # As in the node, the other eye's image has lost its counterpart.
    assert account.reasons() == {"restored": 18, "passed_error": 1, "passed_unpaired": 1}
    assert len(account.notes) == 1 and says in account.notes[0] and "/left/image_raw" in account.notes[0]
    sent, out = by_topic(bag)["/left/image_raw"][0], by_topic(tmp_path / "out")
    assert TYPES.serialize_cdr(out["/derained/left/image_raw"][0][1], "sensor_msgs/msg/Image") == (
        TYPES.serialize_cdr(sent[1], "sensor_msgs/msg/Image")
    )
    status = out["/derain/status"][0][1].status[0]
    assert (status.name, status.level, status.message) == ("left", 1, "passed_error")
    assert says in {value.key: value.value for value in status.values}["detail"]


def test_a_clean_image_goes_out_in_the_message_it_came_in(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    bag = changed(write_bag(), tmp_path / "deep", lambda image: deep(image, "<u2"))
    assert run(bag, tmp_path / "out", manifest).reasons() == {"passed_clean": 20}
    out = by_topic(tmp_path / "out")["/derained/left/image_raw"][0][1]
    assert (out.step, out.encoding, out.data.size) == (140, "mono16", 140 * 48)


def test_an_image_that_is_not_whole_is_counted_and_said(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    bag = changed(write_bag(), tmp_path / "short", lambda image: replace(image, data=image.data[:99]))
    account = run(bag, tmp_path / "out", manifest)
    assert account.broken == {"left": 1} and account.total()["out"] == 19
    assert len(account.notes) == 1 and "99 bytes" in account.notes[0]


def test_a_compressed_image_that_was_rgb_comes_out_as_rgb(write_bag: Write, tmp_path: Path, manifest: Manifest) -> None:
    colour = np.full((48, 64, 3), (200, 0, 0), np.uint8)

    def change(image: Any) -> Any:
        return replace(
            image, format="rgb8; png compressed bgr8", data=cv2.imencode(".png", colour[..., ::-1])[1].ravel()
        )

    run(changed(write_bag(compressed=True), tmp_path / "rgb", change), tmp_path / "out", manifest)
    out = by_topic(tmp_path / "out")["/derained/left/image_raw"][0][1]
    assert out.encoding == "rgb8" and np.array_equal(out.data.reshape(48, 64, 3), colour)


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


def test_networks_that_are_loaded_are_told_of(
    write_bag: Write, tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    heard = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        heard.set()

    load = loader.load

    def slow(*given: Any) -> Any:
        # The first pair waits for this, which waits until it has been told.
        assert heard.wait(PATIENCE_S)
        return load(*given)

    monkeypatch.setattr(loader, "load", slow)
    with BagReader(write_bag(wet=range(4, 7))) as reader:
        cameras = choose(reader.topics)
        pipeline = Pipeline(Config(cameras=list(cameras.images)), manifest)
        pipeline.load()
        account = offline.replay(reader, tmp_path / "out", cameras, pipeline, tell=tell)
    assert told and told[0].startswith("loading") and account.total()["restored"] == 6
