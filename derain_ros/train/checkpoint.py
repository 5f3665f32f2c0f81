"""Checkpoints, which are written atomically, and exported models: both are read as networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from derain_ros.data.samples import DataError
from derain_ros.nets.fast import FastRestorer
from derain_ros.nets.printed import PrintedRestorer
from derain_ros.tasks import TASKS
from derain_ros.train.exported import read_exported, shipped
from derain_ros.train.recipe import RestoreRecipe

NETWORK = ("network", "width", "blocks", "scale", "deep", "enhancer", "aggregation")
"""The settings of a recipe that describe the network."""

log = logging.getLogger(__name__)


def build(recipe: Mapping[str, Any]) -> nn.Module:
    """Return the network for three channels that a recipe describes, as a dict, also one of an earlier version."""
    # Recipes of earlier versions, one for each family, name no network.
    if recipe.get("network", "printed" if "enhancer" in recipe else "fast") == "printed":
        return PrintedRestorer(3, recipe["enhancer"], recipe["aggregation"])
    return FastRestorer(3, recipe["width"], recipe["blocks"], recipe.get("scale", 1), recipe.get("deep", 0))


def with_network_of(recipe: RestoreRecipe, start_from: str) -> RestoreRecipe:
    """Return the recipe with the network of a checkpoint or an exported model, starting from its weights."""
    network = {key: value for key, value in read(Path(start_from))["recipe"].items() if key in NETWORK}
    return replace(recipe, start_from=start_from, **network)


def write(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint beside the old one, then replace it: an interruption leaves one of them complete."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def find(path: Path, task: str = "restore") -> Path:
    """Return the file at `path`, or else that of the shipped model of the task with this name.

    DataError if there is neither.
    """
    found = path if path.is_file() else shipped(str(path), task)
    if found is None:
        raise DataError(
            f"{path}: there is no such checkpoint, nor a shipped {TASKS[task].called} of that name; train it first"
        )
    return found


def read(path: Path) -> dict[str, Any]:
    """Return what a checkpoint or an exported restorer holds, on the CPU.

    `path` is its file or the name of a shipped restorer; DataError if it is none of these.
    """
    path = find(path)
    if path.suffix == ".onnx":
        return read_exported(path)
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(state, dict) or not {"net", "recipe"} <= state.keys():
            raise KeyError("it holds no network and recipe")
    except Exception as error:  # an invalid file may raise any exception
        what = str(error).split("\n", 1)[0]
        raise DataError(f"{path}: not a checkpoint of `derain train`: {what}") from error
    return state


def tell_other_recipe(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn if a training that is resumed was begun with another recipe."""
    other = [name for name, value in now.items() if then.get(name) != value]
    if other:
        log.warning("the recipe was another one until then: %s", ", ".join(other))


def load_network(path: Path) -> nn.Module:
    """Return the network of a checkpoint with its averaged weights, for evaluation; DataError if it is none."""
    state = read(path)
    net = build(state["recipe"])
    begin_with(net, path)
    return net.eval()


def begin_with(net: nn.Module, path: Path) -> None:
    """Give `net` the averaged weights of a checkpoint; DataError if they are of another network.

    The weights of an exported model include its normalisation, so the printed network is trained on without one. The
    blocks that only a deep fast network has start without effect.
    """
    state = read(path)
    weights = state.get("average", state["net"])
    if isinstance(net, PrintedRestorer) and "generator.down_half.conv.bias" in weights:
        net.fold()
    if isinstance(net, FastRestorer) and "from_sixteenth.weight" not in weights:
        weights = {name: value for name, value in net.state_dict().items() if "sixteenth" in name} | dict(weights)
    give(net, weights, path)


def give(net: nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    """Give `net` these weights, read from `path`; DataError if they are of another network."""
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).split("\n", 2)[1].strip() if "\n" in str(error) else str(error)
        raise DataError(f"{path}: has not the parts of the network to be trained: {what}") from error
