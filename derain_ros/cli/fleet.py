"""`derain fleet`: many bags, restored by many workers, on one page."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Optional

import typer

from derain_ros.cli.replay import AllFrames, Cameras, Models, Parameters, Plan, Thermal, named_cameras, settings_of

SHOWN = 20
"""Lenses that the terminal shows."""


def command(
    bags: Annotated[
        list[str],
        typer.Argument(
            metavar="PATTERN...", help="Bags (folders or files) or patterns: 'bags/**' means every bag below bags."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the restored bags and fleet.html; created if needed.")],
    workers: Annotated[
        Optional[int], typer.Option(min=1, help="Processes, each on one core; as many as cores by default.")
    ] = None,
    cluster: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Scheduler of a Dask cluster that does the work, such as tcp://10.0.0.1:8786; its machines must have "
            "bags, models and output at the same paths as this one.",
        ),
    ] = "",
    camera: Cameras = None,
    thermal: Thermal = "",
    models: Models = None,
    config: Parameters = None,
    plan: Plan = "",
    all_frames: AllFrames = False,
) -> None:
    """Restore many bags, and list the lenses of all robots: how bad each one is, and since when.

    Every bag is restored as by `derain replay`, with its record and its page. fleet.html lists all lenses, the worst
    first, with links to the bags' pages; fleet.json has the same figures. Bags are split into segments of one minute
    that workers restore in parallel; the results do not depend on the number of workers. If a worker or this command is
    killed, call the command again: it continues. A damaged bag is restored up to the damage.

    The robot's name is the first folder below the fixed part of the pattern: for bags/robot7/monday and 'bags/**' it is
    robot7. For a bag in no such folder it is the namespace of its topics, or the bag's name.

    Exit code 1 means that a bag is damaged or could not be restored; the page says which one, and why.

    Examples:

      derain fleet 'bags/**' --output restored

      derain fleet 'bags/*/2026-11-29*' --output restored --workers 4

      derain fleet '/data/bags/**' --output /data/restored --cluster tcp://10.0.0.1:8786
    """
    if workers is not None and cluster:
        raise typer.BadParameter("--workers is for this machine only; a cluster has its own workers")
    named = named_cameras(camera)
    from derain_ros.cli import progress
    from derain_ros.config import Config
    from derain_ros.engine.machine import physical_cores
    from derain_ros.fleet import page
    from derain_ros.fleet.bags import find_bags
    from derain_ros.fleet.run import run
    from derain_ros.fleet.segments import BagTask
    from derain_ros.fleet.workers import Workers
    from derain_ros.fleet.workers import cluster as connected
    from derain_ros.manifest import Manifest

    settings, folder = settings_of(config, models, all_frames, plan)
    # What is measured would depend on the machine; and more workers are better than more threads.
    if settings.get("engine", "auto") == "auto":
        settings["engine"] = "openvino" if find_spec("openvino") else "onnxruntime"
    settings["threads"] = 1
    Config.from_mapping(settings)
    folder = folder and folder.resolve()
    Manifest.load(folder)
    output = output.resolve()
    if output.exists() and not output.is_dir():
        raise typer.BadParameter(f"{output} is not a folder", param_hint="--output")
    found = find_bags(bags, output)
    tasks = [BagTask(bag, output / bag.name, settings, folder, named, thermal) for bag in found]
    console = progress.output_console()

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    with ExitStack() as stack:
        if cluster:
            executor, count = stack.enter_context(connected(cluster))
        else:
            count = workers or len(physical_cores())
            executor = stack.enter_context(Workers(count))
        tell(f"{len(tasks)} bags, {count} workers")
        step = stack.enter_context(progress.steps(console))
        done = run(tasks, executor, count, step("Restoring"), tell)
    output.mkdir(parents=True, exist_ok=True)
    page.save(output / "fleet.json", done.bags)
    page.write(output / "fleet.html", done.bags)
    progress.show(console, [page.lens_table(page.lenses(done.bags)[:SHOWN])])
    for bag in done.bags:
        if bag.fault:
            tell(f"{bag.name}: {bag.fault}")
    if done.recorded_s:
        cost = done.worked_s / done.recorded_s
        tell(
            f"restored {done.recorded_s / 60:.1f} min of recording; one hour takes {cost:.2f} core hours; "
            f"planning and finishing took another {done.beside_s / 60:.1f} core minutes"
        )
    tell(f"page: {output / 'fleet.html'}")
    if any(bag.fault for bag in done.bags):
        raise typer.Exit(1)
