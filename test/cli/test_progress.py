"""Tables of the commands, where there is no terminal that they would have to fit."""

from __future__ import annotations

import io

from rich.console import Console

from derain_ros.cli.progress import show
from derain_ros.replay.report import Table


def test_a_table_in_a_pipe_says_all_that_it_holds() -> None:
    header = [f"column {n}" for n in range(14)]
    file = io.StringIO()
    show(Console(file=file), [Table("Wide", header, [[f"value {n}" for n in range(14)]])])
    text = file.getvalue()
    assert all(f"column {n}" in text and f"value {n}" in text for n in range(14))
    assert all(len(line) <= 200 for line in text.splitlines())
