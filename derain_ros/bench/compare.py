"""Compares records of replays: which figures differ significantly, and what they were measured with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.bench import BenchError
from derain_ros.bench.record import table
from derain_ros.files import FileError, parse_json, read_file
from derain_ros.frame import Action
from derain_ros.replay.account import Output
from derain_ros.replay.record import MOST_BYTES, Record
from derain_ros.report.limits import figures_of

RESAMPLED, AT_ONCE = 2000, 50
"""Bootstrap draws in total, and draws in one array: an hour of frames has to fit into memory."""
SEED = 7
LEAST_FOR_P99 = 300
"""Least number of frames for a 99th percentile: with fewer it is only the slowest one or two frames."""
T_95 = (1, 2, 3, 4, 5, 6, 8, 10, 15, 30, 1000), (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.31, 2.23, 2.13, 2.04, 1.96)
"""Degrees of freedom, and for each the 97.5th percentile of Student's t."""
BUSY = 0.5
"""Load average per core above which the machine had other work."""
UNKNOWN = "unclear"
WORSE = ("slower", "less restored", "more dropped")

Statistic = Callable[[np.ndarray], np.ndarray]
"""Reduces an array (draws, frames) to one figure per row."""
Runs = Sequence[np.ndarray]
"""One array (N,) per run, with one figure per frame."""


@dataclass(frozen=True)
class Difference:
    """A figure `before` and `after`, and the 95 % confidence interval of `after` - `before`; nan if there is none."""

    before: float
    after: float
    low: float = math.nan
    high: float = math.nan

    def verdict(self, less: str, more: str) -> str:
        """`less` or `more` if the interval does not contain 0; UNKNOWN if it does, or if there is none."""
        return less if self.high < 0 else more if self.low > 0 else UNKNOWN


def is_replay(path: Path) -> bool:
    """Whether a file holds the record of a replay, of any format; BenchError if it cannot be read as JSON."""
    try:
        content = parse_json(read_file(path, MOST_BYTES))
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror})") from error
    except (FileError, ValueError) as error:
        raise BenchError(f"{path}: is not a result of `derain bench` ({error})") from error
    return isinstance(content, dict) and content.get("kind") == "replay"


def difference(before: Runs, after: Runs, statistic: Statistic, paired: bool) -> Difference:
    """The difference of a statistic of frames, averaged over runs, with its 95 % confidence interval.

    Each run is an array (N,) of frames in order of time. If a run has no frames, the interval is nan. With several runs
    on each side the interval is Welch's, from one figure per run. Otherwise it is from a bootstrap over blocks of
    neighbouring frames, because other work on the machine affects neighbours alike. `paired` frames are drawn together,
    so that what they have in common cancels out; all runs must then have the same number of frames.
    """
    found = Difference(_one(statistic, before), _one(statistic, after))
    if not all(map(len, (*before, *after))):
        return found
    if min(len(before), len(after)) > 1:
        change, reach = found.after - found.before, _welch(_each(statistic, before), _each(statistic, after))
        return replace(found, low=change - reach, high=change + reach)
    rng = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLED // AT_ONCE):
        frames = _resampled(len(before[0]), rng) if paired else None
        old, new = (
            np.mean([statistic(run[_resampled(len(run), rng) if frames is None else frames]) for run in runs], axis=0)
            for runs in (before, after)
        )
        drawn.append(new - old)
    low, high = np.percentile(np.concatenate(drawn), (2.5, 97.5))
    return replace(found, low=float(low), high=float(high))


def _welch(before: np.ndarray, after: np.ndarray) -> float:
    """Half the width of the 95 % interval of the difference of two means, by Welch's t-test; (R,) figures of runs."""
    parts = np.array([side.var(ddof=1) / len(side) for side in (before, after)])
    if not parts.any():
        return 0.0
    freedom = parts.sum() ** 2 / (parts**2 / (len(before) - 1, len(after) - 1)).sum()
    return float(np.interp(freedom, *T_95) * np.sqrt(parts.sum()))


