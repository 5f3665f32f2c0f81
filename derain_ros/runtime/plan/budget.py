"""How long stages take and how often frame sets come. Both are medians, so that an outlier changes nothing."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from statistics import median

RUNS = 5
"""How many of a stage's last runs are judged: three slow ones in a row are load, one is an outlier."""
GAPS = 20
"""How many gaps between frame sets the camera's period is the median of."""
ENOUGH_GAPS = 3
"""The fewest gaps from which the period is known."""


class Times:
    """The milliseconds of the last runs of each kind, by a key that has all that they depend on."""

    def __init__(self) -> None:
        self._runs: defaultdict[Hashable, deque[float]] = defaultdict(lambda: deque(maxlen=RUNS))

    def learn(self, key: Hashable, ms: float) -> None:
        """Add a run."""
        self._runs[key].append(ms)

    def forget(self, key: Hashable) -> None:
        """Forget the runs of a kind."""
        self._runs.pop(key, None)

    def usual(self, key: Hashable) -> float:
        """The median of the last runs; 0 where there are none."""
        return median(self._runs[key]) if self._runs.get(key) else 0.0


class Cadence:
    """How often frame sets come, by the last ones."""

    def __init__(self) -> None:
        self._arrivals: deque[int] = deque(maxlen=GAPS + 1)
        self._stamps: deque[int] = deque(maxlen=GAPS + 1)

    def period_ms(self, now_ns: int, stamp_ns: int) -> float:
        """The median time between frame sets, this one included; 0 until there are enough gaps.

        It is measured by stamps and by arrivals, and the longer one counts. A bag may be played slowly, and a sender
        that waits for results sends as fast as it gets them.
        """
        self._arrivals.append(now_ns)
        self._stamps.append(stamp_ns)
        return max(_median_gap_ms(self._arrivals), _median_gap_ms(self._stamps))


def _median_gap_ms(times: Sequence[int]) -> float:
    gaps = sorted(later - earlier for earlier, later in zip(times, list(times)[1:], strict=False))
    return gaps[len(gaps) // 2] / 1e6 if len(gaps) >= ENOUGH_GAPS else 0.0
