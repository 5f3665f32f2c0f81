"""The search for the highest speed, and what a play at one speed comes to."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from derain_ros.bench.meters import processor_s, watched
from derain_ros.replay.account import Account, Output

pytest.importorskip("rosbags")

from derain_ros.bench.replay import FASTEST, SLOWEST, at_rate, search  # noqa: E402


def searched(limit: float) -> tuple[float, list[float]]:
    """The speed found where there is no loss up to `limit`, and the speeds that were tried."""
    tried: list[float] = []

    def fares(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    return search(fares, limit >= 1), tried


@pytest.mark.parametrize("limit", [0.07, 0.3, 0.99, 1.0, 1.3, 3.0, 20.0])
def test_the_highest_speed_is_found_to_a_twelfth(limit: float) -> None:
    found, tried = searched(limit)
    assert found <= limit < found * 1.1
    assert 1.0 not in tried and len(tried) <= 9


def test_the_search_ends() -> None:
    assert searched(1e9) == (FASTEST, [2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    assert searched(0.0) == (0.0, [0.5, 0.25, 0.125, SLOWEST])


def test_what_a_play_comes_to() -> None:
    outputs = [Output("left", k, "restored", True, 0.9, 10.0 + k) for k in range(20)]
    account = Account(Counter(left=20), outputs, recorded_s=1.9, played_s=0.95)
    assert at_rate(2.0, account).no_loss and at_rate(2.0, account).hertz == pytest.approx(20.0)
    assert not at_rate(2.5, account).no_loss, "the player was too slow"
    late = Account(Counter(left=20), [*outputs[1:], Output("left", 0, "passed_budget", True, 0.9, 10.0)])
    late.recorded_s = late.played_s = 1.0
    assert at_rate(1.0, late).over_budget == 1 and not at_rate(1.0, late).no_loss
    lost = Account(Counter(left=21), outputs, recorded_s=1.0, played_s=1.0)
    assert at_rate(1.0, lost).dropped == 1 and not at_rate(1.0, lost).no_loss
    assert not at_rate(1.0, Account(Counter(left=0))).no_loss


def test_a_process_is_watched_to_the_end() -> None:
    usage: list[object] = []
    before = processor_s()
    with watched(os.getpid(), usage):  # type: ignore[arg-type]
        while processor_s() - before < 0.2:
            np.linalg.svd(np.ones((60, 60)))
    [*_, last] = usage
    taken = np.diff([0.0, *(u.seconds for u in usage)]) @ [u.cores for u in usage]  # type: ignore[attr-defined]
    assert taken > 0.15 and last.memory_mb > 1  # type: ignore[attr-defined]


def test_a_process_that_is_gone_takes_nothing_that_is_known() -> None:
    assert np.isnan(processor_s(Path("/nowhere")))
