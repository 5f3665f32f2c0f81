"""`derain train`: train the networks."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from derain_ros.cli.recipes import read_phases

app = typer.Typer(no_args_is_help=True, help="Train the networks; needs the extra `train`.")

Data = Annotated[Path, typer.Option(help="Folder of training images; docs/training.md describes its layout.")]
Folders = Annotated[list[Path], typer.Option("--data", help="Folder of images in a known layout; may be repeated.")]
Output = Annotated[Path, typer.Option(help="Folder for the checkpoint and the log.")]
Accelerator = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: the fastest one.")]
Precision = Annotated[str, typer.Option(help="bf16-mixed, 16-mixed, 32-true, or auto: the fastest one.")]
Workers = Annotated[Optional[int], typer.Option(min=0, help="Processes that load samples for each device.")]

NIGHT, TASK_DRIVEN = Path("night_small"), Path("task_driven_small")
PRECISIONS = ("auto", "bf16-mixed", "16-mixed", "32-true")
ACCELERATORS = ("auto", "cpu", "cuda", "mps", "tpu")
"""What Lightning Fabric calls them."""


@app.command()
def restore(
    data: Folders,
    output: Output,
    config: Annotated[
        Optional[Path],
        typer.Option(
            help="YAML file with the values that differ from the defaults, or a shipped one: quality, balanced, light, "
            "paper, rain, segmentation, or tune, which needs --start-from."
        ),
    ] = None,
    start_from: Annotated[
        str,
        typer.Option(
            help="Start from a trained network: a shipped restorer for colour, such as restore_rgb, an exported model, "
            "or a checkpoint."
        ),
    ] = "",
    accelerator: Accelerator = "auto",
    devices: Annotated[int, typer.Option(min=1, help="CPUs or GPUs that share a batch.")] = 1,
    precision: Precision = "auto",
    workers: Workers = None,
) -> None:
    """Train a restorer of any network on real and synthetic pairs, with or without a discriminator.

    Continues the training in the output folder, if there is one. Watch it with: tensorboard --logdir OUTPUT

    Examples:

      derain train restore --data data --output runs/restore --config balanced

      derain train restore --data mine --output runs/mine --start-from restore_rgb
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    machine = _machine(accelerator, devices, precision, workers)
    from derain_ros.train.loop import train_phases
    from derain_ros.train.recipe import RestoreRecipe
    from derain_ros.train.restore import train

    recipes: list[RestoreRecipe] = read_phases(config or (Path("tune") if start_from else None), RestoreRecipe)
    if start_from:
        from derain_ros.train.checkpoint import with_network_of

        like_it = [with_network_of(recipe, start_from) for recipe in recipes]
        recipes = [like_it[0], *(replace(recipe, start_from="") for recipe in like_it[1:])]
    checkpoint = train_phases(lambda recipe, folder: train(data, folder, recipe, machine), output, recipes)
    typer.echo(f"checkpoint: {checkpoint}; next: derain export {checkpoint} {_name(recipes[-1])} --data {data[0]}")


def _machine(accelerator: str, devices: int, precision: str, workers: int | None) -> Any:
    """What to train on; typer.BadParameter for what Lightning Fabric has no name for."""
    from derain_ros.train.loop import Machine

    for option, value, known in (("--precision", precision, PRECISIONS), ("--accelerator", accelerator, ACCELERATORS)):
        if value not in known:
            raise typer.BadParameter(f"{value!r} is none of {', '.join(known)}", param_hint=option)
    return Machine(accelerator, devices, precision, workers)


def _train_phases(
    recipe: type, train: Any, config: Path | None, data: Path, output: Path, machine: Any, start_from: str = ""
) -> Path:
    """Train by the phases of a recipe file, one after the other, the first one from these weights where they are named;
    returns the last checkpoint."""
    from derain_ros.train.loop import train_phases

    recipes = read_phases(config, recipe)
    recipes[0] = replace(recipes[0], start_from=start_from or recipes[0].start_from)
    return train_phases(lambda phase, folder: train(data, folder, phase, machine), output, recipes)


def _name(recipe: Any) -> str:
    """What an export calls a restorer of this recipe, and what it must be told."""
    if recipe.anomaly == "rain":
        return "restore_rgb_rain --serves streak --serves night_rain"
    if recipe.network == "printed":
        return "restore_rgb_printed"
    return "restore_rgb" + ("_light" if recipe.scale > 1 else "" if recipe.width < type(recipe).width else "_quality")


