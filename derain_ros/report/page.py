"""The page of a replay: one HTML file that stands alone, with pictures, masks, a plot over time and tables."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np

from derain_ros.frame import Action
from derain_ros.replay.record import Record
from derain_ros.replay.records import ReplayError
from derain_ros.replay.shown import Picture
from derain_ros.report.tables import Table, tables_of

COLOURS = {
    Action.RESTORED.value: "#1f77b4",
    Action.PASSED_CLEAN.value: "#2ca02c",
    Action.PASSED_DISABLED.value: "#7f7f7f",
    Action.PASSED_BUDGET.value: "#ff7f0e",
    Action.PASSED_ERROR.value: "#d62728",
    Action.PASSED_UNPAIRED.value: "#9467bd",
}
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}th,td{padding:.3em .9em;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600;padding:.3em 0}
figure{margin:1.2em 0}figure div{display:grid;grid-template-columns:repeat(4,1fr);gap:6px}img{width:100%}
figcaption{color:#555}p.note{color:#a40}"""


def write(path: Path, record: Record) -> None:
    """Write the page of a replay; ReplayError where `path` cannot be written."""
    account, title = record.account, html.escape(record.title)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title>",
        f"<style>{STYLE}</style><h1>{title}</h1>",
    ]
    parts += [f"<p class=note>{html.escape(note)}</p>" for note in (*account.notes, account.damage) if note]
    parts += [_html(table) for table in tables_of(record)]
    parts.append(f"<h2>Latency and scores</h2><img alt='latency and scores over time' src='{_plot(record)}'>")
    parts += ["<h2>Before and after</h2>", *map(_figure, record.pictures)] if record.pictures else []
    try:
        # Names of files need not be text.
        path.write_text("\n".join(parts) + "\n", encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReplayError(f"{path}: cannot be written ({error.strerror})") from error


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}" for cell in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in table.rows)
    return f"<table><caption>{html.escape(table.title)}</caption><tr>{head}{rows}</table>"


def _figure(picture: Picture) -> str:
    shown = "".join(
        f"<img alt='{html.escape(name)}' src='data:image/jpeg;base64,{html.escape(data)}'>"
        for name, data in picture.images.items()
    )
    caption = html.escape(f"{picture.camera}: {', '.join(picture.images)}")
    return f"<figure><div>{shown}</div><figcaption>{caption}</figcaption></figure>"


def _plot(record: Record) -> str:
    """Latency by action and score by camera over time, with the wet times shaded where they are known."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    account = record.account
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
    for k, camera in enumerate(account.frames_in):
        points = [((o.stamp_ns - start) / 1e9, o.score) for o in account.outputs if o.camera == camera]
        if points:
            below.plot(*zip(*points, strict=True), color=f"C{k}", label=f"{camera}: score")
        if truth := record.wet.get(camera):
            times = np.array(sorted(truth))
            below.fill_between(
                (times - start) / 1e9,
                -0.12 - 0.1 * k,
                -0.04 - 0.1 * k,
                step="post",
                color=f"C{k}",
                where=[truth[t] for t in times],
                label=f"{camera}: truly wet",
            )
    below.set_ylabel("score of anomaly")
    below.set_xlabel("seconds")
    for axes in (above, below):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center right", fontsize=8)
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
