"""How many bits a 16-bit camera uses, judged by many frames: what the network sees must not jump between two."""

from __future__ import annotations

from dataclasses import replace

from derain_ros.frame import Frame
from derain_ros.runtime.input.encoding import WIDE, bits_used

RISES_AFTER_NS = 300_000_000
FALLS_AFTER_NS = 60_000_000_000
"""How long frames must use more bits, or fewer, until it counts. A dark road uses few bits for long."""


class Depth:
    """The bits of one camera."""

    def __init__(self) -> None:
        self.bits = 0
        self._other = 0
        self._since_ns = 0

    def apply(self, frame: Frame) -> Frame:
        """A 16-bit frame with the `bits` of its camera; any other as it is. Time is that of the stamps."""
        if frame.encoding not in WIDE:
            return frame
        used = bits_used(frame.image)
        if not self.bits:
            self.bits = used
        rises, away = used > self.bits, used != self.bits
        if not away or rises != (self._other > self.bits) or not self._other or frame.stamp_ns < self._since_ns:
            self._other, self._since_ns = used if away else 0, frame.stamp_ns
        elif frame.stamp_ns - self._since_ns >= (RISES_AFTER_NS if rises else FALLS_AFTER_NS):
            self.bits, self._other = used, 0
        return replace(frame, bits=self.bits)
