"""From a temporal filter's checkpoint to ONNX: uint8 planes in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from derain_ros.data.samples import DataError
from derain_ros.nets.temporal import CELL, COVERED, MEMORY, TemporalNet
from derain_ros.publish.export import ExportError, export_onnx
from derain_ros.train import checkpoint as checkpoints


class TemporalGraph(nn.Module):
    """The filter as on the robot, all uint8; see `TemporalNet`.

    `image` (N, h, w, 5 + MEMORY) to `weights` (N, h, w, 3), `mask` (N, h, w) and `memory` (N, h, w, MEMORY).
    """

    def __init__(self, net: TemporalNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scale to 0..1, filter, round; the mask is 255 for logits above COVERED."""
        out = self.net(image.permute(0, 3, 1, 2).float() * (1 / 255))
        weights, memory = (
            (plane * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1) for plane in (torch.cat(out[:3], 1), out.memory)
        )
        return weights, (out.mask[:, 0] > COVERED).to(torch.uint8) * 255, memory


def load_temporal(checkpoint: Path) -> tuple[TemporalNet, dict[str, Any]]:
    """Return the network of a checkpoint of `derain train temporal`, for evaluation, and its whole content.

    ExportError if it is no such checkpoint.
    """
    try:
        state = checkpoints.read(checkpoint)
        net = TemporalNet(state["recipe"]["width"])
        net.load_state_dict(state["net"])
    except (DataError, KeyError, RuntimeError) as error:
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train temporal`: {error}") from error
    return net.eval(), state


def export_temporal(net: TemporalNet, path: Path) -> None:
    """Write the filter to `path` as ONNX for any batch and any height and width that are multiples of CELL."""
    rng = np.random.default_rng(0)
    example = torch.from_numpy(rng.integers(0, 256, (2, 24 * CELL, 32 * CELL, 5 + MEMORY), dtype=np.uint8))
    export_onnx(
        TemporalGraph(net),
        {"image": example},
        ["weights", "mask", "memory"],
        {0: "batch", 1: "height", 2: "width"},
        path,
    )
