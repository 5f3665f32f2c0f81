"""From a restorer's checkpoint to ONNX: uint8 NHWC in and out, all arithmetic inside the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from derain_ros.data.samples import DataError
from derain_ros.nets.fast import STRIDE, FastRestorer
from derain_ros.nets.printed import PrintedRestorer
from derain_ros.publish.export import ExportError, export_onnx
from derain_ros.train import checkpoint as checkpoints
from derain_ros.train.exported import SCALE

Restorer = FastRestorer | PrintedRestorer


class RestorerGraph(nn.Module):
    """A restorer as on the robot: `image` (N, H, W, C) uint8 to `restored` of that shape and `mask` (N, H, W) uint8.

    A network for reduced images gets reduced images: the robot reduces them, and enlarges what was changed. Each
    normalisation of the printed network is folded into its convolution.
    """

    def __init__(self, net: Restorer) -> None:
        super().__init__()
        self.net = net.folded() if isinstance(net, PrintedRestorer) else net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scale to 0..1, restore, clamp and round; the mask is the probability times 255."""
        scaled = image.permute(0, 3, 1, 2).float() * (1 / 255)
        out = self.net.restore(scaled) if isinstance(self.net, FastRestorer) else self.net(scaled)
        restored = (out.restored.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
        return restored, (out.mask[:, 0].sigmoid() * 255 + 0.5).to(torch.uint8)


def load_restorer(checkpoint: Path) -> tuple[Restorer, dict[str, Any]]:
    """Return the averaged network of a training checkpoint, for evaluation, and its whole content.

    ExportError if it is none.
    """
    try:
        net = checkpoints.load_network(checkpoint)
        assert isinstance(net, (FastRestorer, PrintedRestorer))
        return net, checkpoints.read(checkpoint)
    except (DataError, KeyError) as error:
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train restore`: {error}") from error


def to_grey(net: Restorer) -> Restorer:
    """Return the one-channel network that does with a grey image what `net` does with its three equal copies.

    Weights on the three copies of an input are added; the three outputs are averaged. Both networks agree only as far
    as the three generated channels do: the enhancer and the printed network's tanh get their mean.
    """
    return _fast_to_grey(net) if isinstance(net, FastRestorer) else _printed_to_grey(net)


def _fast_to_grey(net: FastRestorer) -> FastRestorer:
    grey = FastRestorer(1, net.width, net.blocks, net.scale, net.deep)
    edge = net.width // 2
    state = dict(net.state_dict())

    def fold_outputs(weight: Tensor) -> Tensor:
        return torch.stack(weight.split(16, dim=0)).mean(0)

    state["stem.weight"] = _fold_inputs(state["stem.weight"], 0, 48)
    state["aggregate_quarter.weight"] = _fold_inputs(state["aggregate_quarter.weight"], 0, 48)
    state["fuse_quarter.weight"] = _fold_inputs(state["fuse_quarter.weight"], 2 * edge, 48)
    state["enhancer.front.0.weight"] = _fold_inputs(_fold_inputs(state["enhancer.front.0.weight"], 0, 48), 16, 48)
    for name in ("image", "enhancer.last"):
        state[f"{name}.weight"] = fold_outputs(state[f"{name}.weight"])
        state[f"{name}.bias"] = fold_outputs(state[f"{name}.bias"])
    grey.load_state_dict(state)
    return grey.eval()


def _printed_to_grey(net: PrintedRestorer) -> PrintedRestorer:
    grey = PrintedRestorer(1, net.enhancer is not None, net.generator.aggregation)
    state = dict(net.state_dict())
    if "generator.down_half.conv.bias" in state:  # training started from an exported one
        grey.fold()
    # Index of the image's first channel among the inputs of a convolution.
    inputs = {"generator.down_half.conv": [0]}
    if net.generator.aggregation:
        inputs |= {"generator.join_half.conv": [0], "generator.join_up_full.conv": [32 + 16]}
    outputs = ["generator.image"]
    if net.enhancer is not None:
        # Generated and wet image; the first is already one channel when the second is folded.
        inputs["enhancer.first"], outputs = [0, 1], [*outputs, "enhancer.last"]
    for name, places in inputs.items():
        for first in places:
            state[f"{name}.weight"] = _fold_inputs(state[f"{name}.weight"], first, 3)
    for name in outputs:
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"].mean(0, keepdim=True)
    grey.load_state_dict(state)
    return grey.eval()


def _fold_inputs(weight: Tensor, first: int, count: int) -> Tensor:
    """Return weights (outputs, inputs, h, w) with the three equal parts of `count` inputs from `first` on added."""
    before, colour, after = weight.split([first, count, weight.shape[1] - first - count], dim=1)
    return torch.cat([before, torch.stack(colour.split(count // 3, dim=1)).sum(0), after], 1)


def export_restorer(net: Restorer, path: Path) -> None:
    """Write a restorer to `path` as ONNX for any batch and any height and width that are multiples of STRIDE."""
    rng = np.random.default_rng(0)
    example = torch.from_numpy(rng.integers(0, 256, (2, 3 * STRIDE, 4 * STRIDE, net.channels), dtype=np.uint8))
    export_onnx(
        RestorerGraph(net), {"image": example}, ["restored", "mask"], {0: "batch", 1: "height", 2: "width"}, path
    )
    if isinstance(net, FastRestorer):
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {SCALE: str(net.scale)})
        onnx.save(model, path)
