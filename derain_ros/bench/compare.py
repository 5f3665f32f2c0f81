"""Two records of replays compared: what differs by more than chance, and what they were measured with."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.bench import BenchError
from derain_ros.bench.record import table
from derain_ros.files import FileError, read_file
from derain_ros.frame import Action
from derain_ros.replay.account import Output
from derain_ros.replay.record import MOST_BYTES, Record
from derain_ros.report.limits import figures_of

RESAMPLED, AT_ONCE = 2000, 50
"""How often frames are drawn anew, and how often in one array: an hour of frames has to fit into the memory."""
SEED = 7
LEAST_FOR_P99 = 300
"""Frames without which a 99th percentile is the slowest frame or two, and says nothing."""
BUSY = 0.5
"""Load for each core from which on the machine had other work."""
UNKNOWN = "cannot be told"

Statistic = Callable[[np.ndarray], np.ndarray]
"""Of each row of an array one figure."""


@dataclass(frozen=True)
class Difference:
    """`after` less `before`, and the interval of 95 % in which that lies by chance; nan where there is none."""

    before: float
    after: float
    low: float = math.nan
    high: float = math.nan

    def verdict(self, less: str, more: str) -> str:
        """`less` or `more` where the interval does not hold 0, UNKNOWN where it does or is not known."""
        return less if self.high < 0 else more if self.low > 0 else UNKNOWN


def is_replay(path: Path) -> bool:
    """Whether a file holds the record of a replay, of any format; BenchError where it cannot be read as JSON."""
    try:
        content = json.loads(read_file(path, MOST_BYTES))
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror})") from error
    except (FileError, ValueError) as error:
        raise BenchError(f"{path}: is no result of `derain bench` ({error})") from error
    return isinstance(content, dict) and content.get("kind") == "replay"


def difference(before: np.ndarray, after: np.ndarray, statistic: Statistic, paired: bool) -> Difference:
    """The difference of a statistic of frames in order of time, (N,) and (M,), with a bootstrap interval.

    Blocks of neighbouring frames are drawn, as what else a machine does hits neighbours alike; `paired` frames, as many
    in both, are drawn together, so that what is common to both cancels out.
    """
    if not (len(before) and len(after)):
        return Difference(_one(statistic, before), _one(statistic, after))
    rng = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLED // AT_ONCE):
        old = _resampled(len(before), rng)
        new = old if paired else _resampled(len(after), rng)
        drawn.append(statistic(after[new]) - statistic(before[old]))
    low, high = np.percentile(np.concatenate(drawn), (2.5, 97.5))
    return Difference(_one(statistic, before), _one(statistic, after), float(low), float(high))


def compare(before: Record, after: Record) -> str:
    """Tables in Markdown: latency, stages, restored and dropped frames with a verdict each, and what the two were
    measured with. Frames are paired by stamp where both are of one bag."""
    same_bag = bool(before.origin.bag) and sorted(before.origin.bag.values()) == sorted(after.origin.bag.values())
    old, new = _by_key(before.account.outputs), _by_key(after.account.outputs)
    both = sorted(old.keys() & new.keys(), key=lambda key: (key[1], key))
    paired = same_bag and bool(both)
    rows = []
    for name, of in (
        ("latency", lambda o: o.latency_ms),
        ("detect", lambda o: o.detect_ms or math.nan),
        ("restore", lambda o: o.restore_ms if o.action == Action.RESTORED.value else math.nan),
    ):
        times = _times(old, new, both, of) if paired else (_times_alone(old, of), _times_alone(new, of))
        for quantile in (50, 99):
            found = difference(*times, _quantile(quantile), paired)
            few = quantile == 99 and min(map(len, times)) < LEAST_FOR_P99
            verdict = f"{UNKNOWN}: too few frames" if few else found.verdict("faster", "slower")
            rows.append(_row(f"{name} p{quantile} ms", found, 2, verdict))
    for name, count, less, more in (
        ("restored share", lambda o: o.action == Action.RESTORED.value, "less restored", "more restored"),
        ("dropped share", None, "fewer dropped", "more dropped"),
    ):
        marks = _marks(before, after, old, new, count, paired)
        found = difference(*marks, lambda drawn: drawn.mean(axis=-1), paired and len(marks[0]) == len(marks[1]))
        rows.append(_row(name, found, 4, found.verdict(less, more)))
    figures = figures_of(before), figures_of(after)
    for name in ("dropped", "alarm_share", "jitter_p99_ms", "cpu_cores", "memory_mb", "gpu_mb", "highest_rate"):
        found = Difference(*(of[name] for of in figures))
        if not math.isnan(found.before + found.after):
            rows.append(_row(name.replace("_", " "), found, 3, ""))
    said = (
        f"One bag, by its digests; {len(both)} frames paired by stamp."
        if paired
        else "One bag, by its digests, but no frame came out of both."
        if same_bag
        else "The bags differ or are not known, so frames are not paired."
    )
    lines = [table(["", "before", "after", "difference", "95 % interval", ""], rows), "", said]
    busy = [
        f"{name} {record.machine['load_average']:g} on {record.machine['cores']} cores"
        for name, record in (("before", before), ("after", after))
        if record.machine.get("load_average", math.nan) > BUSY * record.machine.get("cores", math.inf)
    ]
    if busy:
        lines.append(
            f"The machine had other work, load {', '.join(busy)}: what that changes from run to run, the intervals do "
            "not know."
        )
    lines += [f"- {text}" for text in differing(before, after)] or ["Machine, models and settings are the same."]
    return "\n".join(lines)


def differing(before: Record, after: Record) -> list[str]:
    """In words, what differs of the machine, the models, the settings and the engines."""
    told = []
    for what, old, new in (
        ("machine", before.machine, after.machine),
        ("model", before.origin.models, after.origin.models),
        ("setting", before.origin.config, after.origin.config),
    ):
        for name in [*old, *(n for n in new if n not in old)]:
            if name != "load_average" and old.get(name) != new.get(name):
                told.append(f"{what}, {name}: {_short(old, name)} before, {_short(new, name)} after")
    # In the order in which they were loaded, which does not matter.
    if sorted(before.account.engines.split(", ")) != sorted(after.account.engines.split(", ")):
        told.append(f"engines: {before.account.engines or 'none'} before, {after.account.engines or 'none'} after")
    return told


def _short(values: Mapping[str, Any], name: str) -> str:
    return str(values[name])[:80] if name in values else "none"


def _row(name: str, found: Difference, digits: int, verdict: str) -> list[str]:
    change = found.after - found.before
    interval = "" if math.isnan(found.low) else f"{found.low:+.{digits}f} to {found.high:+.{digits}f}"
    return [name, f"{found.before:.{digits}f}", f"{found.after:.{digits}f}", f"{change:+.{digits}f}", interval, verdict]


def _by_key(outputs: list[Output]) -> dict[tuple[str, int, int], Output]:
    """Outputs by camera, stamp, and how many of that camera and stamp came before."""
    seen: Counter[tuple[str, int]] = Counter()
    found = {}
    for output in outputs:
        key = output.camera, output.stamp_ns
        found[(*key, seen[key])] = output
        seen[key] += 1
    return found


def _times(
    old: Mapping[Any, Output], new: Mapping[Any, Output], both: list[Any], of: Callable[[Output], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Of the frames in both, in order of time, what is known of both."""
    times = np.array([[of(old[key]), of(new[key])] for key in both]).reshape(-1, 2)
    times = times[~np.isnan(times).any(axis=1)]
    return times[:, 0], times[:, 1]


