"""The page of a replay: one HTML file that stands alone, with pictures, masks, a plot over time and tables."""

from __future__ import annotations

import html
from pathlib import Path

from derain_ros.replay.record import Record
from derain_ros.replay.records import ReplayError
from derain_ros.replay.shown import Picture
from derain_ros.report.plots import over_time
from derain_ros.report.tables import Table, origin_table, tables_of

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
    parts += [_html(table) for table in (*tables_of(record), origin_table(record))]
    parts.append(f"<h2>Over time</h2><img alt='latency, scores and plans over time' src='{over_time(record)}'>")
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
