"""The condition of a lens according to the recordings: how bad it is, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from derain_ros.frame import Alarm
from derain_ros.replay.account import Output

PAUSE_NS = 10_000_000_000
"""Longest break in recorded time after which an alarm is still the same: wipers and lamps end it for moments only."""


@dataclass(frozen=True)
class Seen:
    """The lens of a `camera` in one bag.

    Of `frames` judged frames, the alarm was on in `affected` and severe in `severe`. `hurt` is the sum of the severity
    of the affected frames. `alarms` has the first and last stamp of each alarm; `begin_ns` and `end_ns` are the stamps
    of the first and the last judged frame.
    """

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
class RobotLens:
    """One lens of a robot in all of its bags.

    `affected` and `severe` are the shares of judged frames with an alarm and with a severe one. `severity` is the mean
    over all judged frames; frames without an alarm count as 0. All three are in [0, 1], and 0 if nothing was judged. If
    an alarm is on at the end of the last bag, `since_ns` is its first stamp and `until_ns` is None. Else they are the
    first and the last stamp of the last alarm, or None if there was no alarm. `bags` are indices of the bags, the worst
    first.
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
    """The lens of a camera according to the outputs of one bag; outputs without a severity were not judged."""
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


def lenses_of(bags: Sequence[tuple[str, Sequence[Seen]]]) -> list[RobotLens]:
    """Every lens of the fleet, the worst first; `bags` has each bag's robot and lenses."""
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
            RobotLens(
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
    """The alarms of consecutive bags, and whether the last alarm is on at their end.

    The time between two bags was not recorded, and ends no alarm.
    """
    alarms: list[tuple[int, int]] = []
    down_ns = 2 * PAUSE_NS  # Recorded time since the last alarm.
    for bag in bags:
        for number, (first, last) in enumerate(bag.alarms):
            goes_on = not number and down_ns + first - bag.begin_ns <= PAUSE_NS
            alarms[-1:] = [(alarms[-1][0], last)] if goes_on else [*alarms[-1:], (first, last)]
        down_ns = bag.end_ns - bag.alarms[-1][1] if bag.alarms else down_ns + bag.end_ns - bag.begin_ns
    return alarms, bool(alarms) and down_ns <= PAUSE_NS
