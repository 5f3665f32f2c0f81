"""Brings together the frames of one instant."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from derain_ros.frame import Frame, FrameSet
from derain_ros.runtime.input.instants import advances

THERMAL = "thermal"
"""No name of another camera."""
DEPTH = 4
"""Frames of one camera that wait for their counterparts at the most."""
LATE = 1.5
"""Times what lay between a camera's last two frames after which the next one is late."""
STEPS, BAD_STEPS = 16, 2
"""The last steps of a camera's stamps that are looked at, and how many of them may not advance."""
SLOW = 0.02
"""Share of the time between arrivals of which a step of the stamps is none."""
LOST = 4
"""Frames more given up than paired, from which on stamps of which some do not advance are not believed."""
TOGETHER = 0.5
"""Share of what lies between a camera's frames within which frames arrive together."""


class Synchronizer:
    """Pairs frames by their stamps. Not thread-safe: call it from one thread.

    Thermal frames are attached to a set where one is near enough; no set waits for them. A frame is given up, and
    handed to `given_up` with its camera's name, as soon as no counterpart can come any more: a camera's stamps only
    rise, and a camera that was silent for DEPTH frames of the others, and longer than between its own, is not waited
    for until it sends again. Where the stamps of a camera stand still, or repeat or step back so that frames are given
    up for it, all are paired by their `received_ns`, until its stamps advance again for STEPS frames.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        pair_tolerance_ns: int,
        thermal_tolerance_ns: int,
        given_up: Callable[[str, Frame], None] | None = None,
    ) -> None:
        self.pair_tolerance_ns = pair_tolerance_ns
        self.thermal_tolerance_ns = thermal_tolerance_ns
        self._waiting: dict[str, deque[Frame]] = {camera: deque() for camera in cameras}
        self._stamps = {camera: _Stamps() for camera in (*cameras, THERMAL)}
        self._by_arrival = False
        self._lost = 0  # Frames given up, less the sets made, where it is more.
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
        self._stamps[camera].see(frame)
        stamps = [self._stamps[name] for name in self._waiting]
        by_arrival = (
            any(each.doubtful for each in stamps)
            if self._by_arrival or self._lost >= LOST
            else any(each.still for each in stamps)
        )
        if by_arrival is not self._by_arrival:
            self.clear()
            self._by_arrival, self._lost = by_arrival, 0
        now_ns = self._time(frame)
        if now_ns < self._last_ns.get(camera, now_ns):
            self.clear()
        if camera in self._last_ns:
            self._due_ns[camera] = now_ns + round(LATE * (now_ns - self._last_ns[camera]))
        self._last_ns[camera] = now_ns
        self._silent_for = {name: frames + 1 for name, frames in self._silent_for.items()} | {camera: 0}
        self._waiting[camera].append(frame)
        # In the order of the cameras, this one's own frame in its place.
        frames = {
            name: min(queue, key=lambda other: abs(self._time(other) - now_ns))
            for name, queue in self._waiting.items()
            if queue
        } | {camera: frame}
        times = [self._time(f) for f in frames.values()]
        if len(frames) < len(self._waiting) or max(times) - min(times) > self._tolerance_ns:
            self._give_up_hopeless()
            return None
        for name, queue in self._waiting.items():
            while queue[0] is not frames[name]:
                self._give_up(name)
            queue.popleft()
        self._lost = max(0, self._lost - 1)
        return FrameSet(frames, self.nearest_thermal(frame), time.monotonic_ns())

    def add_thermal(self, frame: Frame) -> None:
        """Keep a thermal frame for the sets to come."""
        self._stamps[THERMAL].see(frame)
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
        time_ns, tolerance_ns = self._time(frame), self._tolerance_ns
        if any(abs(self._time(counterpart) - time_ns) <= tolerance_ns for counterpart in self._waiting[other]):
            return False
        silent = self._silent_for[other] > DEPTH * (len(self._waiting) - 1) and time_ns > self._due_ns.get(other, 0)
        return silent or self._last_ns.get(other, time_ns) > time_ns + tolerance_ns

    def _give_up(self, camera: str) -> None:
        frame = self._waiting[camera].popleft()
        self._lost += 1
        if self._given_up is not None:
            self._given_up(camera, frame)

    def nearest_thermal(self, frame: Frame) -> Frame | None:
        """The thermal frame that is nearest to a frame by now; None where none is within the tolerance."""
        by_arrival = self._by_arrival or self._stamps[THERMAL].still

        def apart_ns(thermal: Frame) -> int:
            return abs(thermal.received_ns - frame.received_ns if by_arrival else thermal.stamp_ns - frame.stamp_ns)

        nearest = min(self._thermal, key=apart_ns, default=None)
        return None if nearest is None or apart_ns(nearest) > self.thermal_tolerance_ns else nearest

    def _time(self, frame: Frame) -> int:
        return frame.received_ns if self._by_arrival else frame.stamp_ns

    @property
    def _tolerance_ns(self) -> int:
        if not self._by_arrival:
            return self.pair_tolerance_ns
        return max(self.pair_tolerance_ns, round(TOGETHER * min(self._stamps[name].gap_ns for name in self._waiting)))


class _Stamps:
    """Whether the stamps of one camera tell when frames were taken, and how long after the one before its last came."""

    def __init__(self) -> None:
        self._last: Frame | None = None
        self._good: deque[bool] = deque(maxlen=STEPS)
        self.gap_ns = 0

    @property
    def doubtful(self) -> bool:
        """Whether some of the last stamps did not advance."""
        return self._good.count(False) >= BAD_STEPS

    @property
    def still(self) -> bool:
        """Whether the last ones did not, one after the other."""
        return len(self._good) >= BAD_STEPS and not any(list(self._good)[-BAD_STEPS:])

    def see(self, frame: Frame) -> None:
        last, self._last = self._last, frame
        if last is not None:
            self.gap_ns = frame.received_ns - last.received_ns
            self._good.append(
                advances(frame.stamp_ns, last.stamp_ns) and frame.stamp_ns - last.stamp_ns >= SLOW * self.gap_ns
            )
