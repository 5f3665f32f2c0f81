from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S, is_running, wait_for

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from derain_ros.bench.node import RateResult, _Receiver, highest  # noqa: E402

ROOT = Path(__file__).parents[2]


def result(rate: float, sent: int, restored: int, sent_rate: float) -> RateResult:
    return RateResult(rate, 1.0, sent, sent_rate, sent, restored)


def test_the_highest_rate_is_one_at_which_nothing_was_lost() -> None:
    assert highest([result(5, 10, 10, 5), result(10, 20, 20, 9.95), result(20, 40, 39, 20)]) == 10
    assert highest([result(5, 10, 9, 5)]) == 0
    assert not result(20, 30, 30, 15).no_loss, "the camera itself was too slow"
    assert not result(5, 0, 0, 5).no_loss


class Link:
    on_output: Any = None


def image(stamp: int) -> bytes:
    return b"\x00\x01\x00\x00" + struct.pack("<iI", *divmod(stamp, 1_000_000_000)) + b"pixels"


def status(stamp: int, *actions: str) -> bytes:
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    make = types.types
    value = make["diagnostic_msgs/msg/KeyValue"]
    stamped = make["std_msgs/msg/Header"](
        stamp=make["builtin_interfaces/msg/Time"](sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000),
        frame_id="",
    )
    entries = [
        make["diagnostic_msgs/msg/DiagnosticStatus"](
            level=0,
            name="left",
            message="",
            hardware_id="",
            values=[
                value(key="action", value=action),
                value(key="plan", value="light"),
                value(key="restore_ms", value="7.5"),
            ],
        )
        for action in actions
    ]
    array = make["diagnostic_msgs/msg/DiagnosticArray"](header=stamped, status=entries)
    return bytes(types.serialize_cdr(array, "diagnostic_msgs/msg/DiagnosticArray"))


def test_pairs_are_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    link, clock = Link(), iter(range(10_000_000_000, 11_000_000_000, 1_000_000))
    monkeypatch.setattr("derain_ros.bench.node.time.monotonic_ns", lambda: next(clock))
    receiver = _Receiver(link)
    ms = 1_000_000
    stamps = [9_990_000_000 + k * 2 * ms for k in range(5)]  # the first before anyone listened
    for stamp in stamps[1:4]:
        for eye in ("left", "right"):
            link.on_output(f"/derained/{eye}/image_raw", image(stamp))
    link.on_output("/derained/left/image_raw", image(stamps[4]))
    for stamp, actions in (
        (stamps[1], ("restored", "restored")),
        (stamps[2], ("restored", "passed_budget")),
        (stamps[3], ("restored", "restored")),
    ):
        link.on_output("/derain/status", status(stamp, *actions))
    assert receiver.restored() == 2
    found = receiver.account(500, 1.0, stamps, 8.9)
    assert (found.sent, found.came, found.restored, found.plans) == (4, 3, 2, {"light": 2})
    assert found.sent_rate == pytest.approx(500) and found.networks(0.5) == 7.5
    # The right eye of each came at 10.001, 10.003 and 10.005 s.
    assert found.latency_ms == pytest.approx([9.0, 9.0, 9.0])
    assert found.longest_gap_ms == pytest.approx(2.0)
    assert found.in_budget == 0 and receiver.account(500, 1.0, stamps, 9.1).share_in_budget == 1


def test_the_camera_sends_at_its_rate_until_it_is_ended() -> None:
    code = (
        "import json, time; from derain_ros.replay.child import transport_environment; import os\n"
        "os.environ.update(transport_environment())\n"
        "from derain_ros.bench.camera import CameraProcess\n"
        "from derain_ros.replay.link import Link\n"
        "with CameraProcess(50, 24, 32) as camera:\n"
        "    camera.await_sending(); time.sleep(2); print(json.dumps(camera.end()))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    environment |= {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(random.randint(1, 101)),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    stamps = json.loads(done.stdout.splitlines()[-1])
    assert len(stamps) > 2 and sorted(set(stamps)) == stamps
    # Never faster than it should; how much slower depends on the machine. The first pair may have been late.
    assert (len(stamps) - 2) / (stamps[-1] - stamps[0]) * 1e9 <= 51


def test_what_makes_the_machine_busy_ends_with_the_benchmark_however_that_ends() -> None:
    code = (
        "import os, time; from pathlib import Path; from derain_ros.bench.node import busy\n"
        "with busy(2):\n    own = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text()\n"
        "    print(own, flush=True)\n    time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        busy = [int(pid) for pid in process.stdout.readline().split()]
        assert len(busy) == 2 and all(map(is_running, busy))
        process.kill()
    wait_for(lambda: not any(map(is_running, busy)), "their end")
