"""`derain export`: from a training checkpoint to a model that the node runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `derain train restore`.")],
    name: Annotated[str, typer.Argument(help="Name of the model in the manifest; its file is NAME.onnx.")],
    models: Annotated[Path, typer.Option(help="Directory of models.yaml, which gets the entry.")] = Path("models"),
    grey: Annotated[bool, typer.Option("--grey", help="Make a model for grey images of a colour one.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of training images: measures the held-out ones.")] = None,
) -> None:
    """Export a restorer's checkpoint to ONNX, check it against PyTorch, measure it and enter it into the manifest.

    Examples:

      derain export runs/restore/last.pt restore_rgb --data data

      derain export runs/restore/last.pt restore_mono --grey --data data
    """
    from derain_ros.train.publish import publish_restorer
    for key, value in publish_restorer(checkpoint, name, models, grey, data).items():
        typer.echo(f"{key}: {value}")
