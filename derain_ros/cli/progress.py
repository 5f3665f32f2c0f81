"""Progress and tables of the commands that replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import rich.table
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from derain_ros.replay.report import Table

WIDEST = 200
"""Columns of a table at the most, where there is no terminal."""


@contextmanager
def steps(console: Console) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A function that begins a named step, and gives the function to be told how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        def begin(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield begin


def show(console: Console, tables: Iterable[Table]) -> None:
    """Print tables; in a file or a pipe, which have no width, as wide as they are."""
    if not console.is_terminal:
        console = Console(file=console.file, width=WIDEST)
    for table in tables:
        drawn = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
        for k, name in enumerate(table.header):
            drawn.add_column(name, justify="right" if k else "left")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
