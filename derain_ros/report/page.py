"""The page of a replay: one self-contained HTML file with pictures, masks, plots and tables."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

from derain_ros.replay.record import Record
from derain_ros.replay.records import ReplayError
from derain_ros.replay.shown import AGAIN, FUSED, RESTORED, SEEN, Picture
from derain_ros.report.plots import distribution, over_time
from derain_ros.report.tables import Table, origin_table, tables_of

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}
.table{overflow-x:auto}table{border-collapse:collapse;margin:1em 0}
th,td{padding:.3em .9em;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600;padding:.3em 0}
img{width:100%;display:block}figure{margin:1.2em 0;break-inside:avoid}figcaption{color:#555}p.note{color:#a40}
.images{display:grid;grid-template-columns:repeat(3,1fr);gap:6px;align-items:start}
.slider{position:relative;--x:50%}.slider .after{position:absolute;inset:0;clip-path:inset(0 0 0 var(--x))}
.slider input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize;touch-action:pan-y}
.slider i{position:absolute;top:0;bottom:0;left:var(--x);border-left:2px solid #fff;box-shadow:0 0 3px #000}
.slider:focus-within{outline:3px solid #1f77b4}
@media(max-width:700px){body{margin:.5em auto}.images{grid-template-columns:1fr 1fr}.slider{grid-column:1/-1}}
@media print{.slider{grid-column:1/-1;display:grid;grid-template-columns:1fr 1fr;gap:6px}h2{break-after:avoid}
.slider i,.slider input{display:none}.slider .after{position:static;clip-path:none}}"""
SCRIPT = """for (const input of document.querySelectorAll('.slider input'))
  input.oninput = () => input.parentElement.style.setProperty('--x', input.value + '%');"""
"""Moves the border between before and after; the input reacts to the mouse, a finger and the arrow keys."""


def write(path: Path, record: Record, first: Iterable[str] = ()) -> None:
    """Write the page of a replay; ReplayError if `path` cannot be written.

    `first` is HTML that comes first on the page, after the notes.
    """
    account, title = record.account, html.escape(record.title)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width,initial-scale=1'><title>{title}</title>",
        f"<style>{STYLE}</style><h1>{title}</h1>",
    ]
    parts += [f"<p class=note>{html.escape(note)}</p>" for note in (*account.notes, account.damage) if note]
    parts += first
    parts += ["<h2>Before and after</h2>", *map(_figure, record.pictures)] if record.pictures else []
    parts += [html_of(table) for table in (*tables_of(record), origin_table(record))]
    parts.append(f"<h2>Over time</h2><img alt='latency, scores and plans over time' src='{over_time(record)}'>")
    parts.append(f"<h2>Latency</h2><img alt='distribution of the latency' src='{distribution(record)}'>")
    parts += [f"<script>{SCRIPT}</script>"] if record.pictures else []
    try:
        # File names may not be valid text.
        path.write_text("\n".join(parts) + "\n", encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReplayError(f"{path}: cannot be written ({error.strerror})") from error


def html_of(table: Table) -> str:
    """Return a table as HTML."""
    return html_table(table.title, table.header, ("".join(f"<td>{html.escape(c)}" for c in row) for row in table.rows))


def html_table(title: str, header: Iterable[str], rows: Iterable[str]) -> str:
    """Return a table as HTML that scrolls by itself on a narrow screen.

    `title` and `header` are text; each of the `rows` is HTML, from its first <td> on.
    """
    head = "".join(f"<th>{html.escape(cell)}" for cell in header)
    body = "".join(f"<tr>{row}" for row in rows)
    return f"<div class=table><table><caption>{html.escape(title)}</caption><tr>{head}{body}</table></div>"


def _figure(picture: Picture) -> str:
    """Return the seen image and its result with a movable border between them, and the other images beside."""
    images = dict(picture.images)
    after = next((name for name in (FUSED, RESTORED, AGAIN) if name in images), "")
    shown = ""
    if SEEN in images and after in images:
        pair = _image(SEEN, images.pop(SEEN)) + _image(after, images.pop(after), "after")
        told = f"{picture.camera}: border between {SEEN} and {after}, in percent"
        control = f"<input type=range min=0 max=100 value=50 aria-label='{html.escape(told)}'>"
        shown = f"<div class=slider>{pair}<i></i>{control}</div>"
    shown += "".join(_image(name, data) for name, data in images.items())
    caption = html.escape(f"{picture.camera}: {', '.join(picture.images)}")
    return f"<figure><div class=images>{shown}</div><figcaption>{caption}</figcaption></figure>"


def _image(name: str, data: str, kind: str = "") -> str:
    return f"<img class='{kind}' alt='{html.escape(name)}' src='data:image/jpeg;base64,{html.escape(data)}'>"
