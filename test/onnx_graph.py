"""A network's answer by ONNX Runtime, for tests of networks that no command exports."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch


def run_as_onnx(net: torch.nn.Module, path: Path, **images: torch.Tensor) -> list[np.ndarray]:
    """The outputs of `net` for these named inputs, exported to `path` and run there."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            net.eval(),
            tuple(images.values()),
            None,
            dynamo=True,
            opset_version=18,
            input_names=list(images),
            verbose=False,
        )
    assert program is not None
    program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: image.numpy() for name, image in images.items()})
