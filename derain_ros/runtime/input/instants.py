"""A time that only rises, even where stamps repeat or jump. Hold times are measured by it."""

from __future__ import annotations

STILL_NS = 100_000
"""Stamps of two frames that are closer together do not advance: no camera is that fast."""
GAP_NS = 10_000_000_000
"""A larger step comes from another clock or another recording, not from a camera."""
AHEAD_NS = 1_000_000_000
"""Largest lead over the stamps, gained from arrivals, that is given back as the stamps catch up."""


def advances(later_ns: int, earlier_ns: int) -> bool:
    """Whether the stamps of two successive frames of one camera tell the time between them."""
    return STILL_NS <= later_ns - earlier_ns <= GAP_NS


class Instants:
    """Follows the stamps while they advance. Where they stand still, repeat or jump, follows the arrivals of frames."""

    def __init__(self) -> None:
        self._now_ns = self._ahead_ns = 0
        self._last: tuple[int, int] | None = None

    def at(self, stamp_ns: int, received_ns: int) -> int:
        """The time of the next frame set in nanoseconds, from 0 on.

        `stamp_ns` is its stamp. `received_ns` is its arrival on any steady clock; 0 where that is not known.
        """
        now = stamp_ns, received_ns or stamp_ns
        before, self._last = self._last or now, now
        by_stamp, by_arrival = now[0] - before[0], max(0, now[1] - before[1])
        if advances(now[0], before[0]):
            self._now_ns += max(0, by_stamp - self._ahead_ns)
            self._ahead_ns = max(0, self._ahead_ns - by_stamp)
        else:
            self._now_ns += by_arrival
            ahead_ns = self._ahead_ns + by_arrival - by_stamp
            self._ahead_ns = ahead_ns if 0 <= ahead_ns <= AHEAD_NS else 0
        return self._now_ns
