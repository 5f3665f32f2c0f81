"""`derain images`: a folder of images, or one, restored."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    source: Annotated[Path, typer.Argument(help="A folder of images, or one image: .png, .jpg, .bmp, .tif.")],
    output: Annotated[Path, typer.Argument(help="Folder for the restored images; created if needed.")],
    plan: Annotated[str, typer.Option(help="quality, balanced or light; auto is the best one.")] = "auto",
    masks: Annotated[
        bool,
        typer.Option("--masks", help="Also write NAME_mask.png for each image: white where pixels were reconstructed."),
    ] = False,
    all_images: Annotated[bool, typer.Option("--all", help="Restore every image, also those found clean.")] = False,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
) -> None:
    """Restore single images, each independently, and write them as PNG of the same size and bit depth.

    Clean images are written unchanged. Photographs are rotated upright, as their EXIF data says. Large images are
    restored at a reduced scale.

    Examples:

      derain images wet restored

      derain images photo.jpg restored --masks --plan balanced
    """
    from derain_ros.cli import progress
    from derain_ros.config import Config
    from derain_ros.replay.stills import files_of, restore_files
    from derain_ros.runtime.pipeline import Pipeline

    files = files_of(source)
    config = Config.from_mapping({"cameras": ["left"], "plan": plan, "gating": not all_images, "on_hold_s": 60.0})
    console = progress.output_console()
    with progress.steps(console) as step:
        pipeline = Pipeline(config, models)
        pipeline.load()
        account = restore_files(pipeline, files, output, masks, step("Restoring"))
    for line in account.told:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"{account.restored} of {len(files)} images restored, {account.clean} found clean; written: {output}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    if account.told:
        raise typer.Exit(1)
