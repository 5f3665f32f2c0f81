"""Checkpoints: written whole or not at all, and read again as networks; so are exported models."""

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
"""What a recipe says of the network."""

log = logging.getLogger(__name__)


def build(recipe: Mapping[str, Any]) -> nn.Module:
    """The network that a recipe (as a dict; of an earlier version, too) describes, for three channels."""
    # Recipes from before there was one for both families name no network.
    if recipe.get("network", "printed" if "enhancer" in recipe else "fast") == "printed":
        return PrintedRestorer(3, recipe["enhancer"], recipe["aggregation"])
    return FastRestorer(3, recipe["width"], recipe["blocks"], recipe.get("scale", 1), recipe.get("deep", 0))


def with_network_of(recipe: RestoreRecipe, start_from: str) -> RestoreRecipe:
    """The recipe, for the network of a checkpoint or an exported model and beginning with its weights."""
    network = {key: value for key, value in read(Path(start_from))["recipe"].items() if key in NETWORK}
    return replace(recipe, start_from=start_from, **network)


def write(state: dict[str, Any], path: Path) -> None:
    """Write beside the old checkpoint first, so that a cut leaves one of them whole."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def find(path: Path, task: str = "restore") -> Path:
    """The file that `path` is, or else of the shipped model for the task that is called so; DataError where it is
    neither."""
    found = path if path.is_file() else shipped(str(path), task)
    if found is None:
        raise DataError(
            f"{path}: there is no such checkpoint, nor a shipped {TASKS[task].called} of that name; train it first"
        )
    return found


def read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the processor, or an exported restorer, named by its file or, of the shipped ones, by
    its name; DataError where it is none."""
    path = find(path)
    if path.suffix == ".onnx":
        return read_exported(path)
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(state, dict) or not {"net", "recipe"} <= state.keys():
            raise KeyError("it holds no network and recipe")
    except Exception as error:  # reading a file that is none fails in whatever way its bytes lead to
        what = str(error).split("\n", 1)[0]
        raise DataError(f"{path}: not a checkpoint of `derain train`: {what}") from error
    return state


def tell_other_recipe(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn where a training that is taken up was begun by another recipe."""
    other = [name for name, value in now.items() if then.get(name) != value]
    if other:
        log.warning("the recipe was another one until then: %s", ", ".join(other))


def load_network(path: Path) -> nn.Module:
    """The network of a checkpoint with its averaged weights, in evaluation mode; DataError where it is none."""
    state = read(path)
    net = build(state["recipe"])
    begin_with(net, path)
    return net.eval()


def begin_with(net: nn.Module, path: Path) -> None:
    """Give `net` the averaged weights of a checkpoint; DataError where it is another network's.

    Those of an exported model hold its normalisation, so that the printed network trains on without. What a deep fast
    network has beside one that is not starts without effect.
    """
    state = read(path)
    weights = state.get("average", state["net"])
    if isinstance(net, PrintedRestorer) and "generator.down_half.conv.bias" in weights:
        net.fold()
    if isinstance(net, FastRestorer) and "from_sixteenth.weight" not in weights:
        weights = {name: value for name, value in net.state_dict().items() if "sixteenth" in name} | dict(weights)
    give(net, weights, path)


def give(net: nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    """Give `net` these weights, read from `path`; DataError where they are another network's."""
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).split("\n", 2)[1].strip() if "\n" in str(error) else str(error)
        raise DataError(f"{path}: has not the parts of the network to be trained: {what}") from error
