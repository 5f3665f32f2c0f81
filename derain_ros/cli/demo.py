"""`derain demo`: see the node at work without a robot."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    output: Annotated[
        Path, typer.Option(help="Directory for bags and report; an earlier demo there is replaced.")
    ] = Path("derain_demo"),
    seconds: Annotated[float, typer.Option(min=2.0, max=600.0, help="Length of the drive.")] = 10.0,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
) -> None:
    """Record a rainy drive, play it through the node in real time, and show the results.

    A stereo pair and a thermal camera see a procedural street: dry at first, then with drops on the left lens, then on
    both, then dry again. The node runs in another process and gets the images over DDS at 20 Hz, or at the rate that
    this machine can restore. It prints tables and writes a restored bag (MCAP, for ros2 bag and Foxglove) and a report
    (HTML) with pictures.

    Exit code 1 means that less than half of the wet frames were restored; the last line says why.

    Examples:

      derain demo

      derain demo --output /tmp/rainy --seconds 20
    """
    import rclpy  # noqa: F401  the wheels of ROS 2 start this process anew, so before any work

    from derain_ros.cli import progress
    from derain_ros.manifest import Manifest
    from derain_ros.replay.child import join_own_domain
    from derain_ros.replay.demo import PAGE, demonstrate
    from derain_ros.replay.drive import Drive
    from derain_ros.replay.records import ReplayError
    from derain_ros.report import page
    from derain_ros.report.tables import tables_of

    join_own_domain()
    console = progress.output_console()
    with progress.steps(console) as step:
        Manifest.load(models)  # a mistake is told before the work, not after it
        made = demonstrate(output, Drive(seconds=seconds), models, step)
    page.write(output / PAGE, made.record)
    progress.show(console, tables_of(made.record))
    for note in (note for note in made.record.account.notes if note != made.failure):
        console.print(note, style="yellow", markup=False, soft_wrap=True)
    for what, path in (("recorded", made.drive), ("cleaned", made.cleaned), ("report", output / PAGE)):
        console.print(f"{what + ':':<10}{path.resolve()}", soft_wrap=True, highlight=False, markup=False)
    if made.failure:
        raise ReplayError(made.failure)
