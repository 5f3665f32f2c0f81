"""`derain report`: the page of a saved record."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    record: Annotated[Path, typer.Argument(help="A record.json, as derain replay and derain demo write it.")],
    output: Annotated[
        Optional[Path], typer.Option(help="The HTML file to write; report.html beside the record by default.")
    ] = None,
) -> None:
    """Write the page of a saved record again: one HTML file that stands alone.

    Examples:

      derain report cleaned/record.json

      derain report cleaned/record.json --output /tmp/drive.html
    """
    from derain_ros.cli.progress import check_output, output_console
    from derain_ros.replay.record import Record
    from derain_ros.report import page

    check_output(output)
    target = output or record.with_name("report.html")
    page.write(target, Record.read(record))
    output_console().print(f"report: {target.resolve()}", soft_wrap=True, highlight=False, markup=False)
