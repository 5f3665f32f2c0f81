"""`derain table`: the tables of the papers, measured here."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from derain_ros.cli.recipes import read_phases
from derain_ros.cli.train import Folders as Data

if TYPE_CHECKING:
    from derain_ros.train.recipe import RestoreRecipe

app = typer.Typer(no_args_is_help=True, help="Make the tables of the papers; needs the extra `train`.")

Markdown = Annotated[Optional[Path], typer.Option(help="Markdown file to write as well.")]
Runs = Annotated[Path, typer.Option(help="Folder of the trainings; trainings found there are reused.")]
Steps = Annotated[
    Optional[int], typer.Option(min=1, help="Largest number of steps in each phase; by default that of the recipe.")
]
Crop = Annotated[
    Optional[int],
    typer.Option(min=32, help="Side of the training crops, a multiple of 32; by default that of the recipe."),
]
Recipe = Annotated[Path, typer.Option(help="YAML file of a recipe with phases, or the name of a shipped one.")]
Accelerator = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: the fastest one.")]
PAPER, TASK_DRIVEN = Path("paper"), Path("task_driven_small")


@app.command()
def speed(
    output: Markdown = None,
    repeats: Annotated[int, typer.Option(min=1, help="Frames timed with each network, in turns.")] = 15,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the processor; 0 takes all cores.")] = 0,
) -> None:
    """Table III: milliseconds per frame of 540x360, for our networks and for those rebuilt from other papers.

    Example: derain table speed --output speed.md
    """
    from derain_ros.papers.speed import measure
    from derain_ros.papers.tables import speed_table

    _give(speed_table(measure(repeats=repeats, threads=threads), threads), output)


@app.command()
def ablation(
    data: Data,
    runs: Runs,
    output: Markdown = None,
    steps: Steps = None,
    crop: Crop = None,
    config: Recipe = PAPER,
    accelerator: Accelerator = "auto",
) -> None:
    """Table I: the printed network without enhancer and aggregation, with the enhancer, with both; all trained alike.

    It does six trainings of at most 50000 steps each, which take hours on a GPU. With --steps 250 --crop 96 it takes
    half an hour on one CPU core.

    Example: derain table ablation --data data --runs runs/ablation --output ablation.md
    """
    from derain_ros.papers.tables import ABLATION

    _trained("ablation", ABLATION, data, runs, output, _phases(config, steps, crop), accelerator)


@app.command()
def initialisation(
    data: Data,
    runs: Runs,
    output: Markdown = None,
    steps: Steps = None,
    crop: Crop = None,
    config: Recipe = PAPER,
    accelerator: Accelerator = "auto",
) -> None:
    """Table II: initial weights random, trained on drops with sharp borders, or on ours; then trained on real pairs.

    It does five trainings of at most 50000 steps each. With --steps 300 --crop 96 it takes half an hour on one CPU
    core.

    Example: derain table initialisation --data data --runs runs/initialisation --output initialisation.md
    """
    from derain_ros.papers.tables import INITIALISATION

    _trained("initialisation", INITIALISATION, data, runs, output, _phases(config, steps, crop), accelerator)


@app.command()
def night(
    data: Annotated[Path, typer.Option(help="Folder with rainy, clean and infrared images of the same views.")],
    checkpoint: Annotated[Optional[Path], typer.Option(help="Last checkpoint of `derain train night`.")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Largest number of held-out scenes.")] = 40,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
    output: Markdown = None,
) -> None:
    """Table of paper 3: rainy road scenes cleaned and fused with infrared, by its networks and by the node's.

    Example: derain table night --data data --checkpoint runs/night/2/last.pt --output night.md
    """
    from derain_ros.data.night import triplets
    from derain_ros.papers.night import markdown, measure

    first, second = measure(data, checkpoint, models, scenes)
    _give(markdown(first, second, min(scenes, len(triplets(data, "test")))), output)


@app.command()
def task_driven(
    data: Annotated[Path, typer.Option(help="Folder of labelled street scenes.")],
    runs: Runs,
    output: Markdown = None,
    config: Recipe = TASK_DRIVEN,
    segmenter: Annotated[
        str, typer.Option(help="The segmenter that the losses and the table use: a checkpoint or a model.")
    ] = "",
    other: Annotated[
        str, typer.Option(help="A second segmenter, which no loss uses: a checkpoint or a model; none if empty.")
    ] = "",
    steps: Steps = None,
    scenes: Annotated[int, typer.Option(min=1, help="Largest number of held-out scenes.")] = 48,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
    accelerator: Accelerator = "auto",
) -> None:
    """The ablation of paper 2: joint training in one stage, in two, or none; beside it the shipped ladder.

    It does five trainings; trainings found in RUNS are used. With --steps 400 it takes an hour on one CPU core.

    Example: derain table task-driven --data data --runs runs/task --output task.md
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from dataclasses import replace

    from derain_ros.papers.task_driven import table
    from derain_ros.train.loop import Machine
    from derain_ros.train.task_driven import TaskDrivenRecipe

    phases: list[TaskDrivenRecipe] = read_phases(config, TaskDrivenRecipe)
    if len(phases) != 2:
        raise typer.BadParameter(f"{config}: must have two phases, stage I and stage II, but has {len(phases)}")
    phases = [replace(p, steps=steps or p.steps, segmenter=segmenter or p.segmenter) for p in phases]
    judges = {"the losses' segmenter": phases[1].segmenter} | ({"a second segmenter": other} if other else {})
    _give(table(data, runs, phases, judges, models, scenes, Machine(accelerator, precision="32-true")), output)


def _phases(config: Path, steps: Optional[int], crop: Optional[int]) -> "list[RestoreRecipe]":
    """The phases of a recipe, cut down; a short training is validated four times."""
    from dataclasses import replace

    from derain_ros.train.recipe import RestoreRecipe

    phases: list[RestoreRecipe] = read_phases(config, RestoreRecipe)
    if steps is not None:
        phases = [replace(p, steps=steps, validate_every=min(p.validate_every, max(1, steps // 4))) for p in phases]
    return [replace(phase, crop=crop or phase.crop) for phase in phases]


def _trained(
    table: str,
    printed: "dict[str, tuple[float, float]]",
    data: "list[Path]",
    runs: Path,
    output: Optional[Path],
    phases: "list[RestoreRecipe]",
    accelerator: str,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from derain_ros.papers import tables, trials
    from derain_ros.train.loop import Machine

    make = trials.ablation if table == "ablation" else trials.initialisation
    rows = make(data, runs, phases, Machine(accelerator))
    last = phases[-1]
    trained = (
        f"Each training: at most {last.steps} steps in each phase, with {last.batch} crops of "
        f"{last.crop}x{last.crop} per step; early stopping after {last.patience} validations without improvement."
    )
    _give(tables.restoration_table(rows, printed, trained), output)


def _give(table: str, output: Optional[Path]) -> None:
    if output is not None:
        output.write_text(table, encoding="utf-8")
    typer.echo(table)
