"""`derain rain`: look at the synthetic anomalies, how fast they are drawn, and showers over street scenes."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(no_args_is_help=True, help="Synthetic drops, dirt and showers.")


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
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes, drops and dirt.")] = 0,
) -> None:
    """Write a sheet with every kind of synthetic drops and dirt, beside real ones if there are any.

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
        raise typer.BadParameter(f"{output}: the name must end in .png or .jpg")
    progress.check_output(output)
    with progress.steps(Console(stderr=True)) as step:
        sheet = draw(data, seed, step("drawing rows"))
    if not cv2.imwrite(str(output), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise GalleryError(f"{output}: cannot be written; check that its folder exists and is writable")
    typer.echo(f"written: {output}")


@app.command()
def speed(
    seconds: Annotated[float, typer.Option(min=0.1, max=60.0, help="Seconds to measure each kind.")] = 2.0,
) -> None:
    """Print on how many images of 720x540 per second one core renders a new wet or dirty glass.

    Example: derain rain speed
    """
    from rich.table import Table

    from derain_ros.cli.progress import output_console
    from derain_ros.rain import dirt, style
    from derain_ros.rain.gallery import images_per_second

    table = Table("glass", "grey", "colour", title="images of 720x540 per second, one core", title_justify="left")
    console = output_console()
    with console.status("measuring"):
        for kind in (*style.KINDS, *dirt.KINDS):
            table.add_row(kind, *(f"{images_per_second(kind, channels, seconds):.1f}" for channels in (1, 3)))
    console.print(table)


@app.command()
def sequence(
    scenes: Annotated[
        Path,
        typer.Argument(
            help="Street scenes: a folder of CamVid or Cityscapes, its parent folder, or a folder of images."
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(help="Folder of the pictures, or with a name that ends in .mp4 a video; it must not exist."),
    ],
    frames: Annotated[int, typer.Option(min=2, help="Frames of the shower.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shower.")] = 0,
    rate: Annotated[float, typer.Option(min=0.1, max=200.0, help="Frames per second.")] = 10.0,
    split: Annotated[
        str, typer.Option(help="train, validation or test: which scenes of CamVid or Cityscapes to take.")
    ] = "train",
    bag: Annotated[
        bool,
        typer.Option(
            "--bag",
            help="Write an MCAP bag, for `derain replay` and `derain evaluate segmentation`: images on "
            "/left/image_raw, masks on /left/anomaly_mask, clean images and labels below /truth/left.",
        ),
    ] = False,
) -> None:
    """Write a whole shower over street scenes: dry, streaks, drops that collect, run down and leave trails, drying.

    Writes wet images, masks of the occluded pixels, clean images and, if the scenes have them, labels (255 is void):
    image/, mask/, clean/, label/. Each frame shows one scene, in order of name; if there are fewer scenes than frames,
    they are shown forward and backward in turns. The same seed gives the same frames.

    Examples:

      derain rain sequence data/camvid rainy --frames 300

      derain rain sequence drive/clean shower.mp4 --rate 20 --seed 3

      derain rain sequence drive/clean shower --bag
    """
    from rich.console import Console

    from derain_ros.cli import progress
    from derain_ros.data.labelled import street_scenes
    from derain_ros.data.rain_sequence import rain_over, write_bag, write_pictures, write_video
    from derain_ros.data.splits import SCENE_SPLITS

    video = output.suffix.lower() == ".mp4"
    if split not in SCENE_SPLITS:
        raise typer.BadParameter(f"{split}: must be one of {', '.join(SCENE_SPLITS)}", param_hint="--split")
    if video and bag:
        raise typer.BadParameter(f"{output}: a bag is a directory; give a name that does not end in .mp4")
    if output.exists() and (not output.is_dir() or bag or any(output.iterdir())):
        raise typer.BadParameter(f"{output}: exists already; name another output, or remove this one")
    if video:
        progress.check_output(output)
    found = street_scenes(scenes, split)
    rainy = rain_over(found, frames, seed, rate)
    with progress.steps(Console(stderr=True)) as step:
        tell = step("drawing frames")
        if video:
            write_video(rainy, frames, output, rate, tell)
        elif bag:
            write_bag(rainy, frames, output, rate, tell, found[0].classes)
        else:
            write_pictures(rainy, frames, output, tell)
    typer.echo(f"written: {output}")
