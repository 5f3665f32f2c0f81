"""Writes fleet.json and fleet.html, the page with every lens of the fleet, the worst first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from urllib.parse import quote

from derain_ros.fleet import FleetError
from derain_ros.fleet.lens import RobotLens, lenses_of
from derain_ros.fleet.whole import BagDone
from derain_ros.report.page import STYLE, html_table
from derain_ros.report.tables import Table

FORMAT = 1
HEADER = ["robot", "lens", "affected since", "until", "severity", "affected", "severe", "frames"]
MEANS = """A lens is affected while its debounced alarm is on, and severely affected while the severity stays high.
Severity, from 0 to 1, is how much of the view is lost, averaged over all frames; without an alarm it is 0. "Affected
since" is the start of the alarm that is on at the end of the last recording, or less than 10 s before it; else of the
last alarm. The robot is the first folder below the common folder; for a bag in no such folder, it is the namespace of
its topics, or the bag. Times are stamps, in UTC.
"""


def lenses(bags: Sequence[BagDone]) -> list[RobotLens]:
    """Every lens of the fleet, the worst first."""
    return lenses_of([(bag.robot, bag.lenses) for bag in bags])


def lens_table(found: Sequence[RobotLens]) -> Table:
    """The lenses as a table of texts."""
    return Table("Lenses, the worst first", HEADER, list(map(_cells, found)))


def save(path: Path, bags: Sequence[BagDone]) -> None:
    """Write all lenses and bags as JSON; FleetError if `path` cannot be written."""
    content = {
        "format": FORMAT,
        "kind": "fleet",
        "lenses": [{**asdict(lens), "bags": [bags[n].name for n in lens.bags]} for lens in lenses(bags)],
        "bags": [{**asdict(bag), "page": bag.page} for bag in bags],
    }
    _write(path, json.dumps(content, indent=1))


def write(path: Path, bags: Sequence[BagDone]) -> None:
    """Write the page as one HTML file with links to the bags' pages; FleetError if `path` cannot be written."""
    found = lenses(bags)
    title = f"derain: {len({bag.robot for bag in bags})} robots, {len(found)} lenses, {len(bags)} bags"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>",
        *(f"<p class=note>{_link(bag)}: {escape(bag.fault)}</p>" for bag in bags if bag.fault),
        html_table(
            lens_table(found).title,
            [*HEADER, "bags, the worst first"],
            [_row([*map(escape, _cells(lens)), ", ".join(_link(bags[n]) for n in lens.bags)]) for lens in found],
        ),
        f"<p>{MEANS}</p>",
        html_table(
            "Bags",
            ["bag", "robot", "minutes", "frames", "restored", "trouble"],
            [
                _row(
                    [
                        _link(bag),
                        escape(bag.robot),
                        f"{bag.recorded_s / 60:.1f}",
                        str(bag.frames),
                        str(bag.restored),
                        "see above" if bag.fault else "",
                    ]
                )
                for bag in bags
            ],
        ),
    ]
    _write(path, "\n".join(parts) + "\n")


def _cells(lens: RobotLens) -> list[str]:
    return [
        lens.robot,
        f"{lens.camera} ({lens.topic})",
        _time(lens.since_ns),
        "still" if lens.since_ns is not None and lens.until_ns is None else _time(lens.until_ns),
        f"{lens.severity:.3f}" if lens.frames else "-",
        f"{100 * lens.affected:.1f} %" if lens.frames else "-",
        f"{100 * lens.severe:.1f} %" if lens.frames else "-",
        str(lens.frames),
    ]


def _time(stamp_ns: int | None) -> str:
    if stamp_ns is None:
        return "-"
    return datetime.fromtimestamp(stamp_ns // 1_000_000_000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _row(cells: Iterable[str]) -> str:
    return "".join(f"<td>{cell}" for cell in cells)


def _link(bag: BagDone) -> str:
    name = escape(bag.name)
    return f"<a href='{quote(bag.page, errors='surrogateescape')}'>{name}</a>" if bag.page else name


def _write(path: Path, text: str) -> None:
    """Write a file under a temporary name, and rename it when it is complete; FleetError if that fails."""
    part = path.with_name(f"{path.name}.part")
    try:
        # File names need not be valid text.
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        raise FleetError(f"{path} cannot be written: {error.strerror}") from error