def _times_alone(outputs: Mapping[Any, Output], of: Callable[[Output], float]) -> np.ndarray:
    times = np.array([of(o) for o in sorted(outputs.values(), key=lambda o: o.stamp_ns)])
    return times[~np.isnan(times)]


def _marks(
    before: Record,
    after: Record,
    old: Mapping[Any, Output],
    new: Mapping[Any, Output],
    count: Callable[[Output], bool] | None,
    paired: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """For each frame that was sent, 1 where it counts, by default where it did not come back, and 0 elsewhere.

    Of frames that came in neither the stamps are not known; they are put last.
    """
    made = []
    every = sorted(old.keys() | new.keys(), key=lambda key: (key[1], key))
    for record, outputs in ((before, old), (after, new)):
        keys = every if paired else sorted(outputs, key=lambda key: (key[1], key))
        marks = [(k not in outputs) if count is None else (k in outputs and count(outputs[k])) for k in keys]
        sent = record.account.total()["in"]
        made.append(np.array(marks + [count is None] * (sent - len(marks)), float))
    return made[0], made[1]


def _quantile(percent: float) -> Statistic:
    return lambda drawn: np.percentile(drawn, percent, axis=-1)


def _one(statistic: Statistic, values: np.ndarray) -> float:
    return float(statistic(values[None])[0]) if len(values) else math.nan


def _resampled(number: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (AT_ONCE, number) of blocks as long as the root of `number`, which may wrap around."""
    length = math.ceil(math.sqrt(number))
    starts = rng.integers(0, number, (AT_ONCE, math.ceil(number / length)))
    return ((starts[..., None] + np.arange(length)) % number).reshape(AT_ONCE, -1)[:, :number]
