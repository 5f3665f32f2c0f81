"""Brings together the frames of one instant."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from derain_ros.frame import Frame, FrameSet

DEPTH = 4
"""Frames of one camera that wait for their counterparts at the most."""


class Synchronizer:
    """Pairs frames by their stamps. Not thread-safe: call it from one thread.

    Thermal frames are attached to a set where one is near enough; no set waits for them.
    """

    def __init__(self, cameras: Sequence[str], pair_tolerance_ns: int, thermal_tolerance_ns: int) -> None:
        self.pair_tolerance_ns = pair_tolerance_ns
        self.thermal_tolerance_ns = thermal_tolerance_ns
        self.dropped = 0
        """Frames that were given up because no counterpart came."""
        self._waiting: dict[str, deque[Frame]] = {camera: deque() for camera in cameras}
        self._last_ns: dict[str, int] = {}
        self._thermal: deque[Frame] = deque(maxlen=DEPTH)

    def add(self, camera: str, frame: Frame) -> FrameSet | None:
        """Take one camera's frame; the frame set it completes, or None while a counterpart is missing.

        A frame older than the camera's last one means that time jumped back: all that waits is given up.
        """
        if camera not in self._waiting:
            raise ValueError(f"{camera}: no such camera; there are {', '.join(self._waiting)}")
        if frame.stamp_ns < self._last_ns.get(camera, frame.stamp_ns):
            self.clear()
        self._last_ns[camera] = frame.stamp_ns
        self._waiting[camera].append(frame)
        frames = {name: min(queue, key=lambda other: abs(other.stamp_ns - frame.stamp_ns))
                  for name, queue in self._waiting.items() if queue} | {camera: frame}
        stamps = [f.stamp_ns for f in frames.values()]
        if len(frames) < len(self._waiting) or max(stamps) - min(stamps) > self.pair_tolerance_ns:
            if len(self._waiting[camera]) > DEPTH:
                self._waiting[camera].popleft()
                self.dropped += 1
            return None
        for name, queue in self._waiting.items():
            while queue.popleft() is not frames[name]:
                self.dropped += 1
        ordered = {name: frames[name] for name in self._waiting}
        return FrameSet(ordered, self._nearest_thermal(frame.stamp_ns), time.monotonic_ns())

    def add_thermal(self, frame: Frame) -> None:
        """Keep a thermal frame for the sets to come."""
        if self._thermal and frame.stamp_ns < self._thermal[-1].stamp_ns:
            self._thermal.clear()
        self._thermal.append(frame)

    def clear(self) -> None:
        """Give up every frame that waits, as after a jump back in time."""
        self.dropped += sum(len(queue) for queue in self._waiting.values())
        for queue in self._waiting.values():
            queue.clear()
        self._last_ns.clear()
        self._thermal.clear()

    def _nearest_thermal(self, stamp_ns: int) -> Frame | None:
        nearest = min(self._thermal, key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > self.thermal_tolerance_ns:
            return None
        return nearest
