"""Tables of the commands, where there is no terminal that they would have to fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from derain_ros.cli.progress import check_output, output_console, show
from derain_ros.report.tables import Table


def test_a_table_in_a_pipe_says_all_that_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    header = [f"column {n}" for n in range(14)]
    show(output_console(), [Table("Wide", header, [[f"value {n}" for n in range(14)]])])
    text = capsys.readouterr().out
    assert all(f"column {n}" in text and f"value {n}" in text for n in range(14))
    assert all(len(line) <= 200 for line in text.splitlines())


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    for fine in (None, tmp_path / "new.md", Path("beside.md")):
        check_output(fine)
    for path, told in ((tmp_path / "no/such.md", "there is no folder"), (tmp_path, "cannot be written")):
        with pytest.raises(typer.BadParameter, match=told):
            check_output(path)
