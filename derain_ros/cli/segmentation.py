"""`derain evaluate segmentation`: what restoring gives back to a segmenter, on a recorded shower."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    bag: Annotated[Path, typer.Argument(help="A bag written by `derain rain sequence --bag`.")],
    segmenter: Annotated[
        str, typer.Option(metavar="NAME|FILE.onnx", help="Segmenter of the manifest, or an ONNX file of one.")
    ] = "segment",
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
    plan: Annotated[str, typer.Option(help="quality, balanced or light; auto is the best one.")] = "auto",
    purpose: Annotated[
        str, typer.Option(help="segmentation: networks made for it; any: the general ones.")
    ] = "segmentation",
    output: Annotated[Optional[Path], typer.Option(help="Markdown file to write as well.")] = None,
    sheet: Annotated[
        Optional[Path], typer.Option(help="PNG or JPEG file to write: wet and restored images with their classes.")
    ] = None,
) -> None:
    """mIoU of a segmenter on the wet images of a bag, on the same images after the pipeline, and on the dry ones.

    The pipeline runs as in `derain replay`: it decides itself which frames it restores, with the networks for
    segmentation if there are any. The reference is the labels in the bag. If it has none, the reference is the
    segmenter's output on the dry images: 100 % then means that rain and restoring change nothing.

    Examples:

      derain rain sequence data/camvid shower --split test --bag

      derain evaluate segmentation shower --plan balanced --output segmentation.md --sheet segmentation.png
    """
    from importlib.util import find_spec

    import cv2

    from derain_ros.cli import progress
    from derain_ros.cli.figures import segmenter_named
    from derain_ros.config import Config
    from derain_ros.data.rain_sequence import CAMERA
    from derain_ros.evaluate.segmentation_bag import evaluate, markdown, notes, rows
    from derain_ros.evaluate.sheet import segmentations
    from derain_ros.manifest import Manifest
    from derain_ros.replay import files
    from derain_ros.report.tables import Table
    from derain_ros.runtime.pipeline import Pipeline

    progress.check_output(output)
    if sheet is not None and (sheet.suffix.lower() not in (".png", ".jpg", ".jpeg") or not sheet.parent.is_dir()):
        raise typer.BadParameter(f"{sheet}: name a .png or .jpg file in a folder that exists", param_hint="--sheet")
    files.find(bag)
    engine = segmenter_named(segmenter, models)
    config = Config.from_mapping(
        {
            "cameras": [CAMERA],
            "engine": "openvino" if find_spec("openvino") else "onnxruntime",
            "plan": plan,
            "purpose": purpose,
        }
    )
    console = progress.output_console()
    with progress.steps(console) as step:
        pipeline = Pipeline(config, Manifest.load(models))
        pipeline.load()
        report = evaluate(bag, engine, pipeline, step("Restoring"), step("Segmenting"))
    header, table = rows(report)
    progress.show(console, [Table(f"Segmentation by {engine.model.name}", header, table)])
    for note in notes(report):
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if output is not None:
        output.write_text(markdown(report), encoding="utf-8")
    if sheet is not None:
        if not report.shown:
            console.print(f"{sheet}: not written, because no frame was restored", markup=False, soft_wrap=True)
        else:
            cv2.imwrite(str(sheet), segmentations(report.shown, report.classes, ("wet", "restored")))
