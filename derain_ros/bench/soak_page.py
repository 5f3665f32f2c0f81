"""The tables and the page of a soak test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from derain_ros.bench.soaked import FRAMES, Soak, middle, total
from derain_ros.report import page
from derain_ros.report.plots import lines
from derain_ros.report.tables import Table

GROWN = {"memory_mb": "memory, MB", "threads": "threads", "files": "files"}


def write(path: Path, soak: Soak) -> None:
    """Write the page of a soak test: its faults, memory, threads and files over time, and the page of all its frames.

    ReplayError if `path` cannot be written.
    """
    held = {name: [(f.ended_s, getattr(f, what)) for f in soak.faults] for what, name in GROWN.items()}
    held["restoring after, s"] = [
        (f.ended_s, f.restored_after_s if math.isfinite(f.restored_after_s) else math.nan) for f in soak.faults
    ]
    parts = [page.html_of(table) for table in tables_of(soak)]
    parts.append(f"<h2>The node after each fault</h2><img alt='{', '.join(held)}, over time' src='{lines(held)}'>")
    page.write(path, soak.record, parts)


def tables_of(soak: Soak) -> list[Table]:
    """Tables of the results of each kind of fault, of dropped frames by cause, and of memory, threads and files."""
    kinds = []
    for kind in dict.fromkeys(fault.kind for fault in soak.faults):
        of = [fault for fault in soak.faults if fault.kind == kind]
        frames = total(fault.frames for fault in of)
        after = [fault.restored_after_s for fault in of]
        longest = [f"{max(getattr(fault, what) for fault in of):.0f}" for what in ("gap_ms", "stall_ms")]
        kinds.append([kind, str(len(of)), f"{middle(after):.2f}", f"{max(after):.2f}", *longest, *_counts(frames)])
    titles = ["fault", "times", "restoring after s", "longest", "longest gap ms", "afterwards", *FRAMES]
    causes = [[cause, str(n)] for cause, n in soak.causes().most_common()]
    grown = [[GROWN[what], f"{before:.0f}", f"{after:.0f}"] for what, (before, after) in soak.growth().items()]
    tables = [Table("Faults", titles, [*kinds, ["all", str(len(soak.faults)), *[""] * 4, *_counts(soak.frames())]])]
    tables += [Table("Frames dropped during faults", ["", "frames"], causes)]
    return tables + (
        [Table("After the warm-up, each time the node was configured anew", ["", "first third", "last third"], grown)]
        if grown
        else []
    )


def _counts(frames: Mapping[str, int]) -> list[str]:
    return [str(frames[what]) for what in FRAMES]
