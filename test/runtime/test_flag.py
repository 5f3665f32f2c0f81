from __future__ import annotations

import pytest

from derain_ros.config import Config
from derain_ros.runtime.flag import AnomalyFlag

CONFIG = Config(on_score=0.6, off_score=0.4, on_hold_s=0.2, off_hold_s=1.0)
SECOND = 1_000_000_000


def feed(flag: AnomalyFlag, *scores: tuple[float, float], config: Config = CONFIG) -> list[bool]:
    """The flag after each (time in s, score)."""
    return [flag.update(score, round(time_s * SECOND), config) for time_s, score in scores]


def raised(at: float = 0.0) -> AnomalyFlag:
    flag = AnomalyFlag()
    feed(flag, (at - 0.2, 1.0), (at, 1.0))
    assert flag.raised
    return flag


def test_it_rises_once_the_score_stayed_high_for_the_hold_time() -> None:
    assert feed(AnomalyFlag(), (5.0, 0.6), (5.1, 0.9), (5.199, 0.9), (5.2, 0.6)) == [False, False, False, True]


def test_a_dip_starts_the_hold_time_again() -> None:
    assert feed(AnomalyFlag(), (0.0, 0.9), (0.15, 0.59), (0.2, 0.9), (0.35, 0.9), (0.4, 0.9)) == [False] * 4 + [True]


def test_it_falls_once_the_score_stayed_low_for_the_hold_time() -> None:
    assert feed(raised(), (0.1, 0.39), (0.6, 0.0), (1.09, 0.0), (1.1, 0.39)) == [True, True, True, False]


def test_a_score_between_the_thresholds_changes_nothing() -> None:
    assert feed(AnomalyFlag(), *[(t, 0.5) for t in range(5)]) == [False] * 5
    assert feed(raised(), *[(t, 0.5) for t in range(1, 5)]) == [True] * 4
    assert feed(raised(), *[(t, 0.4) for t in range(1, 5)]) == [True] * 4


def test_a_drop_that_leaves_and_comes_back_does_not_flap() -> None:
    scores = [(0.3 * n, 0.9 if n % 2 else 0.1) for n in range(1, 20)]
    assert feed(raised(), *scores) == [True] * len(scores)


def test_without_hold_times_it_follows_at_once() -> None:
    config = Config(on_hold_s=0.0, off_hold_s=0.0)
    assert feed(AnomalyFlag(), (0, 0.9), (1, 0.1), (2, 0.9), config=config) == [True, False, True]


@pytest.mark.parametrize("start", [0.0, 100.0])
def test_time_that_jumps_back_starts_the_hold_time_again(start: float) -> None:
    flag = AnomalyFlag()
    assert feed(flag, (start, 0.9), (start - 60, 0.9), (start - 59.9, 0.9), (start - 59.8, 0.9)) == [False] * 3 + [True]
    # Up, it stays up over the jump and falls a full hold time after it.
    assert feed(flag, (start - 59, 0.0), (start - 100, 0.0), (start - 99.5, 0.0), (start - 99, 0.0)) \
        == [True, True, True, False]


def test_changed_thresholds_count_from_the_next_frame_on() -> None:
    flag = AnomalyFlag()
    assert feed(flag, (0, 0.5), (1, 0.5)) == [False, False]
    assert feed(flag, (2, 0.5), (3, 0.5), config=Config(on_score=0.5, off_score=0.4)) == [False, True]
