"""`derain evaluate matrix`: where restoring helps and where it hurts, by anomaly, severity and rung."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from derain_ros.cli.replay import Models


def command(
    output: Annotated[
        Path, typer.Option(help="Folder to write: matrix.json, updated after each cell, and matrix.html.")
    ],
    kitti: Annotated[
        Optional[Path],
        typer.Option(help="Folder of a KITTI sequence to cut clips from; the project's own drives by default."),
    ] = None,
    anomaly: Annotated[
        Optional[list[str]],
        typer.Option(help="Such as 'raindrop spray', 'dirt film' or streak; repeatable; all by default."),
    ] = None,
    severity: Annotated[
        Optional[list[str]], typer.Option(help="light, moderate or heavy; repeatable; all by default.")
    ] = None,
    plan: Annotated[Optional[list[str]], typer.Option(help="Rung of the ladder; repeatable; all by default.")] = None,
    clips: Annotated[int, typer.Option(min=2, help="Clips in each cell, each with different drops or dirt.")] = 8,
    segmenter: Annotated[
        str, typer.Option(help="Segmenter of the manifest; with none, mIoU is not measured.")
    ] = "segment",
    slam: Annotated[
        Optional[Path],
        typer.Option(help="slam.json of `derain evaluate slam`, to show its share of right steps as well."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes and of the drops and dirt.")] = 7,
    models: Models = None,
) -> None:
    """Every anomaly by severity and rung: PSNR, IoU of the mask, stereo matches, drift of odometry, mIoU, as heat maps.

    A rung hurts where matches or drift are worse than without restoring, over the whole bootstrap interval. Beside it
    are the results of what the node publishes by default.

    Examples:

      derain evaluate matrix --output matrix

      derain evaluate matrix --output matrix --anomaly "dirt film" --severity light --clips 16
    """
    from derain_ros.cli import progress
    from derain_ros.cli.figures import segmenter_named
    from derain_ros.config import PLANS
    from derain_ros.evaluate import matrix
    from derain_ros.evaluate.odometry import from_kitti
    from derain_ros.evaluate.pairs import engine_of, pipelines
    from derain_ros.evaluate.saved import made_of
    from derain_ros.evaluate.segmentation import segmented_by
    from derain_ros.evaluate.slam.study import Study
    from derain_ros.rain.weather import ANOMALIES
    from derain_ros.report import matrix as report

    options = (
        ("--anomaly", anomaly, ANOMALIES),
        ("--severity", severity, tuple(matrix.SEVERITIES)),
        ("--plan", plan, PLANS),
    )
    for option, given, known in options:
        if unknown := [name for name in given or () if name not in known]:
            raise typer.BadParameter(f"{unknown[0]!r}: must be one of {', '.join(known)}", param_hint=option)
    study = None if slam is None else Study.read(slam)
    segment = None if segmenter == "none" else segmented_by(segmenter_named(segmenter, models))
    made = {
        name: (engine_of(name, models), pipeline)
        for name, pipeline in pipelines(plan or PLANS, models, all_frames=False).items()
    }
    cut = matrix.clips_of_drives(clips, seed) if kitti is None else matrix.clips_of(from_kitti(kitti, 1_000_000), clips)
    output.mkdir(parents=True, exist_ok=True)
    scenes = "Procedural drives" if kitti is None else kitti.name
    found = matrix.Matrix(scenes, clips, seed, origin=made_of(models))
    console = progress.output_console()
    with progress.steps(console) as step:
        cells = matrix.evaluate(
            cut,
            anomaly or ANOMALIES,
            severity or tuple(matrix.SEVERITIES),
            made,
            segment,
            seed,
            step("Measuring cells"),
        )
        for cell in cells:
            found.cells.append(cell)
            found.save(output / "matrix.json")
    report.write(output / "matrix.html", found, study)
    progress.show(console, report.tables(found))
    for note in report.notes(found):
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written: {output}", markup=False, highlight=False, soft_wrap=True)
