"""The record of a soak test: its faults, what became of the frames, and whether all limits were kept."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from derain_ros.replay.record import Record, known, read_json, write_json
from derain_ros.replay.typed import read_as

FORMAT = 1
OWN = ("seed", "rate", "warm", "crash", "twice", "kept")
"""Fields of a soak test that are written unchanged."""
FRAMES = ("in", "restored", "passed", "dropped")
UNKNOWN = "not known"
"""The cause for drops that no count explains; the camera is appended, so that cameras cannot cancel each other out."""
INTERRUPTED, TERMINATED = "interrupted", "terminated"
"""How an aborted run ended: by Ctrl-C or by SIGTERM."""
ANEW = "configured anew"
"""The fault after which memory, threads and files are compared: all earlier engines are unloaded then."""
JUDGED_FROM = 3
"""How often this fault must have been played after the warm-up."""
DEAF = ("deactivated", ANEW)
"""Faults that take the node down: it cannot count frames that it does not receive, and its outputs may be lost."""
PAUSING = (*DEAF, "cameras stop", "camera restarts", "encoding unknown", "engine hangs", "node stopped")
"""Faults that may keep a camera waiting for as long as they last."""


@dataclass(frozen=True)
class FaultResult:
    """One fault and what followed, until the next one; `begun_s` and `ended_s` count from the begin of the run.

    `restored_after_s` is from the fault's end until a frame sent since then was restored in both eyes; inf if none was.
    `gap_ms` is the longest time, until then, from sending a frame of a camera to that camera's next output. `stall_ms`
    is the same from then on. Delays of the cameras themselves are subtracted from both; `late_ms` is the largest such
    delay from then on. `frames` are the numbers in, restored, passed and dropped; `causes` the dropped ones by cause.
    `unreceived` of the restored and passed frames were lost on the way back, below 0 if a camera had more outputs than
    that. `memory_mb`, `threads`, `files` and the number of loaded `engines` are those of the node at the end.
    """

    kind: str
    what: str
    begun_s: float
    ended_s: float
    restored_after_s: float
    gap_ms: float
    stall_ms: float
    late_ms: float
    frames: dict[str, int]
    causes: dict[str, int]
    unreceived: int
    memory_mb: float
    threads: int
    files: int
    engines: int


@dataclass(frozen=True)
class Limits:
    """The limits of a soak test.

    The node restores again within `restored_s` after a fault. After that no camera waits longer than `periods` camera
    periods for an output; until then none longer than `gap_s`, plus the duration of a PAUSING fault. In each fault, the
    frames lost on the way back are at most the share `lost[0]` of the restored and passed ones, or `lost[1]` if that is
    more; DEAF faults have no such limit. Growth after the warm-up is at most the share `growth`, or `floor` (MB,
    threads, files) if that is more.
    """

    restored_s: float = 2.0
    periods: float = 2.0
    gap_s: float = 2.0
    lost: tuple[float, int] = (0.02, 2)
    growth: float = 0.02
    floor: Mapping[str, float] = field(default_factory=lambda: {"memory_mb": 8.0, "threads": 1.0, "files": 1.0})


@dataclass(frozen=True)
class Soak:
    """A soak test at `rate` frames a second per camera: the `record` as of a replay, and the faults.

    The first `warm` faults are the warm-up; they have every kind twice. `crash` says what ended the run early, empty if
    nothing did. `twice` counts outputs in excess of how often their frames were sent. `kept` counts frames that the
    node, once deactivated, has neither published nor dropped.
    """

    record: Record
    seed: int
    rate: float
    warm: int
    faults: list[FaultResult]
    crash: str = ""
    twice: int = 0
    kept: int = 0

    def save(self, path: Path) -> None:
        """Write the run as JSON; ReplayError if it cannot be written."""
        own = {key: getattr(self, key) for key in OWN}
        faults = [{key: known(value) for key, value in asdict(fault).items()} for fault in self.faults]
        content = {"format": FORMAT, "kind": "soak", **own, "faults": faults, "replay": self.record.content()}
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> Soak:
        """Read a run that `save` wrote; ReplayError if the file cannot be read or holds no such run."""
        return read_json(path, "soak", FORMAT, "derain bench soak", cls._of)

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> Soak:
        kinds = get_type_hints(cls)
        own = {key: read_as(kinds[key], content[key], key) for key in (*OWN, "faults")}
        return cls(record=Record.of(content["replay"]), **own)

    def frames(self) -> Counter[str]:
        """Total numbers of frames in, restored, passed and dropped."""
        return total(fault.frames for fault in self.faults)

    def causes(self) -> Counter[str]:
        """The dropped frames by cause; a frame that still waits in the node after a fault is subtracted in the next."""
        return total(fault.causes for fault in self.faults)

    def growth(self) -> dict[str, tuple[float, float]]:
        """Memory (MB), threads and files of the node after faults ANEW: medians of two periods after the warm-up.

        The periods are the first and the last third of these faults. Empty if there are fewer than JUDGED_FROM.
        """
        judged = [fault for fault in self.faults[self.warm :] if fault.kind == ANEW]
        if len(judged) < JUDGED_FROM:
            return {}
        third = len(judged) // 3
        return {
            what: (
                middle([getattr(fault, what) for fault in judged[:third]]),
                middle([getattr(fault, what) for fault in judged[-third:]]),
            )
            for what in ("memory_mb", "threads", "files")
        }


def broken(soak: Soak, limits: Limits) -> list[str]:
    """Each limit and condition that was broken, as a text; empty if none was."""
    period_ms = 1e3 / soak.rate
    told = [f"the run ended early: {soak.crash}"] if soak.crash else []
    if not soak.faults:
        told.append("there was no fault")
    for fault in soak.faults:
        name = f"{fault.kind} at {fault.begun_s:.0f} s ({fault.what})"
        if not fault.restored_after_s <= limits.restored_s:
            after = fault.restored_after_s
            when = f"after {after:.2f} s" if math.isfinite(after) else "not at all"
            told.append(f"{name}: restoring again {when}, not within {limits.restored_s:g} s")
        if fault.stall_ms > limits.periods * period_ms:
            told.append(f"{name}: then a stall of {fault.stall_ms:.0f} ms, more than {limits.periods:g} periods")
        may_s = limits.gap_s + (fault.ended_s - fault.begun_s if fault.kind in PAUSING else 0.0)
        if fault.gap_ms > 1e3 * may_s:
            told.append(f"{name}: during the fault no output for {fault.gap_ms / 1e3:.1f} s, more than {may_s:.1f} s")
        may = max(limits.lost[0] * (fault.frames["restored"] + fault.frames["passed"]), limits.lost[1])
        if fault.unreceived > may and fault.kind not in DEAF:
            told.append(f"{name}: {fault.unreceived} frames were lost on the way back, more than {may:.0f}")
        told += [f"{name}: {text}" for text in _amiss(fault)]
    if soak.twice:
        told.append(f"{soak.twice} frames came back more often than they were sent")
    if soak.kept:
        told.append(f"{soak.kept} frames were neither published nor dropped by the node")
    unknown = sum(abs(n) for fault in soak.faults for cause, n in fault.causes.items() if cause.startswith(UNKNOWN))
    if unknown:
        told.append(f"{unknown} frames were dropped or counted twice for an unknown reason")
    for what, (before, after) in soak.growth().items():
        if after - before > max(limits.growth * before, limits.floor[what]):
            told.append(f"{what.replace('_mb', '')} grew after the warm-up from {before:.0f} to {after:.0f}")
    return told


def unjudged(soak: Soak) -> list[str]:
    """What the run was too short to judge, as texts; empty if it was long enough."""
    if soak.growth():
        return []
    times = sum(fault.kind == ANEW for fault in soak.faults[soak.warm :])
    return [
        "the run was too short to judge the growth of memory, threads and files: after the first "
        f"{soak.warm} faults (there were {len(soak.faults)}) the node was configured anew {times} times, but "
        f"{JUDGED_FROM} are needed"
    ]


def _amiss(fault: FaultResult) -> list[str]:
    """Contradictions in the counts of one fault, as texts."""
    frames, told = fault.frames, []
    if frames["in"] != frames["restored"] + frames["passed"] + frames["dropped"]:
        told.append(f"the numbers of frames do not add up: {frames}")
    if sum(fault.causes.values()) != frames["dropped"]:
        told.append(f"{frames['dropped']} frames were dropped, but the causes add up to {sum(fault.causes.values())}")
    if fault.unreceived < 0:
        told.append(f"{-fault.unreceived} more frames came back than the node reports as published")
    return told


def total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The sums of counts by name."""
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)  # adding Counters would drop values below 0
    return found


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(np.median(values))
