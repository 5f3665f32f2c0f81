"""The latency budget: learns how long restoring takes and says whether it still fits."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

QUANTILE = 0.95
MEMORY_NS = 5_000_000_000
"""How long a measured time counts. The newest counts until there is a newer one."""
PROBE_NS = 1_000_000_000
"""How long after the last restoration it is tried again against expectation, so that it comes back."""
PROBE_SHARE = 0.2
"""Largest share of the time that may go into such trials, however long one takes."""


class Budget:
    """Learned times of restoring one frame set; `clock` gives monotonic nanoseconds."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._times: deque[tuple[int, float]] = deque(maxlen=1000)
        self.misses = 0
        """Restorations that ended after their budget."""

    def left_ms(self, received_ns: int, budget_ms: float) -> float:
        """Milliseconds until the result of a frame set that arrived at `received_ns` must be out; negative: late."""
        return budget_ms - (self._clock() - received_ns) / 1e6

    @property
    def expected_ms(self) -> float:
        """How long restoring will hardly exceed: a high quantile of the recent times; 0 while there is none."""
        now = self._clock()
        while len(self._times) > 1 and now - self._times[0][0] > MEMORY_NS:
            self._times.popleft()
        ranked = sorted(ms for _, ms in self._times)
        return ranked[math.ceil(QUANTILE * len(ranked)) - 1] if ranked else 0.0

    def allows(self, received_ns: int, budget_ms: float) -> bool:
        """Whether to restore a frame set that arrived at `received_ns`: it will be in time, or it is time to try."""
        left = self.left_ms(received_ns, budget_ms)
        if left <= 0:
            return False
        if self.expected_ms <= left:
            return True
        last_ns, last_ms = self._times[-1]
        return self._clock() - last_ns >= max(PROBE_NS, last_ms * 1e6 / PROBE_SHARE)

    def learn(self, restore_ms: float) -> None:
        """Take in how long a restoration took; a cold start is not to be told."""
        self._times.append((self._clock(), restore_ms))

    def met(self, received_ns: int, budget_ms: float) -> bool:
        """Whether the frame set is still in time after it was restored; if not, the miss is counted."""
        if self.left_ms(received_ns, budget_ms) >= 0:
            return True
        self.misses += 1
        return False
