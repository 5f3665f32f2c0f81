"""The weather matrix as heat maps on a page, and in words."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from derain_ros.evaluate.matrix import BETTER, DEFAULT, FOR_SLAM, WET, Cell, Matrix
from derain_ros.evaluate.slam.study import DRY, Study
from derain_ros.evaluate.slam.study import WET as SLAM_WET
from derain_ros.report.page import STYLE, html_table
from derain_ros.report.tables import Table

FIGURES = {
    "matches": ("Stereo points that agree on the motion", 1.0, 0),
    "drift": ("Odometry: error of a step, % of its length", 100.0, 1),
    "psnr": ("PSNR to the clear view, dB", 1.0, 1),
    "miou": ("Segmentation: mIoU against that of the clear view, %", 100.0, 0),
    "iou": ("IoU of the mask", 1.0, 2),
}
"""Title, factor and digits of each figure, in the order in which they are shown."""
FULL = {"matches": 0.5, "drift": 0.2, "psnr": 4.0, "miou": 0.2, "iou": 1.0}
"""Change that gets the strongest colour; for matches it is a share of those of the wet views."""
GREEN, RED = (26, 122, 60), (190, 40, 40)
COLOURS = "td{min-width:5em}td b{font-weight:600}small{color:#333}"


def write(path: Path, matrix: Matrix, slam: Study | None = None) -> None:
    """Write the page: a heat map for each figure and, if a `slam` study is given, one of its right steps."""
    title = "derain: weather matrix"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}{COLOURS}</style><h1>{title}</h1>",
        *(f"<p>{html.escape(note)}</p>" for note in notes(matrix)),
    ]
    parts += [_heat_map(matrix, figure) for figure in FIGURES]
    parts += [_slam_map(slam)] if slam is not None else []
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def notes(matrix: Matrix) -> list[str]:
    """Return how the matrix was made, what the marks mean, and where a rung hurts."""
    told = [
        f"{matrix.scenes}, {matrix.clips} clips, seed {matrix.seed}. Rows: anomaly and severity; columns: the wet "
        "views, each rung of the ladder on every pair, and what the node publishes by default with that rung as its "
        "best. "
        "Colour: better (green) or worse (red) than wet. Matches: points that both eyes show and whose motion most "
        "agree on. A cell is marked 'hurts' where matches or drift are worse than wet over the whole bootstrap "
        "interval of 95 %. In brackets: the share of the pairs that the node restores by default."
    ]
    for by_default in (False, True):
        hurt = hurting(matrix, by_default)
        what = "by default" if by_default else "restoring every pair"
        told.append(f"Where it hurts {what}: {'; '.join(hurt) or 'nowhere'}.")
    return told


def hurting(matrix: Matrix, by_default: bool) -> list[str]:
    """Return, in words, the cells in which a rung hurts, on every pair or as the node uses it `by_default`."""
    told = []
    for cell in matrix.cells:
        for rung in cell.rungs:
            view = rung + DEFAULT if by_default else rung
            if figures := cell.hurts(view):
                changes = ", ".join(_change(cell, view, figure) for figure in figures)
                told.append(f"{cell.anomaly} {cell.severity} by {rung} ({changes})")
    return told


def tables(matrix: Matrix) -> list[Table]:
    """Return a table for each of FOR_SLAM and for PSNR: means of the wet views and of the views of each rung."""
    made = []
    rungs = matrix.cells[0].rungs
    for figure in (*FOR_SLAM, "psnr"):
        name, scale, digits = FIGURES[figure]
        rows = [
            [
                f"{cell.anomaly} {cell.severity}",
                *(f"{scale * _mean(cell, view, figure):.{digits}f}" for view in (WET, *rungs)),
                f"{cell.used:.0%}",
            ]
            for cell in matrix.cells
        ]
        made.append(Table(name, ["", WET, *rungs, "restored by default"], rows))
    return made


def _heat_map(matrix: Matrix, figure: str) -> str:
    name, scale, digits = FIGURES[figure]
    rungs = matrix.cells[0].rungs
    views = [*([] if figure == "iou" else [WET]), *(view for rung in rungs for view in (rung, rung + DEFAULT))]
    if all(np.isnan(cell.views[views[-1]][figure]).all() for cell in matrix.cells):
        return ""
    rows = []
    for cell in matrix.cells:
        cells = []
        for view in views:
            value = _mean(cell, view, figure)
            text = f"{scale * value:.{digits}f}"
            if figure in FOR_SLAM and view != WET and figure in cell.hurts(view):
                text += " <b>hurts</b>"
            cells.append(f"<td style='{_colour(_shift(cell, view, figure))}'>{text}")
        rows.append(f"<td>{html.escape(cell.anomaly)} {cell.severity} <small>({cell.used:.0%})</small>{''.join(cells)}")
    return html_table(name, ["", *views], rows)


def _slam_map(study: Study) -> str:
    """Return a heat map of the share of ORB-SLAM3's right steps, by case and views."""
    views = list(dict.fromkeys(row.views for row in study.rows if row.views != DRY))
    right = {
        (row.anomaly, row.amount, row.views): float(np.mean([run.right for run in row.runs])) for row in study.rows
    }
    rows = []
    for anomaly, amount in dict.fromkeys((row.anomaly, row.amount) for row in study.rows if row.views != DRY):
        wet = right.get((anomaly, amount, SLAM_WET), np.nan)
        cells = []
        for view in views:
            value = right.get((anomaly, amount, view), np.nan)
            text = "-" if np.isnan(value) else f"{100 * value:.0f}"
            cells.append(f"<td style='{_colour((value - wet) / 0.3)}'>{text}")
        rows.append(f"<td>{html.escape(f'{anomaly} {amount:g}'.strip())}{''.join(cells)}")
    title = f"ORB-SLAM3 on {study.title}: right steps, %, means of {study.repeats} runs"
    return html_table(title, ["", *views], rows)


def _shift(cell: Cell, view: str, figure: str) -> float:
    """Return how much better (above 0) or worse a view is than the wet one; 1 gets the strongest colour."""
    if view == WET:
        return 0.0
    if figure == "iou":
        return _mean(cell, view, figure)
    change = BETTER[figure] * (_mean(cell, view, figure) - _mean(cell, WET, figure))
    return change / FULL[figure] / (max(_mean(cell, WET, figure), 1.0) if figure == "matches" else 1.0)


def _colour(shift: float) -> str:
    """Return the style of a cell: none if `shift` is not known, white for 0, green above, red below."""
    if not np.isfinite(shift):
        return ""
    strength = min(1.0, abs(shift)) * 0.75
    rgb: Sequence[int] = [round(255 + strength * (c - 255)) for c in (GREEN if shift > 0 else RED)]
    return f"background:rgb({rgb[0]},{rgb[1]},{rgb[2]})"


def _change(cell: Cell, view: str, figure: str) -> str:
    _, scale, digits = FIGURES[figure]
    wet, now = (scale * _mean(cell, of, figure) for of in (WET, view))
    return f"{figure} {wet:.{digits}f} to {now:.{digits}f}"


def _mean(cell: Cell, view: str, figure: str) -> float:
    return float(np.mean(cell.views[view][figure]))
