"""Recipes of trainings, read from YAML files and checked against what they may hold."""

from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
"""What YAML gives for the types of hyper-parameters; in lists for tuples of them."""


def read_phases(path: Path | None, recipe: type) -> list[Any]:
    """The recipes in a YAML file, or in the shipped one of that name: several where it has `phases`.

    typer.BadParameter for a name or type that `recipe`, their dataclass, does not have.
    """
    from derain_ros.train.recipe import RECIPES

    if path is None:
        return [recipe()]
    shipped = RECIPES / f"{path}.yaml"
    path = shipped if not path.exists() and shipped.exists() else path
    values = read_yaml(path)
    phases = values.pop("phases", [{}])
    if not isinstance(phases, list) or not phases or not all(isinstance(phase, dict) for phase in phases):
        raise typer.BadParameter(
            f"{path}: phases: must be a list with the values of each phase, such as `- steps: 20000`"
        )
    return [recipe(**_fitting(recipe, path, {**values, **phase})) for phase in phases]


def read_yaml(path: Path) -> dict[str, Any]:
    """The names and values of a YAML file; typer.BadParameter where it holds anything else."""
    from derain_ros import files

    try:
        values = files.read_yaml(path) or {}
    except (OSError, files.FileError) as error:
        raise typer.BadParameter(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise typer.BadParameter(f"{path}: must have names and values, such as `steps: 20000`")
    return values


def _fitting(recipe: type, path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values, checked against the types of the recipe's fields; lists become tuples."""
    known = {f.name: str(f.type) for f in fields(recipe)}  # of strings: annotations are not evaluated there
    for name, value in values.items():
        if known.get(name) == "float" and isinstance(value, str):
            with suppress(ValueError):  # YAML takes 6e-3 for text
                values[name] = value = float(value)
        if name not in known:
            raise typer.BadParameter(f"{path}: {name}: no such hyper-parameter; there are {', '.join(known)}")
        if not _is_of(value, known[name]):
            raise typer.BadParameter(f"{path}: {name}: {value!r} is not of type {known[name]}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _is_of(value: Any, kind: str) -> bool:
    """Whether a value as YAML reads it is of the type that a recipe calls so."""
    if kind.startswith("tuple"):
        return isinstance(value, list) and all(_is_of(part, kind[len("tuple[") : kind.index(",")]) for part in value)
    return isinstance(value, KINDS[kind]) and isinstance(value, bool) == (kind == "bool")
