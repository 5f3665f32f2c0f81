"""Results of the benchmark of engines: JSON, Markdown, a plot, and the comparison of two results."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from derain_ros.bench import BenchError
from derain_ros.bench.speed import Case
from derain_ros.files import parse_json, read_file

FORMAT = 1
MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class EngineRecord:
    """Cases measured in one run, the machine they were measured on, and what could not be measured."""

    cases: list[Case]
    machine: dict[str, object] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        content = {"format": FORMAT, **asdict(self)}
        path.write_text(json.dumps(content, indent=1, allow_nan=True), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> EngineRecord:
        """Read a record that `save` wrote; BenchError if the file cannot be read or holds no such record."""
        try:
            content = parse_json(read_file(path, MOST_BYTES))
            if content.pop("format") != FORMAT:
                raise BenchError(f"{path}: is from another version of this package; measure again")
            cases = [Case(**{**case, "shape": tuple(case["shape"])}) for case in content.pop("cases")]
            return cls(cases, **content)
        except OSError as error:
            raise BenchError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchError(f"{path}: is not a result of `derain bench` ({error})") from error


def markdown(record: EngineRecord, peak_tops: float = 0.0) -> str:
    """A Markdown table of all cases; the spread is from the 10th to the 90th percentile.

    `peak_tops` is the device's peak in tera-operations per second, 0 if not known.
    """
    meters = sorted({meter for case in record.cases for meter in case.joules})
    known = any(not math.isnan(case.gmac) for case in record.cases)
    header = [
        "model",
        "batch and size",
        "engine",
        "precision",
        "streams",
        "ms",
        "10 to 90 %",
        "load s",
        "MB",
        "GPU MB",
        *(["GOP/s"] if known else []),
        *(["share of the peak"] if known and peak_tops else []),
        *(f"J {meter}" for meter in meters),
    ]
    rows = []
    for case in record.cases:
        median = case.quantile_ms(0.5)
        gops = 2 * case.gmac * case.shape[0] / median * 1e3
        rows.append(
            [
                case.model,
                "x".join(map(str, case.shape)),
                case.engine,
                case.precision,
                str(case.streams),
                f"{median:.2f}",
                f"{case.quantile_ms(0.1):.2f} to {case.quantile_ms(0.9):.2f}",
                f"{case.load_s:.1f}",
                _number(case.memory_mb, 0),
                _number(case.gpu_mb, 0),
                *([_number(gops, 0)] if known else []),
                *([f"{gops / peak_tops / 1e3:.1%}"] if known and peak_tops else []),
                *(_number(case.joules.get(meter, math.nan), 3) for meter in meters),
            ]
        )
    about = ", ".join(f"{key.replace('_', ' ')} {_words(value)}" for key, value in record.machine.items())
    lines = [table(header, rows), "", f"Medians of {len(record.cases[0].ms)} turns. {about}."]
    lines += [f"- not measured: {failure}" for failure in record.failures]
    return "\n".join(lines)


def compare(before: EngineRecord, after: EngineRecord) -> str:
    """A Markdown table of the cases in both records: medians, their ratio, and whether the spreads do not overlap.

    BenchError if the records have no case in common.
    """
    older = {case.name: case for case in before.cases}
    shared = [(older[case.name], case) for case in after.cases if case.name in older]
    if not shared:
        raise BenchError("the two results have no case in common; measure the same models, engines, sizes and batches")
    rows = []
    for old, new in shared:
        apart = old.quantile_ms(0.9) < new.quantile_ms(0.1) or new.quantile_ms(0.9) < old.quantile_ms(0.1)
        ratio = new.quantile_ms(0.5) / old.quantile_ms(0.5)
        verdict = ("slower" if ratio > 1 else "faster") if apart else "within the spread"
        rows.append([new.name, f"{old.quantile_ms(0.5):.2f}", f"{new.quantile_ms(0.5):.2f}", f"{ratio:.2f}", verdict])
    lines = [table(["case", "ms before", "ms after", "ratio", ""], rows)]
    alone = {case.name for case in before.cases} ^ {case.name for case in after.cases}
    lines += ["", *(f"- only in one result: {name}" for name in sorted(alone))] if alone else []
    changed = [key for key in before.machine if before.machine[key] != after.machine.get(key) and key != "load_average"]
    lines += ["", f"The machines differ in {', '.join(changed)}."] if changed else []
    return "\n".join(lines)


def plot(record: EngineRecord, path: Path) -> bool:
    """Draw a bar per case: its median with its spread. Returns false if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    cases = sorted(record.cases, key=lambda case: case.quantile_ms(0.5), reverse=True)
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(cases)), layout="constrained")
    axes = figure.subplots()
    middle = [case.quantile_ms(0.5) for case in cases]
    spread = [
        [m - case.quantile_ms(0.1) for m, case in zip(middle, cases, strict=True)],
        [case.quantile_ms(0.9) - m for m, case in zip(middle, cases, strict=True)],
    ]
    axes.barh(
        [f"{case.name}, {case.precision}" for case in cases],
        middle,
        xerr=spread,
        color="#4477aa",
        ecolor="#333333",
        capsize=2,
    )
    axes.set_xlabel("ms per batch: median, 10th to 90th percentile")
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return True


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {of}" for key, of in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
