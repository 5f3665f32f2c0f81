"""Networks in eight bits: the same numbers on processors that add products in 16 bits as on those that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="quantising needs the extra `train`")

from derain_ros.manifest import Manifest, Model  # noqa: E402
from derain_ros.publish.eight_bits import quantize  # noqa: E402

SEVEN_BITS = 64
"""Two products of such weights with activations of 255 fit into 16 bits."""


def weights(path: Path) -> dict[str, np.ndarray]:
    """The int8 weights of a model's layers."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(path).graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1
    }


def test_bright_images_and_heavy_weights_overflow_nowhere(tmp_path: Path) -> None:
    kernel = np.full((4, 16, 3, 3), 0.5, np.float32)
    kernel[1] *= -1
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["bright"]), helper.make_node("Conv", ["bright", "kernel"], ["sums"])],
        "sums",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 16, 12, 12])],
        [helper.make_tensor_value_info("sums", TensorProto.FLOAT, [1, 4, 10, 10])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(model, source)
    image = np.full((1, 16, 12, 12), 1.0, np.float32)
    quantize(source, target, [{"image": image}], ["Conv"], [])
    assert all(np.abs(weight.astype(int)).max() == SEVEN_BITS for weight in weights(target).values())
    (sums,) = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"]).run(None, {"image": image})
    assert np.allclose(np.abs(sums), 72.0, rtol=0.02), "144 weights of a half each"


@pytest.mark.parametrize(
    "model", [m for m in Manifest.load().models.values() if m.precision == "int8"], ids=lambda model: model.name
)
def test_shipped_weights_keep_to_seven_bits(model: Model) -> None:
    found = weights(model.file)
    assert found and max(np.abs(weight.astype(int)).max() for weight in found.values()) <= SEVEN_BITS
