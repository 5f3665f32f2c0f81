from __future__ import annotations

import pytest
from fake_networks import BALANCED, LIGHT

from derain_ros.runtime.loading.failures import AGAIN_NS, LONGEST_AGAIN_NS, ROW_NS, Failures
from derain_ros.runtime.loading.models import Network

SECOND_NS = 1_000_000_000
NETWORK, OTHER = Network("light", (LIGHT,)), Network("balanced", (BALANCED,))


class Clock:
    now_ns = 5 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_failures_count_in_rows(clock: Clock) -> None:
    failures = Failures(clock)
    assert NETWORK not in failures
    counted = []
    for pause_ns in (0, SECOND_NS, ROW_NS, ROW_NS + 1, 1):
        clock.now_ns += pause_ns
        counted.append(failures.add(NETWORK))
    assert counted == [1, 2, 3, 1, 2]
    assert NETWORK in failures and OTHER not in failures and failures.add(OTHER) == 1


@pytest.mark.parametrize(
    ("since_s", "out_ns"), [(0, AGAIN_NS), (2, AGAIN_NS), (40, 10 * SECOND_NS), (100_000, LONGEST_AGAIN_NS)]
)
def test_a_network_is_out_for_a_share_of_the_time_that_it_has_failed(clock: Clock, since_s: int, out_ns: int) -> None:
    failures = Failures(clock)
    failures.add(NETWORK)
    begun_ns = clock.now_ns
    while clock.now_ns < begun_ns + since_s * SECOND_NS:
        clock.now_ns = min(clock.now_ns + ROW_NS, begun_ns + since_s * SECOND_NS)
        failures.add(NETWORK)
    failures.leave_out(NETWORK, "no memory")
    clock.now_ns += out_ns - 1
    assert failures.is_out(NETWORK) and not failures.is_out(OTHER)
    assert failures.reasons() == ["light is not used: no memory"]
    clock.now_ns += 1
    assert not failures.is_out(NETWORK) and failures.reasons() == []


def test_what_is_out_for_good_stays_out(clock: Clock) -> None:
    failures = Failures(clock)
    failures.add(NETWORK)
    failures.leave_out(NETWORK, "sha256 is wrong", for_good=True)
    clock.now_ns += 10**20
    assert failures.is_out(NETWORK)
