"""The soak test: its order of faults, its books, its verdict, and a short run of the node itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import write_models
from typer.testing import CliRunner
from waiting import PATIENCE_S

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from derain_ros.bench import BenchError, rig, soak_page  # noqa: E402
from derain_ros.bench.ailing import FAIL, HANG, Ailing, ail, ailment_of  # noqa: E402
from derain_ros.bench.camera import next_due  # noqa: E402
from derain_ros.bench.counts import (  # noqa: E402
    LOST,
    NEWER,
    UNHEARD,
    UNREADABLE,
    WAITING,
    Counts,
    deaf_to,
    stall_ms,
    told_of,
    unreceived,
)
from derain_ros.bench.faults import FAULTS, Fault, schedule  # noqa: E402
from derain_ros.bench.senders import ID_AT, Sent, _messages, frame_id, identity, identity_of  # noqa: E402
from derain_ros.bench.soak import _Run  # noqa: E402
from derain_ros.bench.soaked import (  # noqa: E402
    ANEW,
    DEAF,
    PAUSING,
    UNKNOWN,
    FaultResult,
    Limits,
    Soak,
    broken,
    unjudged,
)
from derain_ros.cli.main import app  # noqa: E402
from derain_ros.engine import EngineError, load  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.replay.account import Account  # noqa: E402
from derain_ros.replay.record import Record  # noqa: E402
from derain_ros.replay.records import ReplayError  # noqa: E402

ROOT = Path(__file__).parents[2]
MS = 1_000_000
ROUNDS = 2 * len(FAULTS)

LEFT, RIGHT = f"{UNKNOWN}, left", f"{UNKNOWN}, right"

FAULT = FaultResult(
    kind="node stopped",
    what="SIGSTOP",
    begun_s=10.0,
    ended_s=11.0,
    restored_after_s=0.4,
    gap_ms=1100.0,
    stall_ms=150.0,
    late_ms=2.0,
    frames={"in": 80, "restored": 60, "passed": 8, "dropped": 12},
    causes={LOST: 9, NEWER: 3},
    unreceived=0,
    memory_mb=400.0,
    threads=50,
    files=26,
    engines=3,
)


def run(*faults: FaultResult, **more: Any) -> Soak:
    account = Account(Counter(left=40, right=40), recorded_s=60.0, played_s=60.0)
    record = Record("the soak test", "Latency", account, [])
    return Soak(record, 7, 10.0, ROUNDS, list(faults or (FAULT,)), **more)


def test_the_same_seed_gives_the_same_faults_and_each_round_has_every_kind() -> None:
    faults = list(islice(schedule(3), 5 * len(FAULTS)))
    assert faults == list(islice(schedule(3), 5 * len(FAULTS)))
    assert faults != list(islice(schedule(4), 5 * len(FAULTS)))
    for begin in range(0, len(faults), len(FAULTS)):
        assert {fault.kind for fault in faults[begin : begin + len(FAULTS)]} == FAULTS.keys()
    for fault in faults:
        _, shortest, longest = FAULTS[fault.kind]
        assert shortest <= fault.seconds <= longest
    assert len({fault.seed for fault in faults}) == len(faults)


def test_a_run_in_which_all_held() -> None:
    assert broken(run(), Limits()) == []
    again = replace(FAULT, causes={LOST: 10, NEWER: 3, WAITING: -1})
    assert broken(run(FAULT, again), Limits()) == []
    assert broken(run(replace(FAULT, gap_ms=2999.0, unreceived=2)), Limits()) == [], "it stood still for a second"
    assert broken(run(replace(FAULT, kind=ANEW, unreceived=9)), Limits()) == [], "the node was taken down"
    assert FAULTS.keys() > {*DEAF, *PAUSING}


@pytest.mark.parametrize(
    ("soak", "said"),
    [
        (run(crash="the node ended by itself with exit code -11"), "the run ended early: the node ended by itself"),
        (run(twice=1), "1 frames came back more often than they were sent"),
        (run(kept=2), "2 frames were neither published nor dropped"),
        (run(replace(FAULT, restored_after_s=2.01)), "restoring again after 2.01 s, not within 2 s"),
        (run(replace(FAULT, restored_after_s=float("inf"))), "restoring again not at all, not within 2 s"),
        (run(replace(FAULT, restored_after_s=float("nan"))), "restoring again not at all"),
        (run(replace(FAULT, stall_ms=201.0)), "then a stall of 201 ms, more than 2 periods"),
        (run(replace(FAULT, frames=FAULT.frames | {"passed": 7})), "frames do not add up"),
        (run(replace(FAULT, causes={LOST: 9})), "12 frames were dropped, but the causes add up to 9"),
        (
            run(replace(FAULT, causes={LOST: 9, LEFT: 3})),
            "3 frames were dropped or counted twice for an unknown",
        ),
        (run(replace(FAULT, causes={LOST: 13, LEFT: -1})), "1 frames were dropped or counted twice for an unknown"),
        (run(replace(FAULT, causes={LOST: 12, LEFT: 7, RIGHT: -7})), "14 frames were dropped or counted twice for"),
        (run(replace(FAULT, causes={LOST: 11, LEFT: 1}), replace(FAULT, causes={LOST: 13, LEFT: -1})), "2 frames were"),
        (run(replace(FAULT, unreceived=3)), "3 frames were lost on the way back, more than 2"),
        (run(replace(FAULT, gap_ms=3001.0)), "during the fault no output for 3.0 s, more than 3.0 s"),
        (run(replace(FAULT, kind="garbage", gap_ms=2001.0)), "during the fault no output for 2.0 s, more than 2.0 s"),
        (run(replace(FAULT, unreceived=-2)), "2 more frames came back than the node reports"),
    ],
)
def test_what_does_not_hold_is_told(soak: Soak, said: str) -> None:
    told = broken(soak, Limits())
    assert len(told) == 1 and said in told[0], told


def test_a_run_without_faults_shows_nothing() -> None:
    assert broken(replace(run(), faults=[]), Limits()) == ["there was no fault"]


@pytest.mark.parametrize(
    ("what", "from_", "to", "flat"),
    [
        ("memory_mb", 400.0, 407.9, True),
        ("memory_mb", 400.0, 408.1, False),
        ("memory_mb", 1000.0, 1019.0, True),
        ("memory_mb", 1000.0, 1021.0, False),
        ("threads", 50, 51, True),
        ("threads", 50, 52, False),
        ("files", 26, 28, False),
        ("files", 28, 20, True),
    ],
)
def test_growth_after_the_warm_up_is_told(what: str, from_: float, to: float, flat: bool) -> None:
    anew = replace(FAULT, kind=ANEW)
    before = [replace(anew, **{what: from_ / 2})] * ROUNDS
    after = [replace(anew, **{what: from_ + (to - from_) * (k >= 6)}) for k in range(9)]
    others = [replace(FAULT, **{what: 10 * to})] * 50
    told = broken(run(*before, *after, *others), Limits())
    assert (told == []) == flat and all("grew after the warm-up" in text for text in told)
    assert unjudged(run(*before, *after)) == []
    short = run(*before, *after[:2])
    assert short.growth() == {} and "configured anew 2 times, but 3 are needed" in unjudged(short)[0]


def test_a_run_is_saved_and_read_again(tmp_path: Path) -> None:
    soak = run(FAULT, replace(FAULT, restored_after_s=float("inf")), crash="killed", twice=1, kept=2)
    soak.save(tmp_path / "soak.json")
    assert Soak.read(tmp_path / "soak.json") == soak
    soak.record.save(tmp_path / "replay.json")
    for other in ("replay.json", "none.json"):
        with pytest.raises(ReplayError, match=other):
            Soak.read(tmp_path / other)
    whole = json.loads((tmp_path / "soak.json").read_text())
    for key, value in (("faults", [{}]), ("seed", "seven"), ("faults", [whole["faults"][0] | {"threads": None}])):
        (tmp_path / "broken.json").write_text(json.dumps(whole | {key: value}))
        with pytest.raises(ReplayError, match=f"not a record of `derain bench soak`.*{key}"):
            Soak.read(tmp_path / "broken.json")


def test_the_tables_have_every_kind_of_fault_and_every_cause() -> None:
    faults, dropped = soak_page.tables_of(
        run(FAULT, replace(FAULT, restored_after_s=1.0), replace(FAULT, kind="garbage"))
    )
    assert [row[0] for row in faults.rows] == ["node stopped", "garbage", "all"]
    assert list(faults.rows[0][1:4]) == ["2", "0.70", "1.00"] and list(faults.rows[-1][-4:]) == [
        "240",
        "180",
        "24",
        "36",
    ]
    assert [list(row) for row in dropped.rows] == [[LOST, "27"], [NEWER, "9"]]


TOLD = {
    "received": "70",
    "lost": "6",
    "unusable": "2",
    "dropped": "5",
    "waiting": "1",
    "published": "62",
    "restored": "50",
    "rate_in_hz": "10.0",
    "kind": "raindrop",
}


def test_frames_are_accounted_for_by_cause() -> None:
    counts = Counts(80, 61, told_of(TOLD))
    assert counts.frames() == {"in": 80, "restored": 50, "passed": 12, "dropped": 18} and counts.unreceived == 1
    named = {LOST: 6, UNREADABLE: 2, NEWER: 5, WAITING: 1}
    assert counts.causes("left", deaf=False) == named | {LEFT: 4}
    assert counts.causes("left", deaf=True) == named | {UNHEARD: 4}
    assert Counts(75, 62, told_of(TOLD)).causes("right", deaf=True)[RIGHT] == -1, "more was counted than was sent"
    later = Counts(90, 72, told_of(TOLD | {"received": "80", "published": "73", "waiting": "0"})).since(counts)
    assert later.causes("left", deaf=False) == {WAITING: -1} and later.frames()["dropped"] == -1


def test_only_a_camera_that_restarts_is_not_heard() -> None:
    before = {"left": 1, "right": 2}
    assert deaf_to("camera restarts", before, {"left": 1, "right": 3}) == ["right"]
    assert deaf_to("garbage", before, before) == [] and deaf_to(ANEW, before, before) == ["left", "right"]


def test_too_many_of_one_camera_hide_no_loss_of_the_other() -> None:
    counts = [Counts(9, came, Counter(published=5)) for came in (3, 4, 5, 6)]
    assert unreceived(counts[:3]) == 3 and unreceived(counts) == -1


def sent(camera: str, ms: float, late_ms: float = 0.0, good: bool = True) -> Sent:
    return Sent(camera, 1, round(ms * MS), 0, round(late_ms * MS), good)


def test_a_stall_is_the_longest_time_until_the_next_output() -> None:
    frames = [sent("left", 100.0 * k) for k in range(10)]
    came = [("left", k, round((100 * k + 30) * MS)) for k in range(10) if k not in (4, 5)]
    assert stall_ms(frames, came, 0, 1000 * MS) == pytest.approx(230)
    assert stall_ms(frames, came, 500 * MS, 1000 * MS) == pytest.approx(130)
    assert stall_ms(frames, came, 600 * MS, 1000 * MS) == pytest.approx(30)
    assert stall_ms([sent("right", 0.0)], came, 0, 1000 * MS) == pytest.approx(1000), "nothing came of it at all"
    assert stall_ms([sent("right", 0.0, good=False)], came, 0, 1000 * MS) == 0
    held_up = [*frames[:5], sent("left", 500.0, 150.0), *frames[6:]]
    # From 350 to 500 ms the machine did nothing for the cameras, and so nothing for the receiver either.
    assert stall_ms(held_up, came, 0, 1000 * MS) == pytest.approx(130)
    assert stall_ms(held_up, came, 300 * MS, 310 * MS) == pytest.approx(30)
    late = [sent("left", 0.0), sent("left", 1500.0, 1400.0)]
    assert stall_ms(late, [("left", 1, 1450 * MS)], 0, 1400 * MS) == pytest.approx(100), "told by a frame sent later"


def test_a_camera_that_was_held_up_keeps_its_beat() -> None:
    assert next_due(100, 100, 10) == next_due(100, 109, 10) == 110
    assert next_due(100, 110, 10) == 120 and next_due(100, 147, 10) == 150, "what it could not send is dropped"


@pytest.mark.parametrize(
    ("error", "ended", "said"),
    [
        (KeyboardInterrupt(), False, "interrupted"),
        (SystemExit(143), False, "terminated"),
        (FileNotFoundError("/proc/1/task"), False, "FileNotFoundError: /proc/1/task"),
        (FileNotFoundError("/proc/1/task"), True, "the node ended by itself"),
    ],
)
def test_whatever_ends_a_run_is_in_its_result(error: BaseException, ended: bool, said: str) -> None:
    def check() -> None:
        if ended:
            raise ReplayError("the node ended by itself")

    def faults() -> Iterator[Fault]:
        yield from ()
        raise error

    ending = _Run.__new__(_Run)
    ending.rig, ending.crash = SimpleNamespace(node=SimpleNamespace(check=check)), ""  # type: ignore[assignment]
    ending.play(faults(), 1.0, print, None)
    assert ending.crash.endswith(said)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "was not ready within"),
        ("pass", "a subscriber ended"),
        ("print('ready', flush=True); input()", "did not find each other"),
    ],
)
def test_a_subscriber_that_hears_nothing_is_told_of(code: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "SUBSCRIBER", code)
    monkeypatch.setattr(rig, "ANSWERS_S", PATIENCE_S if code == "pass" else 2.0)
    alone = rig.Rig.__new__(rig.Rig)
    alone.control = SimpleNamespace(subscribers=lambda topic: {b"old"})  # type: ignore[assignment]
    alone.node = SimpleNamespace(check=lambda: None)  # type: ignore[assignment]
    with pytest.raises(BenchError, match=said), alone.subscriber():
        pass


def test_a_subscriber_is_known_by_its_own_gid(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was killed before it stays in the graph until its lease ends, perhaps while this one is awaited."""
    graph = iter([{b"own", b"killed"}, {b"own", b"killed"}, {b"own"}, {b"own", b"new"}])
    monkeypatch.setattr(rig, "SUBSCRIBER", "print('ready', flush=True); input()")
    alone = rig.Rig.__new__(rig.Rig)
    alone.control = SimpleNamespace(subscribers=lambda topic: next(graph))  # type: ignore[assignment]
    alone.node = SimpleNamespace(check=lambda: None)  # type: ignore[assignment]
    with alone.subscriber():
        assert next(graph, None) is None, "it was waited for"


