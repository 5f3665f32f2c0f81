"""Restorers of any origin: channels first or last, bytes or floats, open sizes or one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from onnx import TensorProto, helper

from derain_ros.evaluate.onnx_file import OnnxFile
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.runtime.stages.restore import restore_image


def write_cropping(path: Path) -> Path:
    """A file that gives the image without its borders, as convolutions without padding do."""
    ends = [
        helper.make_tensor(name, TensorProto.INT64, [2], values)
        for name, values in (("begin", [1, 1]), ("end", [-1, -1]), ("axes", [2, 3]))
    ]
    given, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, *size])
        for name, size in (("x", ("h", "w")), ("y", ("a", "b")))
    )
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", "begin", "end", "axes"], ["y"])], "crop", [given], [out], ends
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def write(path: Path, shape: list[Any], kind: int = TensorProto.FLOAT, inputs: int = 1) -> Path:
    """A file that halves what it is given; `inputs` of them, of which the first counts."""
    half = helper.make_tensor("half", kind, [], [0.5])
    given = [helper.make_tensor_value_info(f"x{n}", kind, shape) for n in range(inputs)]
    out = [helper.make_tensor_value_info("y", kind, shape)]
    graph = helper.make_graph([helper.make_node("Mul", ["x0", "half"], ["y"])], "half", given, out, [half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("shape", [["n", 3, "h", "w"], ["n", "h", "w", 3], [1, 3, 64, 64], ["n", 1, "h", "w"]])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_images_go_in_and_come_back(tmp_path: Path, shape: list[Any], kind: int) -> None:
    engine = OnnxFile(write(tmp_path / "half.onnx", shape, kind))
    grey = 1 in shape[1:]
    assert engine.model.channels == (1 if grey else 3) and engine.model.name == "half"
    image = np.random.default_rng(0).integers(0, 256, (45, 37) if grey else (45, 37, 3), np.uint8)
    restored, mask = restore_image(engine, image)
    assert restored.shape == image.shape and np.abs(restored - image / 2).max() <= 0.51
    assert mask.shape == (45, 37) and not mask.any()


def test_ours_are_such_files(tmp_path: Path) -> None:
    engine = OnnxFile(tiny_models.write_models(tmp_path) / "restore_mono.onnx")
    restored, mask = restore_image(engine, np.full((21, 35), 50, np.uint8))
    assert (restored == 60).all() and mask.shape == (21, 35)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"none")
    detector = tiny_models.write_models(tmp_path) / "detect.onnx"
    for path, told in (
        (tmp_path / "none.onnx", "cannot be loaded"),
        (write(tmp_path / "two.onnx", ["n", 3, "h", "w"], inputs=2), "takes x0 tensor.float."),
        (write(tmp_path / "five.onnx", ["n", 5, "h", "w"]), "image of 1 or 3 channels"),
        (detector, "gives probabilities, mask, but no image"),
    ):
        with pytest.raises(EvaluationError, match=told):
            OnnxFile(path)
    with pytest.raises(EvaluationError, match=r"gives y of float32 \(1, 3, 62, 62\), not of uint8 or floats"):
        restore_image(OnnxFile(write_cropping(tmp_path / "crop.onnx")), np.zeros((60, 50, 3), np.uint8))
    with pytest.raises(EvaluationError, match="takes images of 64x64, not of 70x60; export it with dynamic height"):
        restore_image(OnnxFile(write(tmp_path / "one.onnx", [1, 3, 64, 64])), np.zeros((60, 70, 3), np.uint8))
