"""Tables of a replay, for the terminal and the page alike."""

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
"""Of a digest."""


@dataclass(frozen=True)
class Table:
    """A table for the terminal and the report alike."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables_of(record: Record) -> list[Table]:
    """All tables of a replay but its origin's; those that need the truth where it is known."""
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
    """What became of the frames of every camera."""
    names = [*account.frames_in, *([""] if len(account.frames_in) > 1 else [])]
    rows = [[name or "all", *(str(n) for n in account.total(name).values())] for name in names]
    return Table("Frames", ["camera", *account.total()], rows)


def actions_table(account: Account) -> Table:
    """How often each thing was done with a frame."""
    rows = [[action.replace("_", " "), str(count)] for action, count in account.reasons().items()]
    return Table("What was done", ["action", "frames"], rows)


def plans_table(account: Account) -> Table:
    """By which plans and models frame sets were restored, how often, and the engines that were loaded."""
    rows = [[plan, models, str(count)] for (plan, models), count in account.plans.most_common()]
    return Table("Restored by", ["plan", "models", "frame sets"], [*rows, ["engines", account.engines or "-", ""]])


def causes_table(account: Account) -> Table:
    """What became of the frames that were dropped."""
    return Table("Dropped", ["", "frames"], [[cause, str(count)] for cause, count in account.causes.most_common()])


def stages_table(account: Account) -> Table:
    """Percentiles of what the stages took, of the frames for which they ran, in milliseconds."""
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
    """What the node took of the machine: on average and at the most."""
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
    """How the node fared at each speed of playing."""
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
    """The bag, the models and the machine, with the first digits of digests, and settings that are not the default."""
    defaults = asdict(Config())
    rows = [["bag", name, digest[:SHOWN_DIGITS]] for name, digest in record.origin.bag.items()]
    rows += [["model", name, digest[:SHOWN_DIGITS]] for name, digest in record.origin.models.items()]
    rows += [["setting", name, str(v)] for name, v in record.origin.config.items() if v != defaults.get(name)]
    rows += [["machine", name.replace("_", " "), _words(value)] for name, value in record.machine.items()]
    return Table("Measured with", ["", "", ""], rows)


def fusion_table(account: Account) -> Table:
    """How many frame sets were fused with thermal ones, and why the others were not."""
    rows = [[state, str(count)] for state, count in account.fusion.most_common()]
    return Table("Fusion with the thermal camera", ["", "frame sets"], rows)


def latency_table(account: Account, title: str) -> Table:
    """Percentiles of the latency, of all frames and of the restored ones, in milliseconds."""
    restored = percentiles(o.latency_ms for o in account.outputs if o.action == Action.RESTORED.value)
    passed = percentiles(o.latency_ms for o in account.outputs if o.action != Action.RESTORED.value)
    rows = [
        [name, *(number(v, 1) for v in values)]
        for name, values in (("all", account.latency_ms()), ("restored", restored), ("passed on", passed))
    ]
    return Table(title, ["frames", "p50 ms", "p95 ms", "p99 ms"], rows)


def decisions_table(account: Account, wet: Mapping[str, Mapping[int, bool]]) -> Table:
    """What the detector said of every camera against the truth."""
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
    """How near the frames came to the dry views."""
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
    """A number for a table, or a dash where there is none."""
    return "-" if np.isnan(value) else f"{value:{'+' if plus else ''}.{digits}f}{unit}"


def _words(value: object) -> str:
    """A value of the description of a machine, in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {of}" for key, of in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _percentiles(values: Iterable[float]) -> list[str]:
    return [number(value, 1) for value in percentiles(values)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _share(part: int, whole: int) -> str:
    return f"{part} ({100.0 * part / whole:.1f} %)" if whole else "-"