def test_the_page_has_the_faults_and_what_the_node_held(tmp_path: Path) -> None:
    soak = run(FAULT, replace(FAULT, kind="garbage", restored_after_s=float("inf")))
    soak.save(tmp_path / "soak.json")
    assert CliRunner().invoke(app, ["report", str(tmp_path / "soak.json")]).exit_code == 0
    text = (tmp_path / "soak.html").read_text()
    assert "<caption>Faults</caption>" in text and "<td>garbage<td>1<td>inf" in text
    assert "alt='memory, MB, threads, files" in text and text.count("src='data:image/png") == 3


def test_frames_carry_their_number() -> None:
    assert identity_of(frame_id("left", 12)) == ("left", 12) and identity_of("camera_optical_frame") is None
    for (_, encoding), messages in _messages().items():
        for message in messages:
            message[ID_AT : ID_AT + 15] = frame_id("right", 345).encode()
            assert identity(bytes(message)) == ("right", 345), encoding
    assert identity(b"\x00\x01") is None


def test_an_engine_ails_as_long_as_the_file_says(tmp_path: Path) -> None:
    from derain_ros.engine.images import blank

    model = Manifest.load(write_models(tmp_path / "models")).get("restore_mono")
    ailment = tmp_path / "ailment"
    engine = Ailing(load(model), ailment)
    images = blank(model, (1, 16, 16))
    assert engine.run(**images)["restored"].shape == (1, 16, 16, 1)
    ail(ailment, FAIL, "restore", 100)
    assert ailment_of(ailment, "detect") == ""
    with pytest.raises(EngineError, match="fails on purpose"):
        engine.run(**images)
    ail(ailment, FAIL, "restore", 0)
    engine.run(**images)
    begun = time.monotonic()
    ail(ailment, HANG, "restore", 0.3)
    engine.run(**images)
    assert time.monotonic() - begun >= 0.3


