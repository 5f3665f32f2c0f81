"""`derain table`: the tables of the papers, measured here."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from derain_ros.cli.train import Data, Recipe, read_phases

if TYPE_CHECKING:
    from derain_ros.train.recipe import RestoreRecipe

app = typer.Typer(no_args_is_help=True, help="Make the tables of the papers; needs the extra `train`.")

Markdown = Annotated[Optional[Path], typer.Option(help="Markdown file to write as well.")]
Runs = Annotated[Path, typer.Option(help="Folder of the trainings; those found there are taken up.")]
Steps = Annotated[Optional[int], typer.Option(min=1, help="Steps of each training at the most; else by the recipe.")]


@app.command()
def speed(
    output: Markdown = None,
    repeats: Annotated[int, typer.Option(min=1, help="Frames timed with each network, by turns.")] = 15,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the processor; 0 takes all cores.")] = 0,
) -> None:
    """Table III: milliseconds for a frame of 540x360, of our networks and of those rebuilt from other papers.

    Example: derain table speed --output speed.md
    """
    from derain_ros.evaluate.speed import measure
    from derain_ros.evaluate.tables import speed_table
    _give(speed_table(measure(repeats=repeats, threads=threads), threads), output)


@app.command()
def ablation(data: Data, runs: Runs, output: Markdown = None, steps: Steps = None, config: Recipe = None) -> None:
    """Table I: the printed network without enhancer and aggregation, with the first, with both; all trained alike.

    Six trainings, of 50000 steps at the most each: hours on a graphics card, far too long on a processor.

    Example: derain table ablation --data data --runs runs/ablation --steps 2000 --output ablation.md
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from derain_ros.evaluate import tables, trials
    rows = trials.ablation(data, runs, _recipe(steps, config))
    _give(tables.restoration_table(rows, tables.ABLATION), output)


@app.command()
def initialisation(data: Data, runs: Runs, output: Markdown = None, steps: Steps = None,
                   config: Recipe = None) -> None:
    """Table II: weights at first random, learnt on drops with sharp borders, or on ours; then real pairs.

    Five trainings, of 50000 steps at the most each.

    Example: derain table initialisation --data data --runs runs/initialisation --steps 2000
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from derain_ros.evaluate import tables, trials
    rows = trials.initialisation(data, runs, _recipe(steps, config))
    _give(tables.restoration_table(rows, tables.INITIALISATION), output)


def _recipe(steps: int | None, config: Path | None) -> "RestoreRecipe":
    """The recipe of `config`, by default the paper's, cut to `steps`; of one in phases the first."""
    from dataclasses import replace
    recipe: RestoreRecipe = read_phases(config or Path("paper"))[0]
    if steps is None:
        return recipe
    return replace(recipe, steps=min(steps, recipe.steps), validate_every=min(steps, recipe.validate_every))


def _give(table: str, output: Path | None) -> None:
    if output is not None:
        output.write_text(table, encoding="utf-8")
    typer.echo(table)
