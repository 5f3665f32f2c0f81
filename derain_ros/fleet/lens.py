"""What the recordings say of a lens: how bad it is, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from derain_ros.frame import Alarm
from derain_ros.replay.account import Output

PAUSE_NS = 10_000_000_000
"""Of the recording, for which an alarm may be down and is still the same: wipers and lamps end it for moments only."""


@dataclass(frozen=True)
class Seen:
    """What one bag says of the lens of a `camera`: of `frames` that were judged the alarm was up in `affected` and
    severe in `severe`; `hurt` is the sum of the severity of the affected ones. `alarms` are first and last stamp of
    each stretch of alarm, `begin_ns` and `end_ns` the stamps of the first and the last frame."""

    camera: str
    topic: str
    frames: int = 0
    affected: int = 0
    severe: int = 0
    hurt: float = 0.0
    begin_ns: int = 0
    end_ns: int = 0
    alarms: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Lens:
    """What all bags of a robot say of one of its lenses: the shares of its frames in which it was affected, and
    severely so, and the mean `severity` of all frames, all in [0, 1] and 0 where nothing was judged.

    `since_ns` is the first stamp of the alarm that is up at the end of the last bag; where none is, `until_ns` is the
    last stamp of the last alarm and `since_ns` its first. Both are None where there was none. `bags` are indices of the
    bags, the worst first.
    """

    robot: str
    camera: str
    topic: str
    frames: int
    affected: float
    severe: float
    severity: float
    since_ns: int | None
    until_ns: int | None
    bags: list[int]


def seen_of(outputs: Iterable[Output], camera: str, topic: str) -> Seen:
    """What the frames of one bag that came out say of a camera's lens."""
    judged = [o for o in outputs if o.camera == camera and not np.isnan(o.severity)]
    if not judged:
        return Seen(camera, topic)
    alarms: list[tuple[int, int]] = []
    up = [o for o in judged if o.alarm != Alarm.CLEAR.name.lower()]
    for o in up:
        goes_on = bool(alarms) and 0 <= o.stamp_ns - alarms[-1][1] <= PAUSE_NS
        alarms[-1:] = [(alarms[-1][0], o.stamp_ns)] if goes_on else [*alarms[-1:], (o.stamp_ns, o.stamp_ns)]
    return Seen(
        camera,
        topic,
        len(judged),
        len(up),
        sum(o.alarm == Alarm.SEVERE.name.lower() for o in up),
        round(sum(o.severity for o in up), 6),
        judged[0].stamp_ns,
        judged[-1].stamp_ns,
        alarms,
    )


def lenses_of(bags: Sequence[tuple[str, Sequence[Seen]]]) -> list[Lens]:
    """Every lens of the fleet, the worst first, of each bag's robot and what it says of its lenses."""
    found = [(robot, seen.camera, seen.topic, n, seen) for n, (robot, lenses) in enumerate(bags) for seen in lenses]
    found.sort(key=lambda each: (*each[:3], each[4].begin_ns, each[3]))
    lenses = []
    for (robot, camera, topic), group in groupby(found, key=lambda each: each[:3]):
        of_bags = [(n, seen) for *_, n, seen in group]
        frames = sum(seen.frames for _, seen in of_bags)
        alarms, stands = _joined([seen for _, seen in of_bags if seen.frames])
        since_ns, until_ns = alarms[-1] if alarms else (None, None)
        worst = sorted(of_bags, key=lambda each: (-each[1].hurt / max(1, each[1].frames), each[0]))
        lenses.append(
            Lens(
                robot,
                camera,
                topic,
                frames,
                sum(seen.affected for _, seen in of_bags) / max(1, frames),
                sum(seen.severe for _, seen in of_bags) / max(1, frames),
                sum(seen.hurt for _, seen in of_bags) / max(1, frames),
                since_ns,
                None if stands else until_ns,
                [n for n, _ in worst],
            )
        )
    return sorted(lenses, key=lambda lens: (-lens.severity, -lens.affected, lens.robot, lens.camera, lens.topic))


def _joined(bags: Sequence[Seen]) -> tuple[list[tuple[int, int]], bool]:
    """The alarms of bags that follow one another, and whether the last one is up at their end; what lies between two
    bags was not recorded, and ends no alarm."""
    alarms: list[tuple[int, int]] = []
    down_ns = 2 * PAUSE_NS  # Of the recording, since the last alarm.
    for bag in bags:
        for number, (first, last) in enumerate(bag.alarms):
            goes_on = not number and down_ns + first - bag.begin_ns <= PAUSE_NS
            alarms[-1:] = [(alarms[-1][0], last)] if goes_on else [*alarms[-1:], (first, last)]
        down_ns = bag.end_ns - bag.alarms[-1][1] if bag.alarms else down_ns + bag.end_ns - bag.begin_ns
    return alarms, bool(alarms) and down_ns <= PAUSE_NS
