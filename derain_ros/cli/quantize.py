"""`derain quantize`: an eight-bit model beside an exported one."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[
        str, typer.Argument(help="Restorer or temporal filter of the manifest; the new one is called NAME_int8.")
    ],
    data: Annotated[
        Path, typer.Option(help="Folder of training images for calibration; the held-out ones are measured.")
    ],
    models: Annotated[Path, typer.Option(help="Directory of models.yaml, which gets the entry.")] = Path("models"),
) -> None:
    """Quantise a model to eight bits, measure it and add it to the manifest.

    Example: derain quantize restore_mono --data data
    """
    from derain_ros.publish.quantize import publish_quantized

    for key, value in publish_quantized(name, models, data).items():
        typer.echo(f"{key}: {value}")
