"""Accounts for the frames of the soak test: what was sent, what the node counted, what came back, and when."""

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
    """Frames of one camera since the beginning: `sent` and `came` back here, and the counts `told` by the node."""

    sent: int
    came: int
    told: Counter[str]

    @property
    def unreceived(self) -> int:
        """Frames that were published and did not come back."""
        return self.told["published"] - self.came

    def since(self, before: Counts) -> Counts:
        """The difference of these counts and the earlier counts `before`."""
        told = Counter({key: n - before.told[key] for key, n in self.told.items()})
        return Counts(self.sent - before.sent, self.came - before.came, told)

    def frames(self) -> dict[str, int]:
        """The number of frames in, restored, passed on and dropped, by the names in FRAMES."""
        published, restored = self.told["published"], self.told[Action.RESTORED.value]
        counts = (self.sent, restored, published - restored, self.sent - published)
        return dict(zip(FRAMES, counts, strict=True))

    def causes(self, camera: str, deaf: bool) -> dict[str, int]:
        """Frames of this camera that were not published, by cause; causes without a frame are left out.

        Frames that never reached the node and that it did not count have a known cause only if the node may have been
        `deaf` to the camera.
        """
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
    """The integers among the `values` that /diagnostics has for a camera."""
    return Counter({key: int(value) for key, value in values.items() if value.lstrip("-").isdecimal()})


def deaf_to(kind: str, before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The cameras from which the node may miss frames while a fault of this kind lasts.

    `before` and `after` say how often each camera had been restarted before and after the fault.
    """
    return [camera for camera in CAMERAS if kind in DEAF or after[camera] > before[camera]]


def unreceived(counts: Iterable[Counts]) -> int:
    """Frames of all cameras that were published and did not come back.

    Below 0 if more frames of a camera came back than were published: then it is the least such figure.
    """
    of_each = [each.unreceived for each in counts]
    return min(of_each) if min(of_each) < 0 else sum(of_each)


def stall_ms(sent: Sequence[Sent], came: Sequence[tuple[str, int, int]], begun_ns: int, ended_ns: int) -> float:
    """The longest time in ms from sending a good frame to the next output of its camera, over frames sent in a span.

    Delays of the cameras themselves in that time are subtracted. If no output follows, time counts to the span's end.
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
