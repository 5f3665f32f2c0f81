"""From a restorer's checkpoint to ONNX: uint8 NHWC in and out, all arithmetic inside the graph."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from derain_ros.nets.fast import STRIDE, FastRestorer
from derain_ros.train.export import ExportError, export_onnx


class RestorerGraph(nn.Module):
    """A restorer as the robot runs it: `image` (N, H, W, C) uint8 to `restored` of that form, `mask` (N, H, W)."""

    def __init__(self, net: FastRestorer) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scale to 0..1, restore, clamp and round; the mask is 255 where the network is more sure than not."""
        out = self.net(image.permute(0, 3, 1, 2).float() * (1 / 255))
        restored = (out.restored.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
        return restored, (out.mask[:, 0] > 0).to(torch.uint8) * 255


def load_restorer(checkpoint: Path) -> tuple[FastRestorer, dict[str, Any]]:
    """The averaged network of a training checkpoint, and the checkpoint's other content."""
    try:
        state = torch.load(checkpoint, weights_only=False, map_location="cpu")
        recipe = state["recipe"]
        net = FastRestorer(int(state["average"]["stem.weight"].shape[1]) // 16, recipe["width"], recipe["blocks"])
        net.load_state_dict(state["average"])
    except (OSError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train restore`: {error}") from error
    return net.eval(), state


def to_grey(net: FastRestorer) -> FastRestorer:
    """The one-channel network that does to a grey image what `net` (3 channels) does to its three equal copies.

    Weights on the three copies of an input are added; the three outputs are averaged.
    """
    grey = FastRestorer(1, net.width, net.blocks)
    edge = net.width // 2
    state = dict(net.state_dict())

    def fold_inputs(weight: Tensor) -> Tensor:
        return torch.stack(weight.split(16, dim=1)).sum(0)

    def fold_outputs(weight: Tensor) -> Tensor:
        return torch.stack(weight.split(16, dim=0)).mean(0)

    state["stem.weight"] = fold_inputs(state["stem.weight"])
    pixels, features = state["aggregate_quarter.weight"].split([48, edge], dim=1)
    state["aggregate_quarter.weight"] = torch.cat([fold_inputs(pixels), features], 1)
    features, pixels = state["fuse_quarter.weight"].split([2 * edge, 48], dim=1)
    state["fuse_quarter.weight"] = torch.cat([features, fold_inputs(pixels)], 1)
    front = state["enhancer.front.0.weight"].split([48, 48], dim=1)
    state["enhancer.front.0.weight"] = torch.cat([fold_inputs(part) for part in front], 1)
    for name in ("image", "enhancer.last"):
        state[f"{name}.weight"] = fold_outputs(state[f"{name}.weight"])
        state[f"{name}.bias"] = fold_outputs(state[f"{name}.bias"])
    grey.load_state_dict(state)
    return grey.eval()


def export_restorer(net: FastRestorer, path: Path) -> None:
    """Write a restorer to `path`; any batch, any height and width that are multiples of its stride."""
    rng = np.random.default_rng(0)
    example = torch.from_numpy(rng.integers(0, 256, (2, 3 * STRIDE, 4 * STRIDE, net.channels), dtype=np.uint8))
    export_onnx(RestorerGraph(net), example, ["restored", "mask"], {0: "batch", 1: "height", 2: "width"}, path)
