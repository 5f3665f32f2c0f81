"""A bag through the real node in another process, over real DDS."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from live import derain, environment
from odd_bags import TYPES
from tiny_models import BRIGHTER_BY, write_models
from waiting import PATIENCE_S, is_running, wait_for

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.replay import child
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.child import NodeProcess
from derain_ros.replay.images import header_of, image_of
from derain_ros.replay.player import _inputs, play
from derain_ros.replay.records import Message, ReplayError, Topic
from derain_ros.replay.session import AHEAD, Session, ahead
from derain_ros.replay.topics import COMPRESSED, IMAGE, choose
from derain_ros.runtime.input.messages import frame_of

Write = Callable[..., Path]


@pytest.mark.parametrize("compressed", [False, True])
def test_frames_go_through_the_node_and_are_recorded(write_bag: Write, tmp_path: Path, compressed: bool) -> None:
    bag, output = write_bag(frames=40, wet=range(20, 40), compressed=compressed), tmp_path / "live out"
    models = write_models(tmp_path / "models")
    code, out, err = derain("replay", bag, "--output", output, "--live", "--models", models, "--rate", "0.5")
    assert code == 0, err
    images: dict[tuple[str, int], np.ndarray] = {}
    actions: dict[tuple[str, int], str] = {}
    with BagReader(output) as reader:
        counts = {t.name: t.count for t in reader.topics.values()}
        for message in reader.messages():
            if "image_raw" in message.topic:
                frame = frame_of(reader.decode(message))
                images[message.topic.removesuffix("/compressed"), frame.stamp_ns] = frame.image
            elif message.topic == "/derain/status":
                array = reader.decode(message)
                stamp = array.header.stamp.sec * 10**9 + array.header.stamp.nanosec
                actions |= {
                    (status.name, stamp): value.value
                    for status in array.status
                    for value in status.values
                    if value.key == "action"
                }
        assert not reader.damage
    suffix = "/compressed" if compressed else ""
    assert counts["/left/image_raw" + suffix] == counts["/notes"] == counts["/right/camera_info"] == 40
    came = [
        (camera, stamp)
        for topic, stamp in images
        for camera in ("left", "right")
        if topic == f"/derained/{camera}/image_raw"
    ]
    # How many come, and how many of the wet ones are restored in time, depends on the machine.
    assert len(came) > 20, out
    for camera, stamp in actions.keys() & set(came):
        seen, made = (images[f"{prefix}/{camera}/image_raw", stamp] for prefix in ("", "/derained"))
        restored = actions[camera, stamp] == "restored"
        np.testing.assert_array_equal(made, seen + np.uint8(BRIGHTER_BY if restored else 0))
        assert seen.mean() > 100 or not restored
    assert "restored" in actions.values(), out
    assert counts["/derained/left/anomaly_mask"] > 10 and counts["/derain/status"] > 10
    assert "restored" in out and str(output) in out


def test_without_discovery_it_says_so(write_bag: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    with BagReader(write_bag()) as reader, pytest.raises(ReplayError, match="unset it"):
        play(reader, tmp_path / "out", choose(reader.topics), Config())


@pytest.mark.parametrize("broken", ["models.yaml", "detect.onnx"])
def test_models_that_cannot_be_loaded_end_it(write_bag: Write, tmp_path: Path, broken: str) -> None:
    models, output = write_models(tmp_path / "models"), tmp_path / "out"
    (models / broken).write_text("broken")
    code, _, err = derain("replay", write_bag(), "--output", output, "--live", "--models", models)
    assert code == 1 and "the node's engine failed: " in err and str(models / broken) in err, err
    assert "Traceback" not in err and not output.exists()


class FakeLink:
    """Counts what is sent to it; its node reports whenever it is asked."""

    models = ""

    def __init__(self, **counts: int) -> None:
        self.sent: Counter[str] = Counter()
        self.counts = {"left": {name: str(number) for name, number in counts.items()}} if counts else {}
        self._reports = 0

    @property
    def reports(self) -> int:
        self._reports += 1
        return self._reports

    def send(self, topic: str, data: bytes) -> None:
        self.sent[topic] += 1


def test_a_machine_that_is_too_slow_is_told(write_bag: Write, tmp_path: Path) -> None:
    bag, models = write_bag(frames=30, wet=range(30)), write_models(tmp_path / "models")
    # Every frame is late: its stamp is of long ago.
    (tmp_path / "robot.yaml").write_text("derain: {ros__parameters: {budget_from: stamp}}")
    code, out, err = derain(
        "replay", bag, "--output", tmp_path / "out", "--live", "--models", models, "--config", tmp_path / "robot.yaml"
    )
    assert code == 0 and "too slow or too busy" in out and "derain doctor" in out, out + err


def test_messages_without_a_whole_header_are_counted_and_not_sent(write_bag: Write) -> None:
    lengths = {"/left/image_raw": [0, 1, 3, 11, 15, None], "/right/camera_info": [9, None, None, None, None, None]}
    with BagReader(write_bag(frames=6)) as reader:
        cameras = choose(reader.topics)
        link = FakeLink()
        session = Session(reader, cameras, link, None, 1.0)
        for message in reader.messages():
            if message.topic in lengths:
                session._send(replace(message, data=message.data[: lengths[message.topic].pop(0)]))
    account = Account(frames_in=Counter(dict.fromkeys(cameras.images, 0)))
    session.fill(account)
    assert account.broken == {"left": 5, "/right/camera_info": 1}
    assert link.sent == {"/left/image_raw": 1, "/right/camera_info": 5}
    assert account.frames_in["left"] == 6 and account.total()["dropped"] == 1
    assert account.causes == {"not known, the node did not tell": 1}
    assert account.notes[0] == "/left/image_raw: 5 messages were not played, because they end within their header"


def same_stamps(session: Session, messages: list[Message], came: list[tuple[str, str]]) -> Account:
    """The books after these inputs of one stamp, and these outputs, each with the action that the node tells."""
    for message in messages:
        session._send(message)
    for camera, action in came:
        session._on_output(f"/derained/{camera}/image_raw", messages[0].data)
        header = header_of(TYPES, 7, "")
        status = TYPES.types["diagnostic_msgs/msg/DiagnosticStatus"](
            level=0,
            name=camera,
            message="",
            hardware_id="",
            values=[TYPES.types["diagnostic_msgs/msg/KeyValue"](key="action", value=action)],
        )
        array = TYPES.types["diagnostic_msgs/msg/DiagnosticArray"](header=header, status=[status])
        session._on_output("/derain/status", bytes(TYPES.serialize_cdr(array, array.__msgtype__)))
    account = Account(frames_in=Counter({"left": 0}))
    session.fill(account)
    return account


@pytest.mark.parametrize("lost", [0, 1])
def test_frames_that_share_a_stamp_are_counted_each(write_bag: Write, tmp_path: Path, lost: int) -> None:
    image = image_of(TYPES, Frame(np.zeros((4, 4), np.uint8), "mono8", 7, "eye"))
    messages = [Message("/left/image_raw", k, bytes(TYPES.serialize_cdr(image, image.__msgtype__))) for k in range(4)]
    actions = ["restored", "passed_clean", "restored", "restored"][lost:]
    with BagReader(write_bag()) as reader:
        session = Session(reader, choose(reader.topics), FakeLink(), None, 1.0)
        account = same_stamps(session, messages, [("left", action) for action in actions])
    assert account.total("left") == {
        "in": 4,
        "out": 4 - lost,
        "dropped": lost,
        "restored": 3 - lost,
        "passed on": 1,
        "broken": 0,
    }
    assert [o.action for o in account.outputs] == actions
    # Which one was lost is not known, and so neither is how long the others took.
    assert [np.isnan(o.latency_ms) for o in account.outputs] == [lost > 0] * len(actions)


def test_each_frame_that_did_not_come_has_a_cause(write_bag: Write) -> None:
    link = FakeLink(received=5, published=2, dropped=1, unusable=1, waiting=1, lost=0)
    with BagReader(write_bag(frames=6)) as reader:
        session = Session(reader, choose(reader.topics), link, None, 1.0)
        images = [message for message in reader.messages() if message.topic == "/left/image_raw"]
        for message in images:
            session._send(message)
    session._on_output("/derained/left/image_raw", images[2].data)
    account = Account(frames_in=Counter({"left": 0}))
    session.fill(account)
    assert account.causes == {
        "lost on the way to the node": 1,
        "in the node, a newer one took its place": 1,
        "in the node, could not be read": 1,
        "in the node, not yet done": 1,
        "lost on the way back": 1,
    }
    assert account.total()["dropped"] == account.causes.total() == 5
    # It was recorded at its stamp.
    assert account.outputs[0].age_ms == account.outputs[0].latency_ms > 0


def test_a_clock_that_was_set_during_the_recording_is_not_waited_for(tmp_path: Path) -> None:
    image = image_of(TYPES, Frame(np.zeros((4, 4), np.uint8), "mono8", 7, "eye"))
    year_ns = 365 * 86400 * 10**9
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(6):
            writer.put("/left/image_raw", 1 + k * 10**7 + (k > 2) * year_ns, image)
    link = FakeLink()
    link.inputs = {"/left/image_raw": ("/left/image_raw", image.__msgtype__)}
    with BagReader(tmp_path / "bag") as reader:
        session = Session(reader, choose(reader.topics), link, None, 1.0)
        account = Account(frames_in=Counter({"left": 0}))
        node = SimpleNamespace(check=lambda: None)
        session.run(node, set(), None)  # type: ignore[arg-type]
        session.finish(node)  # type: ignore[arg-type]
        session.fill(account)
    assert link.sent == {"/left/image_raw": 6}
    assert account.recorded_s == pytest.approx(0.05, abs=0.011) and account.played_s >= account.recorded_s
    assert account.notes == ["pauses in the recording of more than 10 s were skipped: 1"]


def test_a_node_that_ends_by_itself_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setitem(os.environ, name, value)
    with NodeProcess(Config(engine="onnxruntime"), tmp_path) as node:
        node._process.kill()
        node._process.wait()
        with pytest.raises(ReplayError, match="exit code -9"):
            node.check()


def test_a_node_is_ended_in_order_whatever_ends_the_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setitem(os.environ, name, value)
    monkeypatch.setattr(child, "KILLED_AFTER_S", PATIENCE_S)
    with pytest.raises(KeyboardInterrupt), NodeProcess(Config(), tmp_path) as node:
        wait_for(lambda: "active for left, right" in node._log.read_text(), "an active node")
        raise KeyboardInterrupt
    assert node._process.returncode == 0


def test_a_node_ends_when_its_player_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from derain_ros.config import Config\n"
        "from derain_ros.replay.child import NodeProcess\n"
        "with NodeProcess(Config(), Path(sys.argv[1])) as node:\n"
        "    while 'active for left, right' not in node._log.read_text():\n"
        "        node.check()\n        time.sleep(0.01)\n"
        "    print(node._process.pid, flush=True)\n    time.sleep(1000)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        node = int(process.stdout.readline())
        assert is_running(node)
        process.kill()
    wait_for(lambda: not is_running(node), "the node's end")


def test_a_thermal_camera_of_another_form_than_the_cameras_is_refused() -> None:
    topics = {"/left/image_raw": Topic("/left/image_raw", IMAGE, 5), "/ir": Topic("/ir", COMPRESSED, 5)}
    cameras = choose(topics, {"left": "/left/image_raw"}, "/ir")
    with pytest.raises(ReplayError, match="some cameras are raw and some compressed"):
        _inputs(cameras, topics)


@pytest.mark.parametrize("more", [-1, 0, 1, 40])
def test_reading_ahead_ends_whenever_it_is_given_up(more: int) -> None:
    read = []

    class Bag:
        def messages(self) -> Iterator[Message]:
            for n in range(1 + AHEAD + more):
                read.append(n)
                yield Message("/t", n, b"")

    reading = ahead(Bag())  # type: ignore[arg-type]  # all that it is asked for
    next(reading)
    wait_for(lambda: len(read) == 1 + AHEAD + min(more, 1), "a reader for which there is no more room")
    ended = threading.Thread(target=reading.close, daemon=True)
    ended.start()
    ended.join(PATIENCE_S)
    assert not ended.is_alive()
