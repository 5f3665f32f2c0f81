"""Named figures of a record and limits on them."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest

from derain_ros.replay.account import Account, Output
from derain_ros.replay.measured import AtRate, Usage
from derain_ros.replay.record import Record
from derain_ros.report.limits import COMPARED, FIGURES, LimitError, broken, figures_of, limits_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def output(stamp: int, action: str, ms: float, alarm: str, **more: float) -> Output:
    return Output("left", stamp, action, action == "restored", 0.5, ms, ms + 1, alarm, "light", **more)


def record() -> Record:
    """Four frames went in: two were restored, one was clean, one was dropped."""
    outputs = [
        output(1, "passed_clean", 10.0, "clear", detect_ms=2.0, total_ms=3.0, restore_ms=0.0),
        output(2, "restored", 30.0, "affected", detect_ms=2.0, total_ms=20.0, restore_ms=15.0),
        output(3, "restored", 20.0, "severe", detect_ms=4.0, total_ms=16.0, restore_ms=9.0, fuse_ms=5.0),
    ]
    usage = [Usage(0.5, 1.0, 300.0, math.nan), Usage(1.0, 2.0, 200.0, math.nan)]
    rates = [AtRate(r, 20 * r, r, 4, 0, 0, 1.0, 2.0, r < 3) for r in (1.0, 2.0, 4.0)]
    account = Account(Counter(left=4), outputs)
    return Record("a", "Latency", account, [], usage=usage, rates=rates)


def test_figures() -> None:
    found = figures_of(record())
    assert set(found) == set(FIGURES)
    expected = {
        "frames_in": 4,
        "restored": 2,
        "passed": 1,
        "passed_clean": 1,
        "passed_budget": 0,
        "dropped": 1,
        "restored_share": 0.5,
        "dropped_share": 0.25,
        "flagged_share": 2 / 3,
        "alarm_share": 2 / 3,
        "p50_ms": 20.0,
        "max_ms": 30.0,
        "detect_p50_ms": 2.0,
        "restore_p50_ms": 12.0,
        "fuse_p50_ms": 5.0,
        "transport_p50_ms": 7.0,
        "jitter_p50_ms": 15.0,
        "age_p50_ms": 21.0,
        "cpu_cores": 1.5,
        "memory_mb": 300.0,
        "highest_rate": 2.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert math.isnan(found["gpu_mb"])


def test_limits_that_are_kept_and_broken() -> None:
    kept = [
        "p99_ms > 50",
        " dropped>1 ",
        "restored_share < 0.5",
        "alarm_share <= .6",
        "frames_in != 4",
        "p50_ms >= 2.1e1",
    ]
    assert broken(record(), limits_of(kept)) == []
    told = broken(record(), limits_of(["max_ms > 29.5", "dropped == 1", "gpu_mb > 1"]))
    assert told == [
        "max_ms > 29.5: it is 30",
        "dropped == 1: it is 1",
        "gpu_mb > 1: gpu_mb is not known in this record",
    ]


def test_of_nothing_no_limit_is_kept() -> None:
    empty = Record("a", "Latency", Account(Counter(left=0)), [])
    names = ("p99_ms", "restored_share", "alarm_share", "cpu_cores", "highest_rate")
    assert len(broken(empty, limits_of(f"{name} > 1e9" for name in names))) == len(names)


@pytest.mark.parametrize(
    "text",
    ["", "p99_ms", "p99_ms > ", "p99_ms > fast", "50 < p99_ms", "p99_ms => 5", "p99_ms > 5 ms", "p99_ms > 1e999",
     "p99_ms > 5 or dropped > 0", "__import__('os') > 1"],
)  # fmt: skip
def test_what_is_no_limit_is_told_with_an_example(text: str) -> None:
    with pytest.raises(LimitError, match="is not a limit; write NAME, one of <, <=, >, >=, ==, !=, and a number"):
        limits_of([text])


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        LimitError, match="speed: there is no such figure; there are frames_in, .*alarm_share, .*p99_ms"
    ):
        limits_of(["dropped > 0", "speed < 1"])


def test_the_document_lists_every_name() -> None:
    text = (
        DOCUMENT.read_text(encoding="utf-8").partition("## Bags in continuous integration\n")[2].partition("\n## ")[0]
    )
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == set(FIGURES)


@pytest.mark.parametrize(
    ("sign", "broken_at"),
    [("<", [1]), ("<=", [1, 2]), (">", [3]), (">=", [2, 3]), ("==", [2]), ("!=", [1, 3])],
)
def test_each_sign_compares_as_it_is_read(sign: str, broken_at: list[int]) -> None:
    assert [value for value in (1, 2, 3) if COMPARED[sign](value, 2)] == broken_at
