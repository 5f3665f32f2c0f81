"""From a detector's checkpoint to ONNX: grey uint8 in, calibrated probabilities out, in float or in eight bits."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from derain_ros.nets.detector import CLASSES, SIZE, Detector
from derain_ros.publish.eight_bits import quantize
from derain_ros.publish.export import ExportError, export_onnx

OUTPUTS = ["probabilities", "mask", "severity"]
QUANTIZED_OPS = ["Conv", "Add", "Relu", "Resize", "Slice"]


class DetectorGraph(nn.Module):
    """The detector as the robot runs it: `image` (N, *SIZE, 1) uint8 to probabilities, mask and severity.

    `scale` and `shift` (K numbers each) calibrate the logits of the classes, see `calibrate`.
    """

    def __init__(self, net: Detector, scale: list[float], shift: list[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities of the classes (N, K), those of the cells (N, *CELLS), and the severity (N,).

        All are in [0, 1]. Classes are independent; a cell's probability is that of being affected.
        """
        out = self.net(image.reshape(-1, 1, *SIZE).float())  # one channel: no need to transpose
        return (out.classes * self.scale + self.shift).sigmoid(), out.mask.sigmoid(), out.severity.sigmoid()


def load_detector(checkpoint: Path) -> DetectorGraph:
    """Return the calibrated network of a checkpoint of `derain train detect`; ExportError if it is none."""
    try:
        net = Detector()
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        net.load_state_dict(state["net"])
        calibration = state["calibration"]
        if len(calibration["scale"]) != len(CLASSES) or len(calibration["shift"]) != len(CLASSES):
            raise KeyError("calibration")
        return DetectorGraph(net, calibration["scale"], calibration["shift"]).eval()
    except (OSError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        what = str(error).split("\n", 1)[0]
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train detect`: {what}") from error


def export_detector(checkpoint: Path, path: Path) -> None:
    """Write the detector of `checkpoint` to `path` as ONNX for any batch; ExportError if the two differ."""
    rng = np.random.default_rng(0)
    example = torch.from_numpy(rng.integers(0, 256, (2, *SIZE, 1), dtype=np.uint8))
    export_onnx(load_detector(checkpoint), {"image": example}, OUTPUTS, {0: "batch"}, path)


def quantize_detector(source: Path, target: Path, images: np.ndarray) -> None:
    """Write the exported detector `source` with unsigned 8-bit activations and signed 8-bit weights to `target`.

    The ranges are measured on `images` (n, *SIZE) grey uint8, none of them held out. All up to the first convolution,
    which sees the standardised image, and all after the last one stay float: they cost little.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        convolutions = [i for i, node in enumerate(nodes) if node.op_type == "Conv"]
        outside = [node.name for i, node in enumerate(nodes) if i <= convolutions[0] or i > convolutions[-1]]
        quantize(prepared, target, ({"image": image[None, ..., None]} for image in images), QUANTIZED_OPS, outside)
