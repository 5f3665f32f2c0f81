"""From a detector's checkpoint to ONNX: grey uint8 in, probabilities out."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from derain_ros.nets.detector import SIZE, Detector
from derain_ros.train.export import ExportError, export_onnx


class DetectorGraph(nn.Module):
    """The detector as the robot runs it: `image` (N, h, w, 1) uint8 to the probabilities of classes and cells."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of the classes, (N, K), which sum to 1, and of each cell being affected, (N, h/8, w/8)."""
        out = self.net(image.permute(0, 3, 1, 2).float())
        return out.classes.softmax(1), out.mask.sigmoid()


def load_detector(checkpoint: Path) -> Detector:
    """The network of a checkpoint of `derain train detect`; ExportError where it is none."""
    try:
        net = Detector()
        net.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu")["net"])
    except (OSError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        what = str(error).split("\n", 1)[0]
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train detect`: {what}") from error
    return net.eval()


def export_detector(checkpoint: Path, path: Path) -> None:
    """Write the detector of `checkpoint` to `path` as ONNX for any batch; ExportError where the two disagree."""
    rng = np.random.default_rng(0)
    example = torch.from_numpy(rng.integers(0, 256, (2, *SIZE, 1), dtype=np.uint8))
    export_onnx(DetectorGraph(load_detector(checkpoint)), example, ["probabilities", "mask"], {0: "batch"}, path)
