"""`derain train`: train the networks."""

import logging
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

app = typer.Typer(no_args_is_help=True, help="Train the networks; needs the extra `train`.")

Data = Annotated[Path, typer.Option(help="Folder of training images; the README tells its layout.")]
Output = Annotated[Path, typer.Option(help="Folder of the checkpoint and the log.")]
Recipe = Annotated[Optional[Path], typer.Option(help="YAML file of hyper-parameters that differ from the defaults.")]


def read_recipe(recipe: type, path: Path | None) -> Any:
    """A recipe dataclass with the values of a YAML file; typer.BadParameter for a name or type that does not fit."""
    if path is None:
        return recipe()
    import yaml
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path}: cannot be read: {error}") from error
    known = {f.name: str(f.type) for f in fields(recipe)}
    if not isinstance(values, dict):
        raise typer.BadParameter(f"{path}: must hold names and values, such as `steps: 20000`")
    for name, value in values.items():
        if name not in known:
            raise typer.BadParameter(f"{path}: {name}: no such hyper-parameter; there are {', '.join(known)}")
        kinds = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}.get(known[name], (object,))
        if not isinstance(value, kinds) or isinstance(value, bool) != (known[name] == "bool"):
            raise typer.BadParameter(f"{path}: {name}: {value!r} is not of type {known[name]}")
    return recipe(**values)


@app.command()
def restore(data: Data, output: Output, config: Recipe = None) -> None:
    """Train a restorer on real and synthetic pairs; takes up what an earlier call left in the output folder.

    Example: derain train restore --data data --output runs/restore
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from derain_ros.train.restore import RestoreRecipe, train
    checkpoint = train(data, output, read_recipe(RestoreRecipe, config))
    typer.echo(f"checkpoint: {checkpoint}; next: derain export {checkpoint} restore_rgb")


@app.command()
def adversarial(
    data: Data, output: Output, config: Recipe = None,
    initial: Annotated[Optional[Path], typer.Option(help="Checkpoint whose weights to begin with.")] = None,
) -> None:
    """Train the printed network of paper 1 against a discriminator, as printed.

    Example: derain train adversarial --data data --output runs/adversarial
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from derain_ros.train.adversarial import AdversarialRecipe, train
    checkpoint = train(data, output, read_recipe(AdversarialRecipe, config), initial)
    typer.echo(f"checkpoint: {checkpoint}")


@app.command()
def detect(data: Data, output: Output, config: Recipe = None) -> None:
    """Train the anomaly detector on rendered and real views.

    Example: derain train detect --data data --output runs/detect
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from derain_ros.train.detector import DetectRecipe, train
    checkpoint = train(data, output, read_recipe(DetectRecipe, config))
    typer.echo(f"checkpoint: {checkpoint}; next: derain export {checkpoint} detect")
