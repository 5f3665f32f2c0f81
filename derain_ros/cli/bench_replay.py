"""`derain bench replay`: a recorded bag through the node over DDS, measured."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from derain_ros.cli.limits import FailIf, hold, read_limits
from derain_ros.cli.replay import (
    AllFrames,
    Cameras,
    Models,
    Parameters,
    Plan,
    Thermal,
    named_cameras,
    settings_of,
    tell_cameras,
)


def command(
    bag: Annotated[Path, typer.Argument(help="A ROS 2 bag: its directory, or one of its files.")],
    camera: Cameras = None,
    thermal: Thermal = "",
    models: Models = None,
    config: Parameters = None,
    plan: Plan = "",
    all_frames: AllFrames = False,
    highest: Annotated[
        bool, typer.Option("--highest", help="Also find the highest speed at which no frame is lost.")
    ] = False,
    output: Annotated[
        Optional[Path], typer.Option(help="Write OUTPUT.json, which is the record, and OUTPUT.html, its page.")
    ] = None,
    fail_if: FailIf = None,
) -> None:
    """Play a bag through the node at its recorded speed, and measure what happens to every frame.

    Player and node are separate processes in a separate DDS domain; no bag is written. It measures latency by stage,
    jitter, age, dropped frames by cause, plans, and the node's use of processor, memory and GPU. With --highest the bag
    is played again, each time with a new node: at twice the speed until frames are lost, or at half of it until none
    is lost, and then in between. `derain bench compare` compares two records.

    If the cache of engines is empty, engines are built and measured while the bag plays; the second run has them.

    Exit code 1 means that a limit of --fail-if is broken, or that the command failed; the last lines say which or why.

    Examples:

      derain bench replay drive --output today

      derain bench replay drive --highest

      derain bench replay rainy --fail-if 'p99_ms > 50' --fail-if 'dropped > 0' --fail-if 'alarm_share < 0.9'
    """
    limits, named = read_limits(fail_if), named_cameras(camera)
    import rclpy  # noqa: F401  the wheels of ROS 2 start this process anew, so before any work

    from derain_ros.bench.replay import measure
    from derain_ros.cli import progress
    from derain_ros.config import Config
    from derain_ros.replay import topics
    from derain_ros.replay.bag import BagReader
    from derain_ros.replay.child import join_own_domain
    from derain_ros.report import page
    from derain_ros.report.tables import tables_of

    files = [] if output is None else [Path(f"{output}.json"), Path(f"{output}.html")]
    for file in files:
        progress.check_output(file)
    console = progress.output_console()
    known, folder = settings_of(config, models, all_frames, plan)

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    join_own_domain()
    with BagReader(bag) as reader, progress.steps(console) as step:
        cameras = topics.choose(reader.topics, named, thermal)
        tell_cameras(tell, reader, cameras)
        known |= {"cameras": list(cameras.images), "thermal": bool(cameras.thermal)}
        record = measure(reader, cameras, Config.from_mapping(known), folder, highest, tell, step)
    if files:
        record.save(files[0])
        page.write(files[1], record)
    progress.show(console, tables_of(record))
    for note in (*record.account.notes, record.account.damage):
        if note:
            console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for file in files:
        tell(f"written: {file}")
    hold(record, limits)
