"""`derain calibrate`: find parameters in a bag."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(no_args_is_help=True, help="Find parameters of the node in a bag.")


@app.callback()
def calibrate() -> None:
    """Find parameters of the node in a bag."""


@app.command()
def thermal(
    bag: Annotated[Path, typer.Argument(help="A bag's directory or one of its files.")],
    camera: Annotated[
        Optional[str], typer.Option(metavar="TOPIC", help="Images of the left camera; found by name by default.")
    ] = None,
    thermal: Annotated[
        str, typer.Option(metavar="TOPIC", help="Images of the thermal camera; found by name by default.")
    ] = "",
    output: Annotated[Path, typer.Option(help="File of parameters to write; the picture is written beside it.")] = Path(
        "thermal.yaml"
    ),
) -> None:
    """Find where the thermal image lies on the left camera's image, and write the parameter thermal_homography.

    The bag should have half a minute of driving by day, or of standing before a scene with many contours between warm
    and cold: facades, trees, cars, people. Check the picture: the thermal contours should lie on the visible ones.

    Examples:

      derain calibrate thermal drive

      derain calibrate thermal drive --camera /cam0/image_raw --thermal /boson/image_raw --output robot.yaml
    """
    from derain_ros.cli import progress
    from derain_ros.replay import calibrate, topics
    from derain_ros.replay.bag import BagReader
    from derain_ros.replay.homography import find

    progress.check_output(output)
    console = progress.output_console()
    with BagReader(bag) as reader, progress.steps(console) as step:
        cameras = topics.choose(reader.topics, {"left": camera} if camera else None, thermal)
        left = next(iter(cameras.images.values())).name
        console.print(f"cameras: {left} and {cameras.thermal or 'no thermal camera'}", markup=False, soft_wrap=True)
        pairs = calibrate.pairs_of(reader, cameras, step("Reading pairs"))
    with console.status("comparing contours"):
        found = find(pairs)
    shown = output.with_suffix(".png")
    calibrate.write(found, bag, len(pairs), output, calibrate.overlay(pairs, found.matrix), shown)
    console.print(calibrate.told(found), markup=False, highlight=False, soft_wrap=True)
    console.print(f"written: {output}, {shown}", markup=False, highlight=False, soft_wrap=True)