SHORT = """
import rclpy, sys
from pathlib import Path
from derain_ros.bench.faults import Fault
from derain_ros.bench.soak import soak
from derain_ros.config import Config
kinds = (
    ("garbage", 1.0), ("engine fails", 1.0), ("camera restarts", 1.0), ("node stopped", 2.0), ("time jumps", 0.5),
    ("deactivated", 0.5), ("configured anew", 0.5), ("duplicates", 1.0),
)
faults = [Fault(kind, seconds, 5) for kind, seconds in kinds]
config = Config(gating=False, engine="onnxruntime", threads=1, budget_ms=5000.0)
result = soak(faults, 1000.0, 5, 5.0, config, Path(sys.argv[1]), lambda text: print(text, flush=True))
result.save(Path(sys.argv[2]))
"""


def test_a_short_run_of_the_node(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    environment |= {
        "DERAIN_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    environment.pop("ROS_AUTOMATIC_DISCOVERY_RANGE", None)
    models, saved = write_models(tmp_path / "models"), tmp_path / "soak.json"
    done = subprocess.run(
        [sys.executable, "-c", SHORT, str(models), str(saved)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    soak = Soak.read(saved)
    # How fast this machine is says nothing; that no frame is lost, and that the node goes on, does.
    assert broken(soak, Limits(restored_s=60.0, periods=1000.0, gap_s=60.0)) == [], done.stdout
    assert [fault.kind for fault in soak.faults] == [
        "garbage",
        "engine fails",
        "camera restarts",
        "node stopped",
        "time jumps",
        "deactivated",
        "configured anew",
        "duplicates",
    ]
    of = {fault.kind: fault for fault in soak.faults}
    came = {
        "garbage": of["garbage"].causes.get(UNREADABLE, 0) > 0,
        "engine fails": of["engine fails"].frames["passed"] > 0 and soak.record.account.reasons()["passed_error"] > 0,
        "node stopped": of["node stopped"].gap_ms >= 1500,
        "time jumps": of["time jumps"].frames["passed"] > 0,
        "duplicates": of["duplicates"].frames["dropped"] > 0,
        # The other camera's frames are passed on alone; whether any is sent unheard depends on how soon DDS matches.
        "camera restarts": of["camera restarts"].frames["passed"] > 0,
        **{kind: of[kind].causes.get(UNHEARD, 0) > 0 for kind in ("deactivated", "configured anew")},
    }
    assert came.keys() == of.keys() and [kind for kind, caused in came.items() if not caused] == [], done.stdout
    total, account = soak.frames(), soak.record.account
    assert total["restored"] > 0 and total["in"] == sum(account.frames_in.values())
    assert all(fault.frames["restored"] > 0 and fault.memory_mb > 0 for fault in soak.faults)
    assert all(usage.memory_mb > 0 for usage in soak.record.usage)
