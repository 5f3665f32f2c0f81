"""`derain evaluate`: figures of a model on images it has not seen."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(no_args_is_help=True, help="Measure models; needs the extra `train`.")


@app.command()
def restoration(
    model: Annotated[str, typer.Argument(help="Name of a restorer in the manifest.")],
    wet: Annotated[Path, typer.Argument(help="Folder of wet images.")],
    clean: Annotated[Path, typer.Argument(help="Folder of clean images of the same names.")],
    models: Annotated[Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by "
                                                   "default.")] = None,
    prefix: Annotated[Optional[list[str]], typer.Option(help="Only files whose names begin so; repeatable.")] = None,
    output: Annotated[Optional[Path], typer.Option(help="CSV file to write, one line per image.")] = None,
) -> None:
    """PSNR and SSIM of a restorer on pairs of images, with bootstrap intervals, as a Markdown table.

    A grey model is measured on luminance, a colour model on RGB.

    Example: derain evaluate restoration restore_rgb data/rain data/clean --output figures.csv
    """
    from derain_ros.engine import load
    from derain_ros.evaluate.restoration import EvaluationError, evaluate, markdown, read_pairs, write_csv
    from derain_ros.manifest import Manifest
    manifest = Manifest.load(models)
    entry = manifest.get(model)
    if entry.task != "restore":
        raise EvaluationError(f"{model}: its task is to {entry.task}; name a restorer")
    manifest.verify(entry)
    with typer.progressbar(list(read_pairs(wet, clean, entry.channels, tuple(prefix or [""]))), label=model) as pairs:
        scores = evaluate(load(entry), pairs)
    if output is not None:
        write_csv(scores, output)
    typer.echo(markdown({model: scores}))


@app.command()
def detection(
    data: Annotated[Path, typer.Option(help="Folder of training images: measures those held out.")],
    model: Annotated[str, typer.Argument(help="Name of a detector in the manifest.")] = "detect",
    models: Annotated[Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by "
                                                   "default.")] = None,
) -> None:
    """Recall, false alarms, class confusion and mask IoU of a detector on images held out of training.

    Example: derain evaluate detection --data data
    """
    from derain_ros.engine import load
    from derain_ros.evaluate.detection import evaluate
    from derain_ros.manifest import Manifest
    manifest = Manifest.load(models)
    entry = manifest.get(model)
    manifest.verify(entry)
    typer.echo(evaluate(load(entry), data).markdown())
