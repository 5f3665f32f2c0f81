"""Tables of a replay, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Action
from derain_ros.replay.account import Account, Decisions, judge, percentiles
from derain_ros.replay.measured import AtRate, Usage
from derain_ros.replay.quality import Quality
from derain_ros.replay.record import Record
from derain_ros.report.limits import times_of

SHOWN_DIGITS = 12
"""Digits of a digest that are shown."""


@dataclass(frozen=True)
class Table:
    """A table for the terminal and for reports."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables_of(record: Record) -> list[Table]:
    """Return all tables of a replay but that of its origin; some need the ground truth or measurements."""
    account = record.account
    tables = [frames_table(account), actions_table(account), plans_table(account), latency_table(account, record.timed)]
    tables += [causes_table(account)] if account.causes else []
    tables += [stages_table(account)] if any(o.total_ms > 0 for o in account.outputs) else []
    tables += [usage_table(record.usage)] if record.usage else []
    tables += [rates_table(record.rates)] if record.rates else []
    tables += [fusion_table(account)] if account.fusion else []
    tables += [decisions_table(account, record.wet)] if record.wet else []
    return tables + ([quality_table(record.quality)] if record.quality is not None else [])


def frames_table(account: Account) -> Table:
    """Counts of each camera's frames."""
    names = [*account.frames_in, *([""] if len(account.frames_in) > 1 else [])]
    rows = [[name or "all", *(str(n) for n in account.total(name).values())] for name in names]
    return Table("Frames", ["camera", *account.total()], rows)


def actions_table(account: Account) -> Table:
    """Number of frames by action."""
    rows = [[action.replace("_", " "), str(count)] for action, count in account.reasons().items()]
    return Table("What was done", ["action", "frames"], rows)


def plans_table(account: Account) -> Table:
    """Number of restored frame sets by plan and models, and the engines that were loaded."""
    rows = [[plan, models, str(count)] for (plan, models), count in account.plans.most_common()]
    return Table("Restored by", ["plan", "models", "frame sets"], [*rows, ["engines", account.engines or "-", ""]])


def causes_table(account: Account) -> Table:
    """Number of dropped frames by cause."""
    return Table("Dropped", ["", "frames"], [[cause, str(count)] for cause, count in account.causes.most_common()])


def stages_table(account: Account) -> Table:
    """Percentiles in milliseconds of each stage, over the frames for which it ran.

    Also of transport, of the age when published and of the jitter.
    """
    times = times_of(account.outputs)
    named = {
        "detect": "detect",
        "restore": "restore",
        "fuse": "fuse, after publishing",
        "transport": "transport and waiting: the rest of the latency",
        "age": "age when published: since the stamp",
    }
    rows = [[named[name], *_percentiles(values)] for name, values in times.items() if not np.isnan(values).all()]
    rows.append(["jitter: change of the latency from frame to frame", *_percentiles(account.jitter_ms())])
    return Table("Stages", ["", "p50 ms", "p95 ms", "p99 ms"], rows)


def usage_table(usage: Sequence[Usage]) -> Table:
    """The node's use of the machine: mean and maximum."""
    rows = [
        [name, number(_mean(np.array(values)), digits), number(max(values), digits)]
        for name, digits, values in (
            ("cores of the processor", 2, [u.cores for u in usage]),
            ("memory, MB", 0, [u.memory_mb for u in usage]),
            ("memory of the GPU, MB, by anyone", 0, [u.gpu_mb for u in usage]),
        )
    ]
    return Table("Use of the machine by the node", ["", "mean", "most"], rows)


def rates_table(rates: Sequence[AtRate]) -> Table:
    """Results of the node at each playback speed."""
    rows = [
        [
            f"{r.rate:.3g}x",
            f"{r.hertz:.1f}",
            f"{r.reached:.3g}x",
            str(r.frames_in),
            str(r.dropped),
            str(r.over_budget),
            number(r.p50_ms, 1),
            number(r.p99_ms, 1),
            "yes" if r.no_loss else "no",
        ]
        for r in sorted(rates, key=lambda r: r.rate)
    ]
    header = ["speed", "Hz", "reached", "in", "dropped", "over budget", "p50 ms", "p99 ms", "no loss"]
    return Table("Speeds", header, rows)


