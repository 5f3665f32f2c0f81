"""Results of ORB-SLAM3 as a table, and as a page with the trajectories."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from derain_ros.evaluate.slam.study import DRY, Study, StudyRow
from derain_ros.evaluate.slam.trajectory import RIGHT_M, RIGHT_SHARE, TrajectoryFigures
from derain_ros.report.page import STYLE, html_of
from derain_ros.report.tables import Table

HEADER = ("lens", "hidden", "views", "tracked, %", "right steps, %", "ATE, m", "RPE, cm", "points")


def table(study: Study) -> Table:
    """Return all rows: the mean over the runs and, in brackets, the least and the greatest value."""
    rows = []
    for row in study.rows:
        rows.append(
            [
                f"{row.anomaly} {row.amount:g}" if row.anomaly else "",
                f"{row.hidden:.0%}" if row.anomaly else "",
                row.views,
                _spread(row.runs, lambda run: 100 * run.tracked, 0),
                _spread(row.runs, lambda run: 100 * run.right, 0),
                _spread(row.runs, lambda run: run.ate_m, 2),
                _spread(row.runs, lambda run: 100 * run.rpe_m, 1),
                _spread(row.runs, lambda run: run.points, 0),
            ]
        )
    return Table(f"ORB-SLAM3 on {study.title}, {study.frames} pairs, {study.repeats} runs each", HEADER, rows)


def notes(study: Study) -> list[str]:
    """Return what a reader of the table needs to know."""
    told = [
        "Tracked: pairs of which ORB-SLAM3 gave a pose; one that was lost, starts anew and stands still gives poses, "
        f"too. Right steps: steps from pair to pair whose length is wrong by less than {RIGHT_M:g} m, or by less than "
        f"{RIGHT_SHARE:.0%} of the usual step where that is less, of all steps. ATE: root mean square of the absolute "
        "error after alignment, over the tracked pairs alone. RPE: the same of the error of a step's length, over the "
        "tracked steps. Both by evo. Points: those of the map that were tracked. Means over the runs, which differ; in "
        "brackets the least and the greatest."
    ]
    if -1 not in study.places:
        told.append("The truth is not known: steps and errors cannot be told.")
    crashes = sum(run.crashed for row in study.rows for run in row.runs)
    if crashes:
        told.append(f"{crashes} runs ended before their time; what they had not tracked counts as lost.")
    return [*told, *study.notes]


def markdown(study: Study) -> str:
    """Return the table and the notes as Markdown."""
    made = table(study)
    lines = [f"| {' | '.join(row)} |" for row in (made.header, ["---"] * len(made.header), *made.rows)]
    return "\n".join([*lines, "", *notes(study)]) + "\n"


def write(path: Path, study: Study) -> None:
    """Write the page: the table, the notes, and the trajectories of each case from above."""
    title = html.escape(f"derain: ORB-SLAM3 on {study.title}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>",
        html_of(table(study)),
        *(f"<p>{html.escape(note)}</p>" for note in notes(study)),
        f"<h2>Trajectories</h2><img alt='trajectories from above' src='{plot(study)}'>",
    ]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def plot(study: Study) -> str:
    """Return a PNG as a data URL: for each case the trajectories of the first runs and the true one, from above.

    The axes are the two along which the drive is longest, in metres.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cases: dict[tuple[str, float], list[tuple[int, StudyRow]]] = {}
    for number, row in enumerate(study.rows):
        cases.setdefault((row.anomaly, row.amount), []).append((number, row))
    dry = cases.pop(("", 0.0), [])
    cases = cases or {("", 0.0): []}
    across = min(3, len(cases))
    down = -(-len(cases) // across)
    figure = Figure(figsize=(5.5 * across, 4.5 * down), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.ravel(figure.subplots(down, across, squeeze=False))
    longest = _longest(study.places.get(-1) or [place for of in study.places.values() for place in of])
    for one, ((anomaly, amount), rows) in zip(axes, cases.items(), strict=False):
        lines = [("true", study.places.get(-1, []), "k:")]
        lines += [(row.views, study.places.get(number, []), "-") for number, row in dry + rows]
        for name, places, style in lines:
            if places:
                seen = np.array(places)[:, longest]
                one.plot(seen[:, 1], seen[:, 0], style, label=name, linewidth=1)
        one.set_title(f"{anomaly} {amount:g}" if anomaly else DRY, fontsize=9)
        one.set_aspect("equal", "datalim")
        one.grid(alpha=0.3)
        if lines:
            one.legend(fontsize=7)
    for one in axes[len(cases) :]:
        one.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _longest(places: Sequence[Sequence[float]]) -> list[int]:
    """Return the two axes along which the places spread most, the longest first."""
    if not places:
        return [2, 0]
    return [int(axis) for axis in np.argsort(-np.ptp(np.array(places), axis=0), kind="stable")[:2]]


def _spread(runs: Sequence[TrajectoryFigures], figure: Callable[[TrajectoryFigures], float], digits: int) -> str:
    """Return the mean of a figure over the runs, and its range if they differ; a dash if it is not known."""
    values = np.array([figure(run) for run in runs])
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    mean, low, high = (f"{value:.{digits}f}" for value in (values.mean(), values.min(), values.max()))
    return mean if low == high else f"{mean} ({low} to {high})"
