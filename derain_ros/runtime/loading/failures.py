"""Counts the failures of networks, and keeps which networks are out and for how long."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from derain_ros.engine import EngineError
from derain_ros.runtime.loading.models import Network

ROW_NS = 60_000_000_000
"""A failure this long after the one before starts a new row."""
AGAIN_NS, LONGEST_AGAIN_NS, AGAIN_SHARE = 1_000_000_000, 600_000_000_000, 0.25
"""How long a failing network is out: this share of the time since its row began, within these limits. The cause may
pass soon: memory that another process took, a device that was reset."""


class Hang(EngineError):
    """A network does not return."""


@dataclass(frozen=True)
class _Row:
    times: int
    since_ns: int
    last_ns: int


@dataclass(frozen=True)
class _Out:
    why: str
    until_ns: float


class Failures:
    """The failures of networks, in rows, and the networks that are out; `clock` gives monotonic nanoseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._rows: dict[Network, _Row] = {}
        self._out: dict[Network, _Out] = {}

    def __contains__(self, network: Network) -> bool:
        """Whether it has ever failed."""
        return network in self._rows

    def add(self, network: Network) -> int:
        """Count a failure. Returns how many its row has."""
        now, row = self._clock(), self._rows.get(network)
        if row is None or now - row.last_ns > ROW_NS:
            row = _Row(0, now, now)
        self._rows[network] = _Row(row.times + 1, row.since_ns, now)
        return row.times + 1

    def leave_out(self, network: Network, why: str, for_good: bool = False) -> None:
        """Stop using a network that has failed, for a while or for good."""
        now = self._clock()
        pause_ns = min(LONGEST_AGAIN_NS, max(AGAIN_NS, AGAIN_SHARE * (now - self._rows[network].since_ns)))
        self._out[network] = _Out(why, math.inf if for_good else now + pause_ns)

    def is_out(self, network: Network) -> bool:
        """Whether a network is out now."""
        out = self._out.get(network)
        return out is not None and self._clock() < out.until_ns

    def reasons(self) -> list[str]:
        """Why networks are out, as text."""
        out = list(self._out.items())
        return [f"{network.name} is not used: {it.why}" for network, it in out if self.is_out(network)]
