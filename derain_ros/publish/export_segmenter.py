"""From a segmenter's checkpoint to ONNX: RGB uint8 in, the class of each pixel out, in float or in eight bits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from derain_ros.nets.segmentation import STRIDE, Segmenter, fold
from derain_ros.publish.eight_bits import quantize
from derain_ros.publish.export import export_onnx
from derain_ros.train.exported import BACKBONE, CLASSES

QUANTIZED_OPS = ("Conv", "Relu", "Clip", "Add", "Concat", "Pad")


class SegmenterGraph(nn.Module):
    """The segmenter as on the robot: `image` (N, H, W, 3) uint8 RGB to `labels` (N, H, W) uint8."""

    def __init__(self, net: Segmenter) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Scale to 0..1, segment, take the most probable class."""
        return (self.net(image.permute(0, 3, 1, 2).float() * (1 / 255)).argmax(1).to(torch.uint8),)


def export_segmenter(net: Segmenter, classes: Sequence[str], backbone: str, path: Path) -> None:
    """Write the segmenter to `path` as ONNX for any batch and any height and width that are multiples of STRIDE.

    The normalisations of `net` are folded into its convolutions, also in `net` itself.
    """
    fold(net)
    rng = np.random.default_rng(0)
    example = torch.from_numpy(rng.integers(0, 256, (2, 6 * STRIDE, 8 * STRIDE, 3), dtype=np.uint8))
    export_onnx(SegmenterGraph(net), {"image": example}, ["labels"], {0: "batch", 1: "height", 2: "width"}, path)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {BACKBONE: backbone, CLASSES: ",".join(classes)})
    onnx.save(model, path)


def quantize_segmenter(source: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Write the exported segmenter `source` with unsigned 8-bit activations and signed 8-bit weights to `target`.

    The ranges are measured on `images` (H, W, 3) uint8 RGB, H and W multiples of STRIDE, none of them held out. The
    last convolution, which gives the scores of the classes, and all after it stay float.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        last = max(i for i, node in enumerate(nodes) if node.op_type == "Conv")
        in_floats = [node.name for i, node in enumerate(nodes) if i >= last]
        quantize(prepared, target, ({"image": image[None]} for image in images), QUANTIZED_OPS, in_floats)
