"""From a fuser's checkpoint to ONNX: uint8 images in, fused luminance out, in float or in eight bits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.data.fusion import FusionSample
from derain_ros.data.samples import DataError
from derain_ros.nets.fuse import CELL, STRIDE, Fuser
from derain_ros.publish.eight_bits import quantize
from derain_ros.publish.export import ExportError, export_onnx
from derain_ros.train import checkpoint as checkpoints

INPUTS = ("visible", "infrared", "mask")
QUANTIZED_OPS = ("Conv", "Relu", "Add", "Concat")
FLOAT_OPS = ("ReduceMean", "Sub", "Sigmoid")
"""Operators of float nodes that share values with quantised nodes."""


class FuserGraph(nn.Module):
    """The fuser as on the robot: `visible`, `infrared`, `mask` (N, H, W, 1) uint8 to `fused` of the same shape."""

    def __init__(self, net: Fuser) -> None:
        super().__init__()
        self.net = net

    def forward(self, visible: Tensor, infrared: Tensor, mask: Tensor) -> tuple[Tensor]:
        """Scale to 0..1, fuse on the quarter grid, clamp and round."""
        # One channel: a permutation moves nothing.
        cells = (
            F.pixel_unshuffle(image.permute(0, 3, 1, 2), CELL).float() * (1 / 255)
            for image in (visible, infrared, mask)
        )
        fused = (self.net.cells(*cells).fused.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
        return (F.pixel_shuffle(fused, CELL).permute(0, 2, 3, 1),)


def load_fuser(checkpoint: Path) -> tuple[Fuser, dict[str, Any]]:
    """Return the averaged network of a checkpoint of `derain train fuse`, for evaluation, and its whole content.

    ExportError if it is no such checkpoint.
    """
    try:
        state = checkpoints.read(checkpoint)
        net = Fuser(state["recipe"]["width"])
        net.load_state_dict(state["average"])
    except (DataError, KeyError, RuntimeError) as error:
        what = str(error).split("\n", 1)[0]
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train fuse`: {what}") from error
    return net.eval(), state


def export_fuser(net: Fuser, path: Path) -> None:
    """Write the fuser to `path` as ONNX for any batch and any height and width that are multiples of STRIDE."""
    rng = np.random.default_rng(0)
    examples = {
        name: torch.from_numpy(rng.integers(0, 256, (2, 6 * STRIDE, 8 * STRIDE, 1), dtype=np.uint8)) for name in INPUTS
    }
    export_onnx(FuserGraph(net), examples, ["fused"], {0: "batch", 1: "height", 2: "width"}, path)


def quantize_fuser(source: Path, target: Path, samples: Sequence[FusionSample]) -> None:
    """Write the exported fuser `source` with unsigned 8-bit activations and signed 8-bit weights to `target`.

    The ranges are measured on `samples`. Bases, details and all that is computed from them stay float, and so do the
    weight and the gains: eight bits there would be noise on every pixel.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        inputs = ({name: getattr(sample, name)[None, ..., None] for name in INPUTS} for sample in samples)
        quantize(prepared, target, inputs, QUANTIZED_OPS, _in_floats(onnx.load(prepared)))
    model = onnx.load(target)
    _bypass(model)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _in_floats(model: onnx.ModelProto) -> list[str]:
    """Return the names of the smoothings, of one channel each, of the sigmoids, and of all nodes after these."""
    single = {weight.name for weight in model.graph.initializer if len(weight.dims) == 4 and weight.dims[1] == 1}
    after: set[str] = set()
    names = []
    for node in model.graph.node:
        begins = node.op_type == "Sigmoid" or node.op_type == "Conv" and node.input[1] in single
        if begins or after & set(node.input):
            names.append(node.name)
            after |= set(node.output)
    return names


def _bypass(model: onnx.ModelProto) -> None:
    """Give float nodes the original value in place of one that was quantised and dequantised."""
    maker = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in FLOAT_OPS:
            for place, name in enumerate(node.input):
                if name in maker and maker[name].op_type == "DequantizeLinear":
                    node.input[place] = maker[maker[name].input[0]].input[0]
    for _ in range(2):  # remove unused nodes: first the dequantisation, then the quantisation
        taken = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
        kept = [node for node in model.graph.node if taken & set(node.output)]
        del model.graph.node[:]
        model.graph.node.extend(kept)
    used = [weight for weight in model.graph.initializer if any(weight.name in node.input for node in model.graph.node)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(used)