def compare(before: Sequence[Record], after: Sequence[Record]) -> tuple[str, list[str]]:
    """A comparison in Markdown, and a list of what got worse, one line each.

    The Markdown has latency, stages, restored and dropped frames with a verdict each, further figures, and what differs
    in machine, models and settings. Each side has the records of one or more runs. Frames are paired by stamp if all
    records are of one bag.
    """
    records = [*before, *after]
    if len(timed := {record.timed for record in records}) > 1:
        raise BenchError(f"the latencies are not comparable, they are: {'; '.join(sorted(timed))}")
    bags = {tuple(sorted(record.origin.bag.values())) for record in records}
    same_bag = len(bags) == 1 and () not in bags
    every = [_by_key(record.account.outputs) for record in records]
    both = sorted(set.intersection(*(set(outputs) for outputs in every)), key=lambda key: (key[1], key))
    paired = same_bag and bool(both)

    def sides(of_runs: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        return of_runs[: len(before)], of_runs[len(before) :]

    rows = []
    for name, of in (
        ("latency", lambda o: o.latency_ms),
        ("detect", lambda o: o.detect_ms or math.nan),
        ("restore", lambda o: o.restore_ms if o.action == Action.RESTORED.value else math.nan),
    ):
        times = _times(every, both, of) if paired else [_times_alone(outputs, of) for outputs in every]
        for quantile in (50, 99):
            found = difference(*sides(times), _quantile(quantile), paired)
            few = quantile == 99 and min(map(len, times)) < LEAST_FOR_P99
            verdict = f"{UNKNOWN}: too few frames" if few else found.verdict("faster", "slower")
            rows.append(_row(f"{name} p{quantile} ms", found, 2, verdict))
    for name, count, less, more in (
        ("restored share", lambda o: o.action == Action.RESTORED.value, "less restored", "more restored"),
        ("dropped share", None, "fewer dropped", "more dropped"),
    ):
        marks = _marks(records, every, count, paired)
        alike = paired and len({len(run) for run in marks}) == 1
        found = difference(*sides(marks), lambda drawn: drawn.mean(axis=-1), alike)
        rows.append(_row(name, found, 4, found.verdict(less, more)))
    figures = [figures_of(record) for record in records]
    for name in ("dropped", "alarm_share", "jitter_p99_ms", "cpu_cores", "memory_mb", "gpu_mb", "highest_rate"):
        found = Difference(*(float(np.mean([of[name] for of in side])) for side in sides(figures)))
        if not math.isnan(found.before + found.after):
            rows.append(_row(name.replace("_", " "), found, 3, ""))
    said = (
        f"Both sides are of one bag, by its digests; {len(both)} frames are paired by stamp."
        if paired
        else "Both sides are of one bag, by its digests, but no frame is in the output of all runs."
        if same_bag
        else "The bags differ or are unknown, so frames are not paired."
    )
    lines = [table(["", "before", "after", "difference", "95 % interval", ""], rows), "", said]
    busy = [
        f"{name} {record.machine['load_average']:g} on {record.machine['cores']} cores"
        for name, side in (("before", before), ("after", after))
        for record in side
        if record.machine.get("load_average", math.nan) > BUSY * record.machine.get("cores", math.inf)
    ]
    if busy:
        lines.append(f"The machine had other work: load {', '.join(busy)}.")
    if min(len(before), len(after)) == 1:
        lines.append(
            "The intervals do not include differences between runs: to include them, give several runs of each side."
        )
    else:
        lines.append(
            f"{len(before)} runs before and {len(after)} after; the intervals include differences between runs."
        )
    lines += [f"- {text}" for text in differing(before[0], after[0])] or ["Machine, models and settings are the same."]
    return "\n".join(lines), [f"{name}: {verdict}" for name, *_, verdict in rows if verdict in WORSE]


def differing(before: Record, after: Record) -> list[str]:
    """What differs in the machine, the models, the settings and the engines, one text each."""
    told = []
    for what, old, new in (
        ("machine", before.machine, after.machine),
        ("model", before.origin.models, after.origin.models),
        ("setting", before.origin.config, after.origin.config),
    ):
        for name in [*old, *(n for n in new if n not in old)]:
            if name != "load_average" and old.get(name) != new.get(name):
                told.append(f"{what}, {name}: {_short(old, name)} before, {_short(new, name)} after")
    # Engines are listed in the order in which they were loaded; this order does not matter.
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
    """Outputs by camera, stamp, and the number of earlier outputs with that camera and stamp."""
    seen: Counter[tuple[str, int]] = Counter()
    found = {}
    for output in outputs:
        key = output.camera, output.stamp_ns
        found[(*key, seen[key])] = output
        seen[key] += 1
    return found


def _times(every: Sequence[Mapping[Any, Output]], both: list[Any], of: Callable[[Output], float]) -> list[np.ndarray]:
    """One array per run: the figure `of` each frame in `both`, in order of time; frames with a nan are left out."""
    times = np.array([[of(outputs[key]) for outputs in every] for key in both]).reshape(-1, len(every))
    return list(times[~np.isnan(times).any(axis=1)].T)


def _times_alone(outputs: Mapping[Any, Output], of: Callable[[Output], float]) -> np.ndarray:
    times = np.array([of(o) for o in sorted(outputs.values(), key=lambda o: o.stamp_ns)])
    return times[~np.isnan(times)]


def _marks(
    records: Sequence[Record],
    every: Sequence[Mapping[Any, Output]],
    count: Callable[[Output], bool] | None,
    paired: bool,
) -> list[np.ndarray]:
    """One array per run: for each frame that was sent, 1 if `count` is true for it, else 0.

    Without `count`, 1 stands for a frame that did not come back. The stamps of frames that came back in no run are not
    known; these frames are put last.
    """
    made = []
    known = {key for outputs in every for key in outputs}
    for record, outputs in zip(records, every, strict=True):
        keys = sorted(known if paired else outputs, key=lambda key: (key[1], key))
        marks = [(k not in outputs) if count is None else (k in outputs and count(outputs[k])) for k in keys]
        sent = record.account.total()["in"]
        made.append(np.array(marks + [count is None] * (sent - len(marks)), float))
    return made


def _quantile(percent: float) -> Statistic:
    return lambda drawn: np.percentile(drawn, percent, axis=-1)


def _one(statistic: Statistic, runs: Runs) -> float:
    return float(_each(statistic, runs).mean())


def _each(statistic: Statistic, runs: Runs) -> np.ndarray:
    return np.array([statistic(run[None])[0] if len(run) else math.nan for run in runs])


def _resampled(number: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (AT_ONCE, number) of randomly drawn blocks; a block has sqrt(number) frames and may wrap around."""
    length = math.ceil(math.sqrt(number))
    starts = rng.integers(0, number, (AT_ONCE, math.ceil(number / length)))
    return ((starts[..., None] + np.arange(length)) % number).reshape(AT_ONCE, -1)[:, :number]
