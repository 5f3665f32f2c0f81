"""Brings together the frames of one instant."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from derain_ros.frame import Frame, FrameSet

DEPTH = 4
"""Frames of one camera that wait for their counterparts at the most."""
LATE = 1.5
"""Times what lay between a camera's last two frames after which the next one is late."""


class Synchronizer:
    """Pairs frames by their stamps. Not thread-safe: call it from one thread.

    Thermal frames are attached to a set where one is near enough; no set waits for them. A frame is given up, and
    handed to `given_up` with its camera's name, as soon as no counterpart can come any more: a camera's stamps only
    rise, and a camera that was silent for DEPTH frames of the others, and longer than between its own, is not waited
    for until it sends again.
    """

    def __init__(self, cameras: Sequence[str], pair_tolerance_ns: int, thermal_tolerance_ns: int,
                 given_up: Callable[[str, Frame], None] | None = None) -> None:
        self.pair_tolerance_ns = pair_tolerance_ns
        self.thermal_tolerance_ns = thermal_tolerance_ns
        self._waiting: dict[str, deque[Frame]] = {camera: deque() for camera in cameras}
        self._last_ns: dict[str, int] = {}
        self._due_ns: dict[str, int] = {}
        self._silent_for = dict.fromkeys(cameras, 0)
        self._given_up = given_up
        self._thermal: deque[Frame] = deque(maxlen=DEPTH)

    def add(self, camera: str, frame: Frame) -> FrameSet | None:
        """Take one camera's frame; the frame set it completes, or None while a counterpart is missing.

        A frame older than the camera's last one means that time jumped back: all that waits is given up.
        """
        if camera not in self._waiting:
            raise ValueError(f"{camera}: no such camera; there are {', '.join(self._waiting)}")
        if frame.stamp_ns < self._last_ns.get(camera, frame.stamp_ns):
            self.clear()
        if camera in self._last_ns:
            self._due_ns[camera] = frame.stamp_ns + round(LATE * (frame.stamp_ns - self._last_ns[camera]))
        self._last_ns[camera] = frame.stamp_ns
        self._silent_for = {name: frames + 1 for name, frames in self._silent_for.items()} | {camera: 0}
        self._waiting[camera].append(frame)
        # In the order of the cameras, this one's own frame in its place.
        frames = {name: min(queue, key=lambda other: abs(other.stamp_ns - frame.stamp_ns))
                  for name, queue in self._waiting.items() if queue} | {camera: frame}
        stamps = [f.stamp_ns for f in frames.values()]
        if len(frames) < len(self._waiting) or max(stamps) - min(stamps) > self.pair_tolerance_ns:
            self._give_up_hopeless()
            return None
        for name, queue in self._waiting.items():
            while queue[0] is not frames[name]:
                self._give_up(name)
            queue.popleft()
        return FrameSet(frames, self._nearest_thermal(frame.stamp_ns), time.monotonic_ns())

    def add_thermal(self, frame: Frame) -> None:
        """Keep a thermal frame for the sets to come."""
        if self._thermal and frame.stamp_ns < self._thermal[-1].stamp_ns:
            self._thermal.clear()
        self._thermal.append(frame)

    def clear(self) -> None:
        """Give up every frame that waits, as after a jump back in time."""
        for name, queue in self._waiting.items():
            while queue:
                self._give_up(name)
        self._last_ns.clear()
        self._due_ns.clear()

    def _give_up_hopeless(self) -> None:
        """Give up, oldest first, the frames whose counterpart cannot come, and those in excess of DEPTH."""
        for name, queue in self._waiting.items():
            others = [other for other in self._waiting if other != name]
            while queue and (len(queue) > DEPTH or any(self._hopeless(queue[0], other) for other in others)):
                self._give_up(name)

    def _hopeless(self, frame: Frame, other: str) -> bool:
        """Whether `other` has no counterpart of `frame` and will send none."""
        if any(abs(counterpart.stamp_ns - frame.stamp_ns) <= self.pair_tolerance_ns
               for counterpart in self._waiting[other]):
            return False
        silent = (self._silent_for[other] > DEPTH * (len(self._waiting) - 1)
                  and frame.stamp_ns > self._due_ns.get(other, 0))
        return silent or self._last_ns.get(other, frame.stamp_ns) > frame.stamp_ns + self.pair_tolerance_ns

    def _give_up(self, camera: str) -> None:
        frame = self._waiting[camera].popleft()
        if self._given_up is not None:
            self._given_up(camera, frame)

    def _nearest_thermal(self, stamp_ns: int) -> Frame | None:
        nearest = min(self._thermal, key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > self.thermal_tolerance_ns:
            return None
        return nearest
