from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_models
from onnx import TensorProto, helper, numpy_helper

from derain_ros.engine import EngineError
from derain_ros.engine.agreement import pictures
from derain_ros.engine.gpu_graph import for_gpu
from derain_ros.manifest import Manifest


def run(model: bytes, **images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, images), strict=True))


@pytest.mark.parametrize("name", ["restore_mono", "restore_rgb", "detect", "fuse"])
def test_it_computes_the_same(manifest: Manifest, name: str) -> None:
    model = manifest.get(name)
    shape = (2, *(model.size or (16, 24)), model.channels)
    images = pictures(model, shape[:3])
    before, after = run(model.file.read_bytes(), **images), run(for_gpu(model.file.read_bytes(), shape), **images)
    assert before.keys() == after.keys()
    for output, values in before.items():
        assert values.dtype == after[output].dtype and np.array_equal(values, after[output])


def test_shapes_are_fixed_and_uint8_is_at_the_ends_only() -> None:
    # As PyTorch exports: the image is turned while it is uint8, and so are the outputs; a mask is multiplied in uint8.
    nodes = [
        helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["float", "half"], ["more"]),
        helper.make_node("Cast", ["more"], ["whole"], to=TensorProto.UINT8),
        helper.make_node("Transpose", ["whole"], ["restored"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMax", ["float"], ["brightest"], axes=[1], keepdims=0),
        helper.make_node("Greater", ["brightest", "limit"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["unit"], to=TensorProto.UINT8),
        helper.make_node("Mul", ["unit", "white"], ["mask"]),
    ]
    constants = {"half": np.float32(0.5), "limit": np.float32(100), "white": np.uint8(255)}
    size = ["batch", "height", "width"]
    model = tiny_models._model(
        nodes,
        {k: np.array(v) for k, v in constants.items()},
        [("image", TensorProto.UINT8, [*size, 3])],
        [("restored", TensorProto.UINT8, [*size, 3]), ("mask", TensorProto.UINT8, size)],
    )
    data = model.SerializeToString()
    image = np.random.default_rng(1).integers(0, 256, (2, 8, 16, 3), np.uint8)
    adapted = for_gpu(data, image.shape)
    before, after = run(data, image=image), run(adapted, image=image)
    assert all(np.array_equal(before[name], after[name]) for name in before) and after["mask"].max() == 255
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(adapted), strict_mode=True).graph
    inside = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
    assert TensorProto.UINT8 not in inside.values() and len(inside) >= 8
    assert TensorProto.UINT8 not in {tensor.data_type for tensor in graph.initializer}
    casts = {node.input[0] for node in graph.node if node.op_type == "Cast" and node.output[0] in ("restored", "mask")}
    assert {inside[name] for name in casts} == {TensorProto.FLOAT}
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [2, 8, 16, 3]


def quantized() -> bytes:
    """max(0, 2 * image - 100 in units of 1/10), where quantising from 0 up stands for the ReLU."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("QuantizeLinear", ["planes", "scale_in", "zero_in"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale_in", "zero_in"], ["dq"]),
        helper.make_node("DequantizeLinear", ["weight", "scale_w", "zero_w"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "scale_b", "zero_b"], ["b"]),
        helper.make_node("Conv", ["dq", "w", "b"], ["conv"]),
        helper.make_node("QuantizeLinear", ["conv", "scale_out", "zero_out"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "scale_out", "zero_out"], ["dq2"]),
        helper.make_node("Transpose", ["dq2"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Clip", ["back", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["restored"], to=TensorProto.UINT8),
    ]
    constants = {
        "scale_in": np.float32(1),
        "zero_in": np.uint8(0),
        "weight": np.array([[[[100]]]], np.int8),
        "scale_w": np.array([0.02], np.float32),
        "zero_w": np.array([0], np.int8),
        "bias": np.array([-5000], np.int32),
        "scale_b": np.float32(0.02),
        "zero_b": np.int32(0),
        "scale_out": np.float32(1.6),
        "zero_out": np.uint8(0),
        "low": np.float32(0),
        "high": np.float32(255),
    }
    size = ["batch", "height", "width", 1]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, size)],
        [helper.make_tensor_value_info("restored", TensorProto.UINT8, size)],
        [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_eight_bits_become_symmetric_and_the_result_stays() -> None:
    image = np.arange(0, 256, dtype=np.uint8).reshape(1, 16, 16, 1)
    adapted = for_gpu(quantized(), image.shape)
    truth = np.clip(2 * image.astype(int) - 100, 0, 255)
    assert np.abs(run(quantized(), image=image)["restored"] - truth).max() <= 3
    # One bit less: steps are twice as wide.
    assert np.abs(run(adapted, image=image)["restored"].astype(int) - truth).max() <= 6
    initializers = onnx.load_from_string(adapted).graph.initializer
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in initializers}
    zeros = [constants[name] for name in ("zero_in", "zero_out", "zero_w")]
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    assert constants["b"].dtype == np.float32 and constants["b"] == -100
    assert np.isclose(constants["scale_out"], 1.6 * 255 / 127)
    # Other runtimes keep the finer ranges.
    assert np.array_equal(
        run(for_gpu(quantized(), image.shape, tensorrt=False), image=image)["restored"],
        run(quantized(), image=image)["restored"],
    )


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot be read as ONNX"):
        for_gpu(b"nonsense", (1, 8, 8, 1))
