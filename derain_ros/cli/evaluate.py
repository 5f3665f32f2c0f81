"""`derain evaluate`: figures of a model on images it has not seen."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from derain_ros.cli import matrix, segmentation, slam
from derain_ros.config import Config

MODELS = Annotated[Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")]

app = typer.Typer(no_args_is_help=True, help="Measure models; needs the extra `train`.")
app.command("segmentation")(segmentation.command)
app.command("slam")(slam.command)
app.command("matrix")(matrix.command)


@app.command()
def restoration(
    names: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Restorers: names in the manifest, or ONNX files.")
    ],
    data: Annotated[
        Optional[Path],
        typer.Option(help="Folder of images in a layout that training reads; the held-out ones are measured."),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Part of the pairs of --data: test, test_b, validation, or all: every "
            "pair of a folder that was never trained on."
        ),
    ] = "test",
    wet: Annotated[Optional[Path], typer.Option(help="Folder of wet images, in place of --data.")] = None,
    clean: Annotated[Optional[Path], typer.Option(help="Folder of clean images of the same names.")] = None,
    prefix: Annotated[
        Optional[list[str]], typer.Option(help="Only files of --wet whose names begin like this; repeatable.")
    ] = None,
    models: MODELS = None,
    output: Annotated[
        Optional[Path],
        typer.Option(help="Folder to write: the table, the figures of each image as CSV, and sheets of pictures."),
    ] = None,
) -> None:
    """PSNR and SSIM of restorers, over RGB and over luminance, and the IoU of their masks, with bootstrap intervals.

    For the filled-in pixels it also measures energy at the frequencies of the network's grid, and the number of FAST
    corners, both as multiples of those of the clean image: dots and checkerboard patterns give more than 1.

    With --data it also measures on synthetic drops, on clean photographs, and colour models on grey images. Models that
    serve streaks or night rain are measured on rain, not on drops.

    Examples:

      derain evaluate restoration restore_rgb --data data --output figures

      derain evaluate restoration runs/restore.onnx --wet data/rain --clean data/clean
    """
    from derain_ros.cli.figures import figures_of, restorer_named
    from derain_ros.data.layouts import ALL
    from derain_ros.data.samples import anomaly_of
    from derain_ros.data.splits import PAIR_SPLITS
    from derain_ros.evaluate.held_out import KINDS, held_out
    from derain_ros.evaluate.restoration import markdown, read_pairs

    if split not in (*PAIR_SPLITS, ALL):
        raise typer.BadParameter(f"{split!r} is none of {', '.join(PAIR_SPLITS)}, {ALL}", param_hint="--split")
    if (data is None) == (wet is None) or (wet is None) != (clean is None):
        raise typer.BadParameter("give either --data, or both --wet and --clean")
    rows = []
    for name in names:
        engine = restorer_named(name, models)
        model = engine.model
        if data is not None:
            sets = held_out(data, model.channels, split, anomaly=anomaly_of(model.serves))
        else:
            assert wet is not None and clean is not None
            sets = {wet.name: list(read_pairs(wet, clean, model.channels, tuple(prefix or [""])))}
        rows += figures_of(engine, sets, output)
    notes = "".join(f"{kind}: {what}.\n\n" for kind, what in KINDS.items() if any(r[0] == kind for r in rows))
    table = notes + markdown(rows)
    if output is not None:
        (output / "restoration.md").write_text(table, encoding="utf-8")
    typer.echo(table)


@app.command()
def sequence(
    names: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Restorers: names in the manifest, or ONNX files.")
    ],
    kitti: Annotated[
        Optional[Path],
        typer.Option(help="Folder of a KITTI sequence, with image_l, to measure as well as the project's own drive."),
    ] = None,
    temporal: Annotated[
        Optional[str], typer.Option(help="Temporal filter of the manifest: each restorer is also measured with it.")
    ] = None,
    photographs: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder of photographs, shown one after another; by default views of the project's own drive."
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each sequence.")] = 24,
    models: MODELS = None,
    output: Annotated[Optional[Path], typer.Option(help="Markdown file to write as well.")] = None,
) -> None:
    """How much a restored video flickers, and its quality, while drops stay on the glass and the scene moves.

    A second table is for drops that land, grow, run, merge and dry, and for views that jump. It has PSNR in dB over all
    pixels and within the drops, and recall of the mask (the share of the covered pixels that is in the mask): over all
    frames and in the worst five in a row, for the restorer alone and with the temporal filter, and the difference.

    Example: derain evaluate sequence restore_mono restore_mono_light --temporal temporal --kitti
    data/kitti_stereo/sequence_1
    """
    from rich.progress import track

    from derain_ros.cli.figures import model_named, restorer_named
    from derain_ros.cli.progress import check_output
    from derain_ros.engine import load
    from derain_ros.evaluate import changes
    from derain_ros.evaluate.sequence import drive, evaluate, from_folder, markdown
    from derain_ros.rain.style import KINDS

    check_output(output)
    sequences = [drive(frames)] + ([] if kitti is None else [from_folder(kitti / "image_l", frames)])
    joined = [None] if temporal is None else [None, load(model_named(temporal, models, "temporal"))]
    engines = [restorer_named(name, models) for name in names]
    jobs = [(engine, s, kind, join) for engine in engines for join in joined for s in sequences for kind in KINDS]
    table = markdown([evaluate(*job) for job in track(jobs, "restoring sequences")])
    cases = (case for s in sequences for kind in changes.DROPS for case in changes.cases(s, kind, photographs))
    number = len(sequences) * len(changes.DROPS) * len(changes.CASES)
    table += "\n## Drops that change\n\n" + changes.markdown(
        [
            changes.evaluate(engine, case, joined[-1])
            for case in track(cases, "changing drops", total=number)
            for engine in engines
        ]
    )
    if output is not None:
        output.write_text(table, encoding="utf-8")
    typer.echo(table)


@app.command()
def odometry(
    names: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Restorers of grey images: names in the manifest, or ONNX files."),
    ],
    kitti: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder of a KITTI sequence (image_l, image_r, calib.txt, poses.txt), to measure as well as the "
            "project's own drive."
        ),
    ] = None,
    temporal: Annotated[
        Optional[str], typer.Option(help="Temporal filter of the manifest: its output is also tracked.")
    ] = None,
    coverage: Annotated[
        Optional[list[float]],
        typer.Option(
            min=0.0,
            max=1.0,
            help="Covered share of the glass; repeatable; by default that of each kind of drops.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each sequence.")] = 50,
    models: MODELS = None,
    output: Annotated[Optional[Path], typer.Option(help="Markdown file to write as well.")] = None,
) -> None:
    """What drops do to stereo visual odometry, and what restoring, masks and the temporal filter do for it.

    Example: derain evaluate odometry restore_mono_int8 --kitti data/kitti_stereo/sequence_1 --coverage 0.5
    """
    from rich.progress import track

    from derain_ros.cli.figures import model_named, restorer_named
    from derain_ros.cli.progress import check_output
    from derain_ros.engine import load
    from derain_ros.evaluate.odometry import drive, evaluate, from_kitti, markdown
    from derain_ros.evaluate.restoration import EvaluationError
    from derain_ros.rain.style import KINDS

    chosen = [restorer_named(name, models) for name in names]
    if colour := next((engine.model.name for engine in chosen if engine.model.channels != 1), None):
        raise EvaluationError(
            f"{colour}: takes colour images, but odometry is measured on grey ones; name a restorer for grey images"
        )
    check_output(output)
    sequences = [drive(frames)] + ([] if kitti is None else [from_kitti(kitti, frames)])
    join = None if temporal is None else load(model_named(temporal, models, "temporal"))
    shares: list[Optional[float]] = [None] if not coverage else [*coverage]
    jobs = [
        (engine, s, kind, share, join) for engine in chosen for s in sequences for kind in KINDS for share in shares
    ]
    table = markdown([evaluate(*job) for job in track(jobs, "tracking")])
    if output is not None:
        output.write_text(table, encoding="utf-8")
    typer.echo(table)


@app.command()
def detection(
    data: Annotated[Path, typer.Option(help="Folder of training images; the held-out ones are measured.")],
    model: Annotated[str, typer.Argument(help="Name of a detector in the manifest.")] = "detect",
    models: MODELS = None,
    on_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Score from which a view counts as affected.")
    ] = Config.on_score,
    output: Annotated[Optional[Path], typer.Option(help="CSV file to write, one line per image.")] = None,
) -> None:
    """Alarms, classes, masks and calibration of a detector on images held out of training, with 95 % intervals.

    Example: derain evaluate detection --data data --output detection.csv
    """
    from derain_ros.cli.progress import check_output
    from derain_ros.engine import load
    from derain_ros.evaluate.detection import evaluate
    from derain_ros.manifest import Manifest

    check_output(output)
    manifest = Manifest.load(models)
    entry = manifest.get(model)
    manifest.verify(entry)
    report = evaluate(load(entry), data, on_score)
    if output is not None:
        report.write_csv(output)
    typer.echo(report.markdown())


@app.command()
def fusion(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with the folders visible (or clean) and infrared, and one folder of fused images for each "
            "method; the images of a scene have the same name."
        ),
    ],
    model: Annotated[
        Optional[list[str]], typer.Option(help="Fuser of the manifest to measure as well; repeatable.")
    ] = None,
    models: MODELS = None,
    scenes: Annotated[
        Optional[int], typer.Option(min=1, help="Largest number of pairs to measure, spread over all; all by default.")
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option(
            "--held-out",
            help="Only the pairs that the fuser's training holds out, of roadscene_rain/train or msrs/train.",
        ),
    ] = False,
    output: Annotated[
        Optional[Path], typer.Option(help="Folder to write: the tables, and the figures of each image as CSV.")
    ] = None,
    sheet: Annotated[
        Optional[Path], typer.Option(help="PNG or JPEG file to write: up to twelve scenes, the methods side by side.")
    ] = None,
) -> None:
    """What fused images keep of the visible and of the infrared image: twenty figures for each method in FOLDER.

    Average, maximum, Laplacian pyramid and guided filtering of the same pairs are also measured. Colour images are
    converted to grey.

    Examples:

      derain evaluate fusion data/fusion_peers --model fuse --output figures --sheet fusion.png

      derain evaluate fusion data/msrs/train --scenes 20
    """
    import cv2
    from rich.progress import track

    from derain_ros.cli.figures import model_named
    from derain_ros.data.splits import run_split
    from derain_ros.engine import load
    from derain_ros.evaluate.fusion import evaluate, find, markdown, spread, write_csv
    from derain_ros.evaluate.fusion_held_out import fused_with
    from derain_ros.evaluate.sheet import side_by_side

    if sheet is not None and (sheet.suffix.lower() not in (".png", ".jpg", ".jpeg") or not sheet.parent.is_dir()):
        raise typer.BadParameter(f"{sheet}: name a .png or .jpg file in a folder that exists", param_hint="--sheet")
    collection = find(folder)
    names = run_split(collection.names, "evaluation") if held_out else collection.names
    names = spread(names, scenes or len(names))
    ours = {name: fused_with(load(model_named(name, models, "fuse"))) for name in model or ()}
    methods = ours | collection.methods()
    scores = list(
        track(
            evaluate(map(collection.scene, names), methods), "measuring fused images", total=len(names) * len(methods)
        )
    )
    table = markdown(scores)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "fusion.md").write_text(table, encoding="utf-8")
        write_csv(scores, output / "fusion.csv")
    if sheet is not None:
        cv2.imwrite(str(sheet), side_by_side(map(collection.scene, spread(names, 12)), methods))
    typer.echo(table)
