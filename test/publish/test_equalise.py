"""Equalisation: the same in full precision, channels alike, and closer to it in eight bits."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from derain_ros.publish.equalise import equalise  # noqa: E402


def run(model: onnx.ModelProto, image: np.ndarray) -> dict[str, np.ndarray]:
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.append(onnx.ValueInfoProto(name="rectified"))
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, {"image": image[None]}), strict=True))


def test_channels_become_alike_and_the_result_stays() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 3, 1, 1)), rng.normal(size=(2, 4, 1, 1))
    first[0] *= 100  # one channel dwarfs the others
    first[3] = 0  # one is dead
    weights = {"first": first, "bias": np.array([50.0, 0.3, 0.2, -1.0]), "second": second}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first", "bias"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["rectified"]),
        helper.make_node("Conv", ["rectified", "second"], ["out"]),
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 8, 8, 3])],
        outputs,
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    before = run(model, image)
    assert equalise(model, [image]) == 1
    after = run(model, image)
    np.testing.assert_allclose(after["out"], before["out"], rtol=1e-3, atol=1e-2)
    spread = [
        f["rectified"][0, :3].max(axis=(1, 2)).max() / f["rectified"][0, :3].max(axis=(1, 2)).min()
        for f in (before, after)
    ]
    assert spread[1] < 0.5 * spread[0]
    # A value that something else takes as well is left alone.
    model.graph.node.append(helper.make_node("Neg", ["rectified"], ["other"]))
    assert equalise(model, [image]) == 0
