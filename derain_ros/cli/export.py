"""`derain export`: from a training checkpoint to a model that the node runs."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `derain train`.")],
    name: Annotated[str, typer.Argument(help="Name of the model in the manifest; its file is NAME.onnx.")],
    models: Annotated[Path, typer.Option(help="Directory of models.yaml, which gets the entry.")] = Path("models"),
    grey: Annotated[
        bool, typer.Option("--grey", help="Make a model for grey images from one for colour images.")
    ] = False,
    data: Annotated[
        Optional[Path], typer.Option(help="Folder of training images; the held-out ones are measured.")
    ] = None,
    serves: Annotated[
        Optional[list[str]],
        typer.Option(help="Anomaly that the model is made for; repeatable; by default a general model."),
    ] = None,
    not_for: Annotated[
        Optional[list[str]],
        typer.Option(
            help="Anomaly behind which this general model makes tracking worse (derain evaluate matrix); repeatable."
        ),
    ] = None,
    purpose: Annotated[
        str, typer.Option(help="What the restored images are for, such as segmentation; any use by default.")
    ] = "",
    plan: Annotated[str, typer.Option(help="quality, balanced or light; taken from the name by default.")] = "",
) -> None:
    """Export a checkpoint to ONNX, compare it with PyTorch, measure it, add it to the manifest, and write its card.

    Name restorers restore_mono or restore_rgb, for other rungs with _quality or _light at the end.

    Examples:

      derain export runs/restore/last.pt restore_rgb --data data

      derain export runs/restore/last.pt restore_mono --grey --data data

      derain export runs/quality/last.pt restore_rgb_quality --data data

      derain export runs/rain/last.pt restore_rgb_rain --serves streak --serves night_rain --data data

      derain export runs/temporal/last.pt temporal --data data

      derain export runs/detect/last.pt detect --data data

      derain export runs/fuse/last.pt fuse --data data

      derain export runs/segment/last.pt segment --data data
    """
    from derain_ros.config import PLANS, PURPOSES
    from derain_ros.publish.export import task_of

    for option, given, known in (("--purpose", purpose, PURPOSES), ("--plan", plan, PLANS)):
        if given and given not in known:
            raise typer.BadParameter(f"{given}: must be one of {', '.join(known)}", param_hint=option)
    path = models / f"{name}.onnx"
    instead = " in place of the former one" if path.exists() else ""
    if task_of(checkpoint) == "detect":
        from derain_ros.publish.detector import publish_detector

        if grey:
            raise typer.BadParameter("the detector already takes grey images; remove --grey")
        report = publish_detector(checkpoint, name, models, data)
        figures = report.figures if report else {}
    elif task_of(checkpoint) == "fuse":
        from derain_ros.publish.fuse import publish_fuser

        if grey:
            raise typer.BadParameter("the fuser already takes grey images; remove --grey")
        figures = publish_fuser(checkpoint, name, models, data)
    elif task_of(checkpoint) == "segment":
        from derain_ros.publish.segmenter import publish_segmenter

        if grey:
            raise typer.BadParameter("the segmenter takes grey images as three equal channels; remove --grey")
        figures = publish_segmenter(checkpoint, name, models, data)
    elif task_of(checkpoint) == "temporal":
        from derain_ros.publish.temporal import publish_temporal

        if grey:
            raise typer.BadParameter("the temporal filter takes both grey and colour images; remove --grey")
        figures = publish_temporal(checkpoint, name, models, data)
    else:
        from derain_ros.publish.restorer import publish_restorer

        figures = publish_restorer(
            checkpoint, name, models, grey, data, tuple(serves or ()), plan, purpose, tuple(not_for or ())
        )
    for key, value in figures.items():
        typer.echo(f"{key}: {value:.4g}")
    typer.echo(f"written: {path}{instead}; measure it with --models {models}")