def origin_table(record: Record) -> Table:
    """Bag, models and machine, with the first digits of digests, and the settings that are not the default."""
    defaults = asdict(Config())
    rows = [["bag", name, digest[:SHOWN_DIGITS]] for name, digest in record.origin.bag.items()]
    rows += [["model", name, digest[:SHOWN_DIGITS]] for name, digest in record.origin.models.items()]
    rows += [["setting", name, str(v)] for name, v in record.origin.config.items() if v != defaults.get(name)]
    rows += [["machine", name.replace("_", " "), _words(value)] for name, value in record.machine.items()]
    return Table("Measured with", ["", "", ""], rows)


def fusion_table(account: Account) -> Table:
    """Number of frame sets that were fused with thermal ones, and of the others by reason."""
    rows = [[state, str(count)] for state, count in account.fusion.most_common()]
    return Table("Fusion with the thermal camera", ["", "frame sets"], rows)


def latency_table(account: Account, title: str) -> Table:
    """Percentiles of the latency in milliseconds: of all frames, of the restored and of those passed on."""
    restored = percentiles(o.latency_ms for o in account.outputs if o.action == Action.RESTORED.value)
    passed = percentiles(o.latency_ms for o in account.outputs if o.action != Action.RESTORED.value)
    rows = [
        [name, *(number(v, 1) for v in values)]
        for name, values in (("all", account.latency_ms()), ("restored", restored), ("passed on", passed))
    ]
    return Table(title, ["frames", "p50 ms", "p95 ms", "p99 ms"], rows)


def decisions_table(account: Account, wet: Mapping[str, Mapping[int, bool]]) -> Table:
    """The detector's decisions for each camera against the ground truth."""
    rows = []
    for camera, truth in wet.items():
        found: Decisions = judge((o for o in account.outputs if o.camera == camera), dict(truth))
        delay = ", ".join("never" if np.isinf(d) else f"{d:.2f} s" for d in found.delays_s) or "-"
        rows.append(
            [
                camera,
                str(found.affected),
                _share(found.hits, found.affected),
                str(found.clean),
                _share(found.false_alarms, found.clean),
                delay,
            ]
        )
    return Table(
        "Anomaly decisions against the truth", ["camera", "wet", "hits", "clean", "false alarms", "onset delay"], rows
    )


def quality_table(quality: Quality) -> Table:
    """PSNR of wet frames to the dry views, before and after, and dry frames that came out unchanged."""
    before, after = (np.array([p[k] for p in quality.psnr]) for k in (0, 1))
    finite = np.isfinite(after)
    rows = [
        [
            "wet frames, PSNR to the dry view",
            number(_mean(before[finite]), 2, " dB"),
            number(_mean(after[finite]), 2, " dB"),
            number(_mean((after - before)[finite]), 2, " dB", plus=True),
        ],
        [
            "dry views out bit for bit; others were beside a wet eye or just after",
            str(quality.clean),
            str(quality.untouched),
            _share(quality.untouched, quality.clean),
        ],
    ]
    return Table("Pictures", ["", "in", "out", ""], rows)


def number(value: float, digits: int, unit: str = "", plus: bool = False) -> str:
    """Return a number for a table, or a dash for NaN."""
    return "-" if np.isnan(value) else f"{value:{'+' if plus else ''}.{digits}f}{unit}"


def _words(value: object) -> str:
    """Return a value of the machine's description in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {of}" for key, of in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _percentiles(values: Iterable[float]) -> list[str]:
    return [number(value, 1) for value in percentiles(values)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _share(part: int, whole: int) -> str:
    return f"{part} ({100.0 * part / whole:.1f} %)" if whole else "-"
