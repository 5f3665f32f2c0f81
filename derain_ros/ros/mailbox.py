"""What waits between the executor and the worker: one frame set, newest wins, and frames to pass on."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from derain_ros.frame import Action, FrameSet


@dataclass(frozen=True, eq=False)
class Job:
    """A frame set for the worker: to be processed, or, where `action` says so, to be passed on because of `detail`."""

    frames: FrameSet
    action: Action | None = None
    detail: str = ""


PASSED_ON = 8
"""Frames of one camera that wait to be passed on at the most; it costs nothing to catch up on them."""


class Mailbox:
    """Holds one frame set to process, and PASSED_ON frames of each camera to pass on; the worker takes the oldest.

    Closed at first: what is put in is refused until `open`.
    """

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._open = False
        self._changed = threading.Condition()

    def put(self, job: Job) -> list[Job]:
        """Leave a job; returns those dropped for it: older ones of its kind, or itself while the mailbox is closed."""
        with self._changed:
            if not self._open:
                return [job]
            older = [old for old in self._jobs if _kind(old) == _kind(job)]
            dropped = older[: max(0, len(older) + 1 - (1 if job.action is None else PASSED_ON))]
            self._jobs = [old for old in self._jobs if old not in dropped] + [job]
            self._changed.notify()
            return dropped

    def take(self) -> Job | None:
        """The oldest job, once there is one; None as soon as the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._open)
            return self._jobs.pop(0) if self._open else None

    def waits(self) -> bool:
        """Whether a frame set to process is there."""
        with self._changed:
            return any(job.action is None for job in self._jobs)

    def open(self) -> None:
        """Begin to take jobs in."""
        with self._changed:
            self._open = True

    def close(self) -> list[Job]:
        """Refuse further jobs and release the worker; returns the jobs that were never taken."""
        with self._changed:
            self._open = False
            jobs, self._jobs = self._jobs, []
            self._changed.notify_all()
            return jobs


def _kind(job: Job) -> tuple[str, ...]:
    return () if job.action is None else tuple(job.frames.frames)
