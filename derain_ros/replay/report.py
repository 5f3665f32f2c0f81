"""Tables of a replay, and the report: one HTML file with pictures, masks, latency plot and tables."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from derain_ros.frame import Action
from derain_ros.replay.account import Account, Decisions, judge, percentiles
from derain_ros.replay.quality import Quality, Sample

COLOURS = {Action.RESTORED.value: "#1f77b4", Action.PASSED_CLEAN.value: "#2ca02c",
           Action.PASSED_DISABLED.value: "#7f7f7f", Action.PASSED_BUDGET.value: "#ff7f0e",
           Action.PASSED_ERROR.value: "#d62728", Action.PASSED_UNPAIRED.value: "#9467bd"}
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}th,td{padding:.3em .9em;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600;padding:.3em 0}
figure{margin:1.2em 0}figure div{display:grid;grid-template-columns:repeat(4,1fr);gap:6px}img{width:100%}
figcaption{color:#555}p.note{color:#a40}"""


@dataclass(frozen=True)
class Table:
    """A table for the terminal and the report alike."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def frames_table(account: Account) -> Table:
    """What became of the frames of every camera."""
    names = [*account.frames_in, *([""] if len(account.frames_in) > 1 else [])]
    rows = [[name or "all", *(str(n) for n in account.total(name).values())] for name in names]
    return Table("Frames", ["camera", *account.total()], rows)


def actions_table(account: Account) -> Table:
    """How often each thing was done with a frame."""
    rows = [[action.replace("_", " "), str(count)] for action, count in account.reasons().items()]
    return Table("What was done", ["action", "frames"], rows)


def plans_table(plans: Mapping[tuple[str, str], int], engines: str) -> Table:
    """By which plans and models frame sets were restored, how often, and the engines that the node had loaded."""
    rows = [[plan, models, str(count)] for (plan, models), count in sorted(plans.items(), key=lambda item: -item[1])]
    return Table("Restored by", ["plan", "models", "frame sets"], [*rows, ["engines", engines or "-", ""]])


def latency_table(account: Account, title: str) -> Table:
    """Percentiles of the latency, of all frames and of the restored ones, in milliseconds."""
    restored = percentiles(o.latency_ms for o in account.outputs if o.action == Action.RESTORED.value)
    passed = percentiles(o.latency_ms for o in account.outputs if o.action != Action.RESTORED.value)
    rows = [[name, *(number(v, 1) for v in values)]
            for name, values in (("all", account.latency_ms()), ("restored", restored), ("passed on", passed))]
    return Table(title, ["frames", "p50 ms", "p95 ms", "p99 ms"], rows)


def decisions_table(account: Account, wet: Mapping[str, Mapping[int, bool]]) -> Table:
    """What the detector said of every camera against the truth."""
    rows = []
    for camera, truth in wet.items():
        found: Decisions = judge((o for o in account.outputs if o.camera == camera), dict(truth))
        delay = ", ".join("never" if np.isinf(d) else f"{d:.2f} s" for d in found.delays_s) or "-"
        rows.append([camera, str(found.affected), _share(found.hits, found.affected), str(found.clean),
                     _share(found.false_alarms, found.clean), delay])
    return Table("Anomaly decisions against the truth",
                 ["camera", "wet", "hits", "clean", "false alarms", "onset delay"], rows)


def quality_table(quality: Quality) -> Table:
    """How near the frames came to the dry views."""
    before, after = (np.array([p[k] for p in quality.psnr]) for k in (0, 1))
    finite = np.isfinite(after)
    rows = [["wet frames, PSNR to the dry view", number(_mean(before[finite]), 2, " dB"),
             number(_mean(after[finite]), 2, " dB"), number(_mean((after - before)[finite]), 2, " dB", plus=True)],
            ["dry views out bit for bit; others were beside a wet eye or just after", str(quality.clean),
             str(quality.untouched),
             _share(quality.untouched, quality.clean)]]
    return Table("Pictures", ["", "in", "out", ""], rows)


def write(path: Path, title: str, tables: Sequence[Table], account: Account, quality: Quality,
          wet: Mapping[str, Mapping[int, bool]]) -> None:
    """Write the report to `path`, whole in itself: pictures are inside."""
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
             f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>"]
    parts += [f"<p class=note>{html.escape(note)}</p>" for note in (*account.notes, account.damage) if note]
    parts += [_html(table) for table in tables]
    parts.append(f"<h2>Latency and scores</h2><img alt='latency over time' src='{_plot(account, wet)}'>")
    parts.append("<h2>Before and after</h2>")
    parts += [_figure(sample) for sample in quality.samples]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def number(value: float, digits: int, unit: str = "", plus: bool = False) -> str:
    """A number for a table, or a dash where there is none."""
    return "-" if np.isnan(value) else f"{value:{'+' if plus else ''}.{digits}f}{unit}"


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _share(part: int, whole: int) -> str:
    return f"{part} ({100.0 * part / whole:.1f} %)" if whole else "-"


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}" for cell in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in table.rows)
    return f"<table><caption>{html.escape(table.title)}</caption><tr>{head}{rows}</table>"


def _figure(sample: Sample) -> str:
    marked = cv2.cvtColor(sample.seen, cv2.COLOR_GRAY2BGR)
    marked[sample.mask > 0] = (0.55 * marked[sample.mask > 0] + np.array([20, 30, 110])).astype(np.uint8)
    pictures = "".join(f"<img alt='{name}' src='{_jpeg(image)}'>" for name, image in
                       (("seen", sample.seen), ("restored", sample.out), ("mask", marked), ("dry", sample.dry)))
    return (f"<figure><div>{pictures}</div><figcaption>{html.escape(sample.camera)}: seen, published, what was "
            "reconstructed (red), and the view without drops</figcaption></figure>")


def _jpeg(image: np.ndarray) -> str:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _plot(account: Account, wet: Mapping[str, Mapping[int, bool]]) -> str:
    """Latency by action and score by camera over time, with the wet times shaded."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    start = min((o.stamp_ns for o in account.outputs), default=0)
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for action, colour in COLOURS.items():
        points = [((o.stamp_ns - start) / 1e9, o.latency_ms) for o in account.outputs if o.action == action]
        if points:
            above.plot(*zip(*points, strict=True), ".", color=colour, label=action.replace("_", " "), markersize=4)
    above.set_ylabel("latency, ms")
    above.set_ylim(bottom=0)
    for k, (camera, truth) in enumerate(wet.items()):
        points = [((o.stamp_ns - start) / 1e9, o.score) for o in account.outputs if o.camera == camera]
        if points:
            below.plot(*zip(*points, strict=True), color=f"C{k}", label=f"{camera}: score")
        times = np.array(sorted(truth))
        below.fill_between((times - start) / 1e9, -0.12 - 0.1 * k, -0.04 - 0.1 * k,
                           where=[truth[t] for t in times], step="post", color=f"C{k}", label=f"{camera}: truly wet")
    below.set_ylabel("score of anomaly")
    below.set_xlabel("seconds")
    for axes in (above, below):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center right", fontsize=8)
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
