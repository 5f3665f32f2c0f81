"""How bad a lens is, and since when."""

from __future__ import annotations

from derain_ros.fleet.lens import Seen, lenses_of, seen_of
from derain_ros.replay.account import Output

S = 1_000_000_000


def outputs(alarms: dict[int, str], seconds: int, begin: int = 0) -> list[Output]:
    return [
        Output("left", (begin + k) * S, "restored", True, 0.9, 1.0, alarm=alarms.get(k, "clear"), severity=0.5)
        for k in range(seconds)
    ]


def test_a_bag_says_how_often_and_when_a_lens_was_affected() -> None:
    up = dict.fromkeys([*range(5, 10), *range(15, 20)], "affected") | dict.fromkeys(range(50, 55), "severe")
    seen = seen_of([*outputs(up, 60), Output("right", 1, "restored", True, 0.9, 1.0)], "left", "/left")
    assert (seen.frames, seen.affected, seen.severe, seen.hurt) == (60, 15, 5, 7.5)
    assert seen.alarms == [(5 * S, 19 * S), (50 * S, 54 * S)], "a short break does not end an alarm"
    assert (seen.begin_ns, seen.end_ns) == (0, 59 * S)
    assert seen_of(outputs({}, 3), "right", "/right") == Seen("right", "/right")


def test_an_alarm_goes_on_from_bag_to_bag_and_the_worst_lens_is_first() -> None:
    monday = seen_of(outputs(dict.fromkeys(range(30, 60), "affected"), 60), "left", "/left")
    tuesday = seen_of(outputs(dict.fromkeys(range(1, 60), "severe"), 60, 86400), "left", "/left")
    dried = seen_of(outputs(dict.fromkeys(range(10), "affected"), 60, 100), "left", "/left")
    clean = seen_of(outputs({}, 60), "left", "/left")
    lenses = lenses_of([("r1", [clean]), ("r2", [tuesday]), ("r3", [dried]), ("r2", [monday])])
    assert [lens.robot for lens in lenses] == ["r2", "r3", "r1"]
    bad, ended, none = lenses
    assert (bad.since_ns, bad.until_ns, bad.bags) == (30 * S, None, [1, 3])
    assert (bad.frames, bad.affected, bad.severe) == (120, 89 / 120, 59 / 120)
    assert (ended.since_ns, ended.until_ns) == (100 * S, 109 * S)
    assert (none.since_ns, none.until_ns, none.severity) == (None, None, 0.0)
