"""Adapts a model's graph to NVIDIA's libraries: static shape, uint8 only at inputs and outputs, symmetric int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from derain_ros.engine import EngineError

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not")


def for_gpu(onnx_bytes: bytes, shape: tuple[int, int, int, int], tensorrt: bool = True) -> bytes:
    """Return the ONNX model for images of the padded `shape` (N, H, W, C).

    TensorRT accepts uint8 only at inputs and outputs, so between them integers are carried as floats. It accepts int8
    models only with zero points of 0 and float biases: for `tensorrt`, each range is widened until it is symmetric.
    Raises EngineError if the package onnx is missing or the graph cannot be read.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineError("the package onnx is missing, which adapts models to GPUs; pip install onnx") from error
    try:
        model = onnx.load_from_string(onnx_bytes)
    except Exception as error:
        # The protobuf library names its own type only in some versions.
        raise EngineError(f"the model cannot be read as ONNX: {error}") from error
    graph = model.graph
    # Shapes that were inferred for a free size are wrong for this one.
    del graph.value_info[:]
    for image in graph.input:
        for dimension, size in zip(image.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = size
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = shape[0]
        for k, dimension in enumerate(output.type.tensor_type.shape.dim):
            if dimension.dim_param:
                dimension.dim_param = f"{output.name}_{k}"
    if tensorrt:
        _symmetric(onnx, graph)
    _floats_inside(onnx, graph)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def _floats_inside(onnx: Any, graph: Any) -> None:
    """Carry integers as floats between a cast of each input and a cast of each uint8 output."""
    types, make = onnx.TensorProto, onnx.helper.make_node
    bools = {name for node in graph.node if node.op_type in COMPARISONS for name in node.output}
    images = [image.name for image in graph.input]
    whole = set(images)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    ends = {o.name for o in graph.output if o.type.tensor_type.elem_type == types.UINT8}
    renamed = {name: f"{name}/float" for name in (*images, *ends)}
    nodes = [make("Cast", [name], [f"{name}/float"], name=f"{name}/float", to=types.FLOAT) for name in images]
    for node in graph.node:
        to = next((a for a in node.attribute if a.name == "to"), None) if node.op_type == "Cast" else None
        if to is not None and to.i == types.UINT8:
            whole.update(node.output)
            if node.input[0] in bools or node.input[0] in whole:
                to.i = types.FLOAT
            else:  # a cast to an integer drops the fraction
                node.op_type = "Floor"
                del node.attribute[:]
        elif to is None and node.op_type not in QUANTIZERS and whole & set(node.input):
            whole.update(node.output)
            for name in set(node.input) & set(constants):
                if constants[name].data_type == types.UINT8:
                    values = onnx.numpy_helper.to_array(constants[name]).astype(np.float32)
                    constants[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
        for names in (node.input, node.output):
            for k, name in enumerate(names):
                names[k] = renamed.get(name, name)
        nodes.append(node)
    nodes += [make("Cast", [f"{name}/float"], [name], name=f"{name}/uint8", to=types.UINT8) for name in sorted(ends)]
    _replace_nodes(onnx, graph, nodes)


def _symmetric(onnx: Any, graph: Any) -> None:
    """Make activations int8 with a zero point of 0, and biases floats; weights are symmetric already.

    Where a range starts at 0, quantising replaced a ReLU that the quantiser removed; this adds the ReLU again.
    """
    to_array, from_array = onnx.numpy_helper.to_array, onnx.numpy_helper.from_array
    constants = {tensor.name: tensor for tensor in graph.initializer}
    widened: set[str] = set()
    nodes = []
    for node in list(graph.node):
        if node.op_type not in QUANTIZERS or len(node.input) < 3:
            nodes.append(node)
            continue
        value, scale_name, zero_name = node.input[:3]
        zero = to_array(constants[zero_name])
        if value in constants and zero.dtype == np.int32:
            scale = to_array(constants[scale_name])
            floats = (to_array(constants[value]).astype(np.float32) * scale).astype(np.float32)
            graph.initializer.append(from_array(floats, node.output[0]))
            continue
        if zero.dtype == np.uint8 and node.op_type == "QuantizeLinear" and not zero.any():
            nodes.append(onnx.helper.make_node("Relu", [value], [f"{value}/relu"], name=f"{value}/relu"))
            node.input[0] = f"{value}/relu"
        if zero.dtype == np.uint8 and scale_name not in widened:
            reach = np.maximum(zero.astype(np.float32), 255 - zero.astype(np.float32))
            scale = (to_array(constants[scale_name]) * reach / 127).astype(np.float32)
            constants[scale_name].CopyFrom(from_array(scale, scale_name))
            widened.add(scale_name)
        nodes.append(node)
    for name in {n.input[2] for n in graph.node if n.op_type in QUANTIZERS and len(n.input) > 2}:
        zero = to_array(constants[name])
        if zero.dtype == np.uint8:
            constants[name].CopyFrom(from_array(np.zeros(zero.shape, np.int8), name))
    _replace_nodes(onnx, graph, nodes)


def _replace_nodes(onnx: Any, graph: Any, nodes: list[Any]) -> None:
    """Replace the nodes of the graph. They are copied first: some are the graph's own, which clearing would empty."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