@app.command()
def temporal(
    data: Folders,
    output: Output,
    config: Annotated[
        Optional[Path], typer.Option(help="YAML file with the values that differ from the defaults.")
    ] = None,
    restorer: Annotated[
        Optional[list[str]],
        typer.Option(
            help="Grey restorer of the manifest whose output is filtered; may be repeated. By default "
            "restore_mono_int8 and restore_mono_light_int8."
        ),
    ] = None,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
) -> None:
    """Train the temporal filter on sequences made from photographs, drops and dirt.

    Continues the training in the output folder, if there is one.

    Example: derain train temporal --data data --output runs/temporal
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from derain_ros.cli.figures import model_named
    from derain_ros.train.loop import train_phases
    from derain_ros.train.temporal import TemporalRecipe, train

    chosen = [model_named(name, models) for name in restorer or ("restore_mono_int8", "restore_mono_light_int8")]
    recipes: list[TemporalRecipe] = read_phases(config, TemporalRecipe)
    checkpoint = train_phases(lambda recipe, folder: train(data, folder, recipe, chosen), output, recipes)
    typer.echo(f"checkpoint: {checkpoint}; next: derain export {checkpoint} temporal --data {data[0]}")


@app.command()
def detect(
    data: Data,
    output: Output,
    config: Annotated[
        Optional[Path],
        typer.Option(
            help="YAML file with the values that differ from the defaults, or the shipped one: tune_detector, which "
            "needs --start-from."
        ),
    ] = None,
    start_from: Annotated[
        str,
        typer.Option(
            help="Start from a trained detector: a shipped one in floating point, such as detect_float, an exported "
            "one, or a checkpoint."
        ),
    ] = "",
    accelerator: Accelerator = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
) -> None:
    """Train the anomaly detector on rendered and real views.

    Continues the training in the output folder, if there is one. Put your own pictures into folders named after the
    anomaly: clean (required), raindrop, dirt, streak, night_rain.

    Examples:

      derain train detect --data data --output runs/detect

      derain train detect --data mine --output runs/mine --start-from detect_float
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    machine = _machine(accelerator, 1, precision, workers)
    from derain_ros.train.detector import DetectRecipe, train

    config = config or (Path("tune_detector") if start_from else None)
    checkpoint = _train_phases(DetectRecipe, train, config, data, output, machine, start_from)
    typer.echo(f"checkpoint: {checkpoint}; next: derain export {checkpoint} detect --data {data}")


@app.command()
def fuse(
    data: Data,
    output: Output,
    config: Annotated[
        Optional[Path], typer.Option(help="YAML file with the values that differ from the defaults.")
    ] = None,
    start_from: Annotated[str, typer.Option(help="Start from a trained fuser: a checkpoint.")] = "",
    accelerator: Accelerator = "auto",
    precision: Precision = "32-true",
    workers: Workers = None,
) -> None:
    """Train the fuser on pairs of visible and infrared images, some of them behind drops.

    Continues the training in the output folder, if there is one.

    Example: derain train fuse --data data --output runs/fuse
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    machine = _machine(accelerator, 1, precision, workers)
    from derain_ros.train.fuse import FuseRecipe, train

    checkpoint = _train_phases(FuseRecipe, train, config, data, output, machine, start_from)
    typer.echo(f"checkpoint: {checkpoint}; next: derain export {checkpoint} fuse --data {data}")


@app.command()
def night(
    data: Data,
    output: Output,
    config: Annotated[
        Path,
        typer.Option(
            help="YAML file with the values that differ from the defaults, or a shipped one: night, as printed, or "
            "night_small, for training on a CPU."
        ),
    ] = NIGHT,
    accelerator: Accelerator = "auto",
    precision: Precision = "32-true",
) -> None:
    """Train paper 3's CleanNet, then its FusionNet, on rainy, clean and infrared images of the same views.

    Continues the training in the output folder, if there is one. The networks are for the paper's table only; the node
    uses the restorers for rain and the fuser for this.

    Examples:

      derain train night --data data --output runs/night

      derain train night --data data --output runs/night --config night --accelerator cuda --precision bf16-mixed
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    machine = _machine(accelerator, 1, precision, None)
    from derain_ros.train.night import NightRecipe, train

    checkpoint = _train_phases(NightRecipe, train, config, data, output, machine)
    typer.echo(f"checkpoint: {checkpoint}; next: derain table night --data {data} --checkpoint {checkpoint}")


@app.command()
def segmentation(
    data: Data,
    output: Output,
    config: Annotated[
        Optional[Path], typer.Option(help="YAML file with the values that differ from the defaults.")
    ] = None,
    start_from: Annotated[str, typer.Option(help="Start from a trained segmenter: a checkpoint.")] = "",
    accelerator: Accelerator = "auto",
    precision: Precision = "32-true",
    workers: Workers = None,
) -> None:
    """Train the segmenter on dry labelled street scenes, in the layout of CamVid or of Cityscapes.

    Continues the training in the output folder, if there is one. It starts from ImageNet weights.

    Example: derain train segmentation --data data --output runs/segment
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    machine = _machine(accelerator, 1, precision, workers)
    from derain_ros.train.segmentation import SegmentRecipe, train

    checkpoint = _train_phases(SegmentRecipe, train, config, data, output, machine, start_from)
    typer.echo(f"checkpoint: {checkpoint}; next: derain export {checkpoint} segment --data {data}")


@app.command()
def task_driven(
    data: Data,
    output: Output,
    config: Annotated[
        Path,
        typer.Option(
            help="YAML file with the values that differ from the defaults, or a shipped one: task_driven, as printed, "
            "or task_driven_small, for training on a CPU."
        ),
    ] = TASK_DRIVEN,
    segmenter: Annotated[
        str, typer.Option(help="The frozen segmenter: a checkpoint, or a model; by default what the recipe names.")
    ] = "",
    accelerator: Accelerator = "auto",
    precision: Precision = "32-true",
) -> None:
    """Train paper 2's cascade in its two stages: attention and coarse network, then the refinement for a segmenter.

    Continues the training in the output folder, if there is one. Labels are not used. The networks are for the paper's
    table.

    Examples:

      derain train task-driven --data data --output runs/task

      derain train task-driven --data data --output runs/task --config task_driven --accelerator cuda
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    machine = _machine(accelerator, 1, precision, None)
    from derain_ros.train.loop import train_phases
    from derain_ros.train.task_driven import TaskDrivenRecipe, train

    recipes: list[TaskDrivenRecipe] = read_phases(config, TaskDrivenRecipe)
    recipes = [replace(recipe, segmenter=segmenter or recipe.segmenter) for recipe in recipes]
    checkpoint = train_phases(lambda recipe, folder: train(data, folder, recipe, machine), output, recipes)
    typer.echo(f"checkpoint: {checkpoint}")
