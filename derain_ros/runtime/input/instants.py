"""A time that only rises, whatever stamps do: what must hold for a while is judged by it."""

from __future__ import annotations

STILL_NS = 100_000
"""Stamps of two frames that are less apart do not advance: no camera is that fast."""
GAP_NS = 10_000_000_000
"""A larger step is that of another clock or another recording, not of a camera."""
AHEAD_NS = 1_000_000_000
"""How far the arrivals may have taken time ahead of the stamps for these to catch up."""


def advances(later_ns: int, earlier_ns: int) -> bool:
    """Whether stamps of two frames in a row of one camera tell how much time is between them."""
    return STILL_NS <= later_ns - earlier_ns <= GAP_NS


class Instants:
    """Goes on as stamps do where they advance, and otherwise, where they stand still, repeat or jump, as frames
    arrive."""

    def __init__(self) -> None:
        self._now_ns = self._ahead_ns = 0
        self._last: tuple[int, int] | None = None

    def at(self, stamp_ns: int, received_ns: int) -> int:
        """The time in nanoseconds, from 0 on, of the next frame set: by its stamp, and by when it arrived on any
        steady clock, 0 where that is not known."""
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
