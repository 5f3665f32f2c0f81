"""A network's answer by ONNX Runtime, for tests of networks that no command exports."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch


def run_as_onnx(net: torch.nn.Module, path: Path, **images: torch.Tensor) -> list[np.ndarray]:
    """The outputs of `net` for these named inputs, exported to `path` and run there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Not the exporter of the commands: the older one takes a fifth of the time, and what is tested is the network.
        torch.onnx.export(
            net.eval(), tuple(images.values()), str(path), dynamo=False, opset_version=18, input_names=list(images)
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: image.numpy() for name, image in images.items()})
