"""Equalises channels before quantisation: those of a layer share eight bits, so none should dominate.

A positive factor passes through a ReLU: a channel of a convolution's output is divided by a factor, and the weights
that take this channel are multiplied by it. In full precision the network stays the same (cross-layer equalisation,
Nagel et al., Data-Free Quantization, ICCV 2019; with measured ranges as in SmoothQuant, Xiao et al., ICML 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

LARGEST = 8.0
"""Largest factor; the smallest is its inverse."""


def equalise(model: onnx.ModelProto, images: Sequence[np.ndarray]) -> int:
    """Change the weights of `model` where only convolutions take a rectified convolution; returns how often.

    `images` are (H, W, C) uint8, as the model takes them: the ranges of the channels are measured on them.
    """
    given = {output.name for output in model.graph.output}
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            takers.setdefault(name, []).append(node)
    weights = {w.name: numpy_helper.to_array(w).copy() for w in model.graph.initializer}
    layers: dict[str, tuple[onnx.NodeProto, list[onnx.NodeProto]]] = {}
    for node in model.graph.node:
        rectified = takers.get(node.output[0], [])
        if node.op_type == "Conv" and len(rectified) == 1 and rectified[0].op_type in ("Relu", "LeakyRelu"):
            value = rectified[0].output[0]
            if value not in given and all(n.op_type == "Conv" and n.input[0] == value for n in takers[value]):
                layers[value] = node, takers[value]
    most = _ranges(model, list(layers), images) if layers else {}
    for value, (node, taking) in layers.items():
        heaviest = np.max([np.abs(weights[n.input[1]]).max(axis=(0, 2, 3)) for n in taking], axis=0)
        alive = (most[value] > 1e-4) & (heaviest > 1e-6)
        factor = np.ones(len(alive), np.float32)
        # Half of the imbalance stays in the weights: they share eight bits, too.
        factor[alive] = np.sqrt(most[value][alive] / heaviest[alive])
        factor[alive] = np.clip(factor[alive] / np.exp(np.log(factor[alive]).mean()), 1 / LARGEST, LARGEST)
        weights[node.input[1]] /= factor[:, None, None, None]
        if len(node.input) > 2:
            weights[node.input[2]] /= factor
        for other in taking:
            weights[other.input[1]] *= factor[None, :, None, None]
    for weight in model.graph.initializer:
        weight.CopyFrom(numpy_helper.from_array(weights[weight.name], weight.name))
    return len(layers)


def _ranges(model: onnx.ModelProto, values: Sequence[str], images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the largest magnitude of each channel of `values` over all `images`."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    most: dict[str, np.ndarray] = {}
    for image in images:
        for value, found in zip(values, session.run(list(values), {"image": image[None]}), strict=True):
            most[value] = np.maximum(most.get(value, 0), np.abs(found).max(axis=(0, 2, 3)))
    return most
