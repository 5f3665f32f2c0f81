"""The plots of a replay: over time, and the distribution of its latency."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derain_ros.frame import Action
from derain_ros.replay.record import Record

COLOURS = {
    Action.RESTORED.value: "#1f77b4",
    Action.PASSED_CLEAN.value: "#2ca02c",
    Action.PASSED_DISABLED.value: "#7f7f7f",
    Action.PASSED_BUDGET.value: "#ff7f0e",
    Action.PASSED_NO_PLAN.value: "#8c564b",
    Action.PASSED_ERROR.value: "#d62728",
    Action.PASSED_UNPAIRED.value: "#9467bd",
}
PANEL_INCHES = 2.6
BINS = 60


def over_time(record: Record) -> str:
    """Return a PNG as a data URL: latency by action, and score by camera with the wet times shaded if known.

    Plans and the node's use of the processor are added if they are known.
    """
    panels = [_latency, _scores]
    panels += [_plans] if any(o.plan for o in record.account.outputs) else []
    panels += [_usage] if record.usage else []
    figure = _figure(len(panels))
    start = min((o.stamp_ns for o in record.account.outputs), default=0)
    every = figure.subplots(len(panels), 1, sharex=True)
    for panel, axes in zip(panels, every, strict=True):
        panel(axes, record, start)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center right", fontsize=8)
        axes.grid(alpha=0.3)
    every[-1].set_xlabel("seconds")
    return _address(figure)


def distribution(record: Record) -> str:
    """Return a PNG as a data URL: histogram of the latency by action; frames without a known latency are left out."""
    outputs = [o for o in record.account.outputs if np.isfinite(o.latency_ms)]
    figure = _figure(1)
    axes = figure.subplots()
    actions = [action for action in COLOURS if any(o.action == action for o in outputs)]
    if actions:
        axes.hist(
            [[o.latency_ms for o in outputs if o.action == action] for action in actions],
            bins=BINS,
            stacked=True,
            color=[COLOURS[action] for action in actions],
            label=[action.replace("_", " ") for action in actions],
        )
        axes.legend(fontsize=8)
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("frames")
    axes.grid(alpha=0.3)
    return _address(figure)


def lines(panels: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return a PNG as a data URL: for each name a panel of values over seconds; NaN is a gap."""
    figure = _figure(len(panels))
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for (name, points), axes in zip(panels.items(), every, strict=True):
        axes.plot([seconds for seconds, _ in points], [value for _, value in points], ".-", markersize=4)
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    every[-1].set_xlabel("seconds")
    return _address(figure)


def _figure(panels: int) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, PANEL_INCHES * panels), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _address(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _latency(axes: Any, record: Record, start: int) -> None:
    for action, colour in COLOURS.items():
        points = [((o.stamp_ns - start) / 1e9, o.latency_ms) for o in record.account.outputs if o.action == action]
        if points:
            axes.plot(*zip(*points, strict=True), ".", color=colour, label=action.replace("_", " "), markersize=4)
    axes.set_ylabel("latency, ms")
    axes.set_ylim(bottom=0)


def _scores(axes: Any, record: Record, start: int) -> None:
    for k, camera in enumerate(record.account.frames_in):
        points = [((o.stamp_ns - start) / 1e9, o.score) for o in record.account.outputs if o.camera == camera]
        if points:
            axes.plot(*zip(*points, strict=True), color=f"C{k}", label=f"{camera}: score")
        if truth := record.wet.get(camera):
            times = np.array(sorted(truth))
            axes.fill_between(
                (times - start) / 1e9,
                -0.12 - 0.1 * k,
                -0.04 - 0.1 * k,
                step="post",
                color=f"C{k}",
                where=[truth[t] for t in times],
                label=f"{camera}: truly wet",
            )
    axes.set_ylabel("score of anomaly")


def _plans(axes: Any, record: Record, start: int) -> None:
    points = [((o.stamp_ns - start) / 1e9, o.plan) for o in record.account.outputs if o.plan]
    axes.plot(*zip(*points, strict=True), ".", color="C4", markersize=4)
    axes.set_ylabel("plan")


def _usage(axes: Any, record: Record, start: int) -> None:
    axes.plot([u.seconds for u in record.usage], [u.cores for u in record.usage], color="C5", label="cores of the node")
    axes.set_ylabel("cores")
    axes.set_ylim(bottom=0)
