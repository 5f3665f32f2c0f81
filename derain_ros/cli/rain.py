"""`derain rain`: look at the synthetic anomalies, and how fast they are drawn."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(no_args_is_help=True, help="Look at the synthetic drops and dirt, and how fast they are drawn.")


@app.command()
def gallery(
    output: Annotated[Path, typer.Argument(help="Picture to write, PNG or JPEG.")],
    data: Annotated[
        Optional[Path],
        typer.Option(
            help="Data folder; real anomalies and clean photographs are taken "
            "from it. Without, all is drawn on a procedural street."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another number gives other scenes, drops and dirt.")] = 0,
) -> None:
    """Write a sheet with every kind of drops and dirt, beside real ones where there are any.

    Examples:

      derain rain gallery gallery.png

      derain rain gallery gallery.png --data data --seed 3
    """
    import cv2
    from rich.console import Console

    from derain_ros.cli import progress
    from derain_ros.rain.gallery import GalleryError
    from derain_ros.rain.gallery import gallery as draw

    if output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise typer.BadParameter(f"{output}: a name that ends in .png or .jpg is expected")
    progress.check_output(output)
    with progress.steps(Console(stderr=True)) as step:
        sheet = draw(data, seed, step("drawing rows"))
    if not cv2.imwrite(str(output), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise GalleryError(f"{output}: cannot be written; is there such a folder?")
    typer.echo(f"written: {output}")


@app.command()
def speed(
    seconds: Annotated[float, typer.Option(min=0.1, max=60.0, help="How long to measure each kind.")] = 2.0,
) -> None:
    """Print how many images of 720x540 a second one core gives a newly drawn wet or dirty glass.

    Example: derain rain speed
    """
    from rich.table import Table

    from derain_ros.cli.progress import output_console
    from derain_ros.rain import dirt, style
    from derain_ros.rain.gallery import images_per_second

    table = Table("glass", "grey", "colour", title="images of 720x540 a second, one core", title_justify="left")
    console = output_console()
    with console.status("measuring"):
        for kind in (*style.KINDS, *dirt.KINDS):
            table.add_row(kind, *(f"{images_per_second(kind, channels, seconds):.1f}" for channels in (1, 3)))
    console.print(table)
