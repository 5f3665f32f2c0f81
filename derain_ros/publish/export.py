"""Exports networks as ONNX and compares them with PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from derain_ros.tasks import TASKS

OPSET = 18
LABELS = {name for task in TASKS.values() for name, output in task.outputs.items() if output.compared == "share"}
"""Outputs whose values are class labels, not amounts."""


class ExportError(RuntimeError):
    """The exported graph does not compute what the network does, or the checkpoint cannot be read."""


def export_onnx(
    graph: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], dynamic: Mapping[int, str], path: Path
) -> None:
    """Write `graph` to `path` as ONNX, and compare it with PyTorch on the `inputs`.

    `inputs` are examples by name, in the order in which `graph` takes them; `dynamic` names the free dimensions of all
    of them. ExportError if more than 0.01 % of an output's values differ: by more than one grey level (uint8) or 1e-3
    (float); labels by anything.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A dimension of one name is the same in all inputs.
    shapes = [dict.fromkeys(dynamic, torch.export.Dim.DYNAMIC) for _ in inputs]
    # Else the exporter logs many lines about missing libraries and its own code.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            None,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    program.optimize()
    program.save(str(path))
    _tidy(path, dynamic)
    feed = {name: example.numpy() for name, example in inputs.items()}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = graph(*inputs.values())
    for name, ours, theirs in zip(outputs, expected, session.run(None, feed), strict=True):
        difference = np.abs(ours.numpy().astype(np.float64) - theirs.astype(np.float64))
        # A pixel on the edge of rounding, or of the mask's threshold, may fall to either side.
        allowed = 0 if name in LABELS else 1 if ours.dtype == torch.uint8 else 1e-3
        wrong = np.mean(difference > allowed)
        if wrong > 1e-4:
            raise ExportError(f"{path}: the output {name} differs from PyTorch's in {wrong:.2%} of its values")


def _tidy(path: Path, dynamic: Mapping[int, str]) -> None:
    """Name the free dimensions of the inputs, and remove the exporter's metadata, which has paths of this machine."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    for given in graph.input:
        for axis, name in dynamic.items():
            given.type.tensor_type.shape.dim[axis].dim_param = name
    onnx.checker.check_model(model)
    onnx.save(model, path)


def task_of(checkpoint: Path) -> str:
    """Return the manifest's task that the checkpoint was trained for; ExportError if there is none."""
    try:
        task = str(torch.load(checkpoint, weights_only=True, map_location="cpu")["task"])
    except Exception as error:  # an invalid file may raise any exception
        raise ExportError(f"{checkpoint}: not a checkpoint of `derain train`: {error}") from error
    if task not in TASKS:
        raise ExportError(
            f"{checkpoint}: holds a network of the task {task}, which is measured by `derain table` and "
            "does not run in the node"
        )
    return task
