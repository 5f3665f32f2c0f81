"""`derain frames`: pictures of a recorded bag, to train on."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    bag: Annotated[Path, typer.Argument(help="A ROS 2 bag: its directory, or one .mcap or .db3 file.")],
    folder: Annotated[Path, typer.Argument(help="Folder for the pictures.")],
    every: Annotated[
        float, typer.Option(min=0.0, help="Seconds between two pictures of a camera; 0 writes every image.")
    ] = 1.0,
    camera: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME=TOPIC", help="A camera's image topic; repeatable; found by type by default."),
    ] = None,
) -> None:
    """Write images of a bag's cameras as PNG, to train on: images of a dry lens into a folder `clean`, and so on.

    Example: derain frames dry_drive pictures/clean --every 2
    """
    from derain_ros.cli import progress
    from derain_ros.cli.replay import named_cameras
    from derain_ros.replay import topics
    from derain_ros.replay.bag import BagReader
    from derain_ros.replay.pictures import write_pictures

    console = progress.output_console()
    with BagReader(bag) as reader, progress.steps(console) as step:
        cameras = topics.choose(reader.topics, named_cameras(camera))
        written, unreadable = write_pictures(reader, cameras, folder, every, step("Writing pictures"))
    chosen = ", ".join(f"{name} {topic.name}" for name, topic in cameras.images.items())
    console.print(
        f"{written} pictures of {chosen} written to {folder}"
        + (f"; {unreadable} images could not be read" if unreadable else ""),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    for note in filter(None, (*reader.notes, reader.damage)):
        console.print(note, soft_wrap=True, highlight=False, markup=False)
