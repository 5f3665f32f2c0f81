"""`derain bench soak`: the node for hours, a fault after the other."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    hours: Annotated[float, typer.Option(min=0.001, help="How long; a round of all faults takes about 0.04.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The faults and all that they draw are the same for one seed.")] = 0,
    rate: Annotated[float, typer.Option(min=1.0, max=100.0, help="Frames a second of each camera.")] = 10.0,
    output: Annotated[
        Optional[Path], typer.Option(help="Write OUTPUT.json, which is the record, and OUTPUT.html, its page.")
    ] = None,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
) -> None:
    """Run the node while cameras stop, restart, jump in time and send garbage, subscribers die, engines fail and hang.

    Node, cameras and receiver are in a DDS domain of their own; small wet frames, the plan `light`. After each fault it
    is measured how soon the node restores again, whether the stream then stalls, and what became of every frame.

    Exit code 1 says that something did not hold, and the last lines what: no crash; restoring again within 2 s after
    each fault; no stall beyond two periods of the cameras outside of faults; memory, threads and files flat after the
    first two rounds of faults (2 %, or 8 MB, one thread, one file), where there are five rounds or more, which take
    0.2 hours; every frame restored, passed on, or dropped by a named cause; while a fault lasts no camera waits for
    more than 2 s, or 2 s beyond a fault that stops it. A run that is ended by Ctrl-C, or breaks, writes what there is.

    Examples:

      derain bench soak --hours 1 --output soak

      derain bench soak --hours 0.1 --seed 7
    """
    import rclpy  # noqa: F401  the wheels of ROS 2 start this process anew, so before any work

    from derain_ros.bench import soak_page
    from derain_ros.bench.faults import schedule
    from derain_ros.bench.soak import soak
    from derain_ros.bench.soaked import INTERRUPTED, TERMINATED, Limits, broken, unjudged
    from derain_ros.cli import progress
    from derain_ros.config import Config

    files = [] if output is None else [Path(f"{output}.json"), Path(f"{output}.html")]
    for file in files:
        progress.check_output(file)
    console = progress.output_console()

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    config = Config(plan="light", gating=False)
    with progress.steps(console) as step:
        result = soak(schedule(seed), hours * 3600, seed, rate, config, models, tell, step("The long run"))
    told, short = broken(result, Limits()), unjudged(result)
    result.record.account.notes += [*told, *short]
    if files:
        result.save(files[0])
        soak_page.write(files[1], result)
    progress.show(console, soak_page.tables_of(result))
    for text in (*(f"written: {file}" for file in files), *short):
        tell(text)
    for text in told:
        typer.secho(f"derain: {text}", fg=typer.colors.RED, err=True)
    if told:
        raise typer.Exit({INTERRUPTED: 130, TERMINATED: 143}.get(result.crash, 1))
