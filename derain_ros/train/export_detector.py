"""From a detector's checkpoint to ONNX: grey uint8 in, probabilities out."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from derain_ros.nets.detector import CLASSES, SIZE, Detector
from derain_ros.train.export import ExportError, export_onnx


class DetectorGraph(nn.Module):
    """The detector as the robot runs it: `image` (N, h, w, 1) uint8 to the probabilities of classes and cells."""

    def __init__(self, net: Detector, clean_bias: float = 0.0) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("bias", torch.tensor([clean_bias, *[0.0] * (len(CLASSES) - 1)]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of the classes, (N, K), which sum to 1, and of each cell being affected, (N, h/8, w/8)."""
        out = self.net(image.permute(0, 3, 1, 2).float())
        return (out.classes + self.bias).softmax(1), out.mask.sigmoid()


def load_detector(checkpoint: Path) -> DetectorGraph:
    """The network of a checkpoint of `derain train detect` at its operating point; ExportError where it is none."""
    try:
        net = Detector()
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        net.load_state_dict(state["net"])
        return DetectorGraph(net, state["clean_bias"]).eval()
    except (OSError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        what = str(error).split("\n", 1)[0]
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train detect`: {what}") from error


def export_detector(checkpoint: Path, path: Path) -> None:
    """Write the detector of `checkpoint` to `path` as ONNX for any batch; ExportError where the two disagree."""
    rng = np.random.default_rng(0)
    example = torch.from_numpy(rng.integers(0, 256, (2, *SIZE, 1), dtype=np.uint8))
    export_onnx(load_detector(checkpoint), example, ["probabilities", "mask"], {0: "batch"}, path)
