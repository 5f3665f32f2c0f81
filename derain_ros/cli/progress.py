"""Progress, tables and files of the commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rich.table
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from derain_ros.report.tables import Table

WIDEST = 200
"""Columns of a table at the most, where there is no terminal."""


def output_console() -> Console:
    """Standard output; in a file or a pipe, which have no width, tables are as wide as they are."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDEST)


def check_output(path: Path | None) -> None:
    """BadParameter where no file can be written at `path`: to be told before the work, not after it."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise typer.BadParameter(
            f"{path}: there is no folder {path.parent}; create it, or name another file", param_hint="--output"
        )
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise typer.BadParameter(
            f"{path}: cannot be written; name a file in a folder that you may write to", param_hint="--output"
        )


@contextmanager
def steps(console: Console) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A function that begins a named step, and gives the function to be told how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def begin(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield begin


def show(console: Console, tables: Iterable[Table]) -> None:
    """Print tables."""
    for table in tables:
        drawn = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
        for k, name in enumerate(table.header):
            drawn.add_column(name, justify="right" if k else "left")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
