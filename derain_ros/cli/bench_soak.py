"""`derain bench soak`: the node for hours, a fault after the other."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    hours: Annotated[
        float, typer.Option(min=0.001, help="Hours to run; a round of all faults takes about 0.04.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed gives the same faults with the same random values.")
    ] = 0,
    rate: Annotated[float, typer.Option(min=1.0, max=100.0, help="Frames per second of each camera.")] = 10.0,
    output: Annotated[
        Optional[Path], typer.Option(help="Write OUTPUT.json, which is the record, and OUTPUT.html, its page.")
    ] = None,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
) -> None:
    """Run the node while cameras stop, restart, jump in time and send garbage, subscribers die, engines fail and hang.

    Node, cameras and receiver run in a separate DDS domain, with small wet frames and the plan `light`. After each
    fault it is measured how soon the node restores again, whether the stream then stalls, and what happened to every
    frame.

    Exit code 1 means that a requirement is not met; the last lines say which. The requirements: no crash; restoring
    again within 2 s after each fault; outside of faults no stall longer than two periods of the cameras; after the
    first two rounds of faults, memory, threads and open files do not grow (2 %, or 8 MB, one thread, one file), judged
    from five rounds on, which take 0.2 hours; every frame is restored, passed on, or dropped for a named cause; during
    a fault no camera waits for more than 2 s, or 2 s beyond a fault that stops it. After Ctrl-C or a failure, the
    results so far are written.

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
        result = soak(schedule(seed), hours * 3600, seed, rate, config, models, tell, step("Soak test"))
    told, short = broken(result, Limits()), unjudged(result)
    result.record.account.notes += [*told, *short]
    if files:
        result.save(files[0])
        soak_page.write(files[1], result)
    progress.show(console, soak_page.tables_of(result))
    for text in (*(f"written: {file}" for file in files), *short):
        tell(text)
    if not told:
        tell("all requirements were met" + (" that the run was long enough for" if short else ""))
    for text in told:
        typer.secho(f"derain: {text}", fg=typer.colors.RED, err=True)
    if told:
        raise typer.Exit({INTERRUPTED: 130, TERMINATED: 143}.get(result.crash, 1))
