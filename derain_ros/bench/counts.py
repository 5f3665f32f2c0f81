"""Keeps the books of the long run: what was sent, what the node counted, what came back, and when."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from derain_ros.bench.camera import CAMERAS
from derain_ros.bench.senders import Sent
from derain_ros.bench.soaked import DEAF, FRAMES, UNKNOWN
from derain_ros.frame import Action

LOST, UNREADABLE = "lost on the way to the node, as it counted", "in the node, could not be read"
NEWER, WAITING = "in the node, a newer one took its place", "in the node, not yet done"
UNHEARD = "sent while the node did not listen"


@dataclass(frozen=True)
class Counts:
    """What was counted of one camera since the beginning: here sent and came back, and what the node tells."""

    sent: int
    came: int
    told: Counter[str]

    @property
    def unreceived(self) -> int:
        """Frames that were published and did not come back."""
        return self.told["published"] - self.came

    def since(self, before: Counts) -> Counts:
        """What was counted since then."""
        told = Counter({key: n - before.told[key] for key, n in self.told.items()})
        return Counts(self.sent - before.sent, self.came - before.came, told)

    def frames(self) -> dict[str, int]:
        """Frames in, restored, passed on and dropped."""
        published, restored = self.told["published"], self.told[Action.RESTORED.value]
        counts = (self.sent, restored, published - restored, self.sent - published)
        return dict(zip(FRAMES, counts, strict=True))

    def causes(self, camera: str, deaf: bool) -> dict[str, int]:
        """Frames of this camera that were not published, by cause. Those that never reached the node and that it did
        not count are explained where it may have been `deaf` to the camera."""
        told = self.told
        unheard = self.sent - told["received"] - told["lost"]
        found = {
            LOST: told["lost"],
            UNHEARD if deaf and unheard > 0 else f"{UNKNOWN}, {camera}": unheard,
            UNREADABLE: told["unusable"],
            NEWER: told["dropped"],
            WAITING: told["waiting"],
        }
        return {cause: n for cause, n in found.items() if n}


def told_of(values: Mapping[str, str]) -> Counter[str]:
    """The counts among the `values` that /diagnostics tells of a camera."""
    return Counter({key: int(value) for key, value in values.items() if value.lstrip("-").isdecimal()})


def deaf_to(kind: str, before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The cameras of which the node may not hear some frames while a fault of this kind lasts, by how often each camera
    was restarted before and after it."""
    return [camera for camera in CAMERAS if kind in DEAF or after[camera] > before[camera]]


def unreceived(counts: Iterable[Counts]) -> int:
    """Frames of all cameras that were published and did not come back; below 0 where of any camera more came."""
    of_each = [each.unreceived for each in counts]
    return min(of_each) if min(of_each) < 0 else sum(of_each)


def stall_ms(sent: Sequence[Sent], came: Sequence[tuple[str, int, int]], begun_ns: int, ended_ns: int) -> float:
    """The longest time from sending a frame of a camera to the next output of that camera, of those sent in a span.

    What the machine held the cameras up by in that time is taken off. The last frames of the span may be those for
    which nothing more comes.
    """
    longest = 0.0
    for camera in CAMERAS:
        times = [came_ns for name, _, came_ns in came if name == camera]
        own = [s for s in sent if s.camera == camera and begun_ns <= s.sent_ns]
        for k, s in enumerate(own):
            at = bisect_right(times, s.sent_ns)
            until_ns = times[at] if at < len(times) else ended_ns
            if s.sent_ns >= ended_ns or not s.good:
                continue
            held_ns = sum(
                max(0, min(until_ns, other.sent_ns) - max(s.sent_ns, other.sent_ns - other.late_ns))
                for other in own[k + 1 :]
            )
            longest = max(longest, (until_ns - s.sent_ns - held_ns) / 1e6)
    return longest
