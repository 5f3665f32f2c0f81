"""`derain report`: the page of a saved record."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from derain_ros.cli.limits import FailIf, hold, read_limits


def command(
    record: Annotated[
        Path,
        typer.Argument(
            help="A record (JSON) of derain replay, demo, bench replay, bench soak, evaluate slam or evaluate matrix."
        ),
    ],
    output: Annotated[
        Optional[Path],
        typer.Option(
            help="The HTML file to write; by default report.html beside record.json, else NAME.html of NAME.json."
        ),
    ] = None,
    fail_if: FailIf = None,
) -> None:
    """Write the page of a saved record again as one self-contained HTML file, and check limits.

    Exit code 1 means that a limit of --fail-if is broken, or that the command failed; the last lines say which or why.

    Examples:

      derain report cleaned/record.json

      derain report cleaned/record.json --output /tmp/drive.html

      derain report soak.json --output soak.html

      derain report today.json --fail-if 'p99_ms > 50' --fail-if 'restored_share < 0.95'
    """
    limits = read_limits(fail_if)
    from derain_ros.cli.progress import check_output, output_console
    from derain_ros.replay.record import Record, kind_of
    from derain_ros.report import page

    check_output(output)
    # Beside record.json of a folder its report.html, beside NAME.json its NAME.html, as they were first written.
    target = output or (
        record.with_name("report.html") if record.name == "record.json" else record.with_suffix(".html")
    )
    if target.resolve() == record.resolve():
        raise typer.BadParameter(f"{target} is the record itself; name another file", param_hint="--output")
    kind, saved = kind_of(record), None
    if kind in ("slam", "matrix") and limits:
        raise typer.BadParameter(f"a record of kind {kind!r} has no frames to check", param_hint="--fail-if")
    if kind == "slam":
        from derain_ros.evaluate.slam.study import Study
        from derain_ros.report import slam

        slam.write(target, Study.read(record))
    elif kind == "matrix":
        from derain_ros.evaluate.matrix import Matrix
        from derain_ros.report import matrix

        matrix.write(target, Matrix.read(record))
    elif kind == "soak":
        from derain_ros.bench import soak_page
        from derain_ros.bench.soaked import Soak

        soak = Soak.read(record)
        saved = soak.record
        soak_page.write(target, soak)
    else:
        saved = Record.read(record)
        page.write(target, saved)
    output_console().print(f"report: {target.resolve()}", soft_wrap=True, highlight=False, markup=False)
    if saved is not None:
        hold(saved, limits)
