from __future__ import annotations

from collections.abc import Sequence

import pytest

from derain_ros.runtime.input.instants import Instants

MS = 1_000_000
STEADY = [100 * n for n in range(40)]


def times_ms(stamps_ms: Sequence[float], received_ms: Sequence[float] | None = None) -> list[float]:
    instants = Instants()
    arrivals = received_ms or [0.0] * len(stamps_ms)
    return [
        instants.at(round(stamp * MS), round(arrival * MS)) / MS
        for stamp, arrival in zip(stamps_ms, arrivals, strict=True)
    ]


def test_time_is_that_of_the_stamps_whenever_frames_arrive() -> None:
    assert times_ms(STEADY) == STEADY
    assert times_ms([5000 + 10 * stamp for stamp in STEADY], [7 + stamp for stamp in STEADY]) == times_ms(
        [10 * stamp for stamp in STEADY]
    )


@pytest.mark.parametrize(
    "stamps",
    [
        [0] * 40,
        [1234.5] * 40,
        [n / 1000 for n in range(40)],
        [-200 * n for n in range(40)],
        [1e11 * n for n in range(40)],
    ],
    ids=["zero", "alike", "counted", "backwards", "years ahead"],
)
def test_stamps_that_tell_nothing_leave_it_to_the_arrivals(stamps: list[float]) -> None:
    assert times_ms([2e6 + stamp for stamp in stamps], [10 + stamp for stamp in STEADY]) == STEADY


@pytest.mark.parametrize(
    "stamps",
    [[200 * (n // 2) for n in range(40)], [100 * n - (n % 8 == 7) * 150 for n in range(40)]],
    ids=["each twice", "every eighth back"],
)
def test_stamps_that_stumble_do_not_hurry_time(stamps: list[float]) -> None:
    times = times_ms([5000 + stamp for stamp in stamps], [10 + stamp for stamp in STEADY])
    assert all(0 <= later - earlier <= 200 for earlier, later in zip(times, times[1:], strict=False))
    assert abs(times[-1] - STEADY[-1]) <= 200


def test_a_jump_costs_no_time_and_a_pause_counts() -> None:
    back = [9000.0 + 100 * n for n in range(5)] + [100.0 * n for n in range(5)]
    assert times_ms(back, [10 + stamp for stamp in STEADY[:10]]) == STEADY[:10]
    assert times_ms([0.0, 60_000.0], [10.0, 60_010.0]) == [0, 60_000]
    assert times_ms([0.0, 60_000.0]) == [0, 60_000], "where nothing else is known"


def test_images_without_stamps_or_arrival_take_no_time() -> None:
    assert times_ms([0.0] * 3) == [0, 0, 0]
