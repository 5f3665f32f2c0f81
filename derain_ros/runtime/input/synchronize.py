"""Pairs the frames of one instant."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from derain_ros.frame import Frame, FrameSet
from derain_ros.runtime.input.instants import advances

THERMAL = "thermal"
"""Name of the thermal camera; no other camera has it."""
DEPTH = 4
"""The most frames of one camera that wait for their counterparts."""
LATE = 1.5
"""A camera's next frame is late after this many times the time between its last two."""
STEPS, BAD_STEPS = 16, 2
"""How many of the last steps of a camera's stamps are checked, and from how many without an advance the stamps are
doubtful."""
SLOW = 0.02
"""A step of the stamps under this share of the time between arrivals is no advance."""
LOST = 4
"""From this many more frames given up than sets made, doubtful stamps are no longer used."""
TOGETHER = 0.5
"""Share of the time between a camera's frames within which arrivals count as one instant."""


class Synchronizer:
    """Pairs frames by their stamps. Not thread-safe: call it from one thread.

    A thermal frame is attached to a set where one is near enough; no set waits for it.

    A frame is given up as soon as no counterpart can come any more, and is handed to `given_up` with its camera's name.
    That is the case where the other camera has sent a later frame, as its stamps only rise. It is also the case where
    the other camera has been silent for DEPTH frames of the others, and longer than between its own: nothing waits for
    it until it sends again.

    Where the stamps of a camera stand still, all cameras are paired by `received_ns`. The same holds where stamps
    repeat or step back so often that frames are given up. It ends when the stamps have advanced for STEPS frames.
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
        self._lost = 0  # Frames given up less sets made; not below 0.
        self._last_ns: dict[str, int] = {}
        self._due_ns: dict[str, int] = {}
        self._silent_for = dict.fromkeys(cameras, 0)
        self._given_up = given_up
        self._thermal: deque[Frame] = deque(maxlen=DEPTH)

    def add(self, camera: str, frame: Frame) -> FrameSet | None:
        """Add one camera's frame. Returns the frame set that it completes, or None while a counterpart is missing.

        A frame older than the camera's last one means that time jumped back: all waiting frames are given up.
        ValueError for an unknown camera.
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
        # In the order of the cameras, with the new frame in its place.
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
        """Keep a thermal frame for later sets."""
        self._stamps[THERMAL].see(frame)
        if self._thermal and frame.stamp_ns < self._thermal[-1].stamp_ns:
            self._thermal.clear()
        self._thermal.append(frame)

    def clear(self) -> None:
        """Give up all waiting frames, as after a jump back in time."""
        for name, queue in self._waiting.items():
            while queue:
                self._give_up(name)
        self._last_ns.clear()
        self._due_ns.clear()

    def _give_up_hopeless(self) -> None:
        """Give up, oldest first, the frames whose counterpart cannot come, and those beyond DEPTH."""
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
        """The thermal frame so far that is nearest to `frame`; None where none is within the tolerance."""
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
    """Whether one camera's stamps tell when frames were taken; `gap_ns` is the time between its last two arrivals."""

    def __init__(self) -> None:
        self._last: Frame | None = None
        self._good: deque[bool] = deque(maxlen=STEPS)
        self.gap_ns = 0

    @property
    def doubtful(self) -> bool:
        """Whether at least BAD_STEPS of the last STEPS steps did not advance."""
        return self._good.count(False) >= BAD_STEPS

    @property
    def still(self) -> bool:
        """Whether none of the last BAD_STEPS steps advanced."""
        return len(self._good) >= BAD_STEPS and not any(list(self._good)[-BAD_STEPS:])

    def see(self, frame: Frame) -> None:
        last, self._last = self._last, frame
        if last is not None:
            self.gap_ns = frame.received_ns - last.received_ns
            self._good.append(
                advances(frame.stamp_ns, last.stamp_ns) and frame.stamp_ns - last.stamp_ns >= SLOW * self.gap_ns
            )
