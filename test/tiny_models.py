"""Tiny ONNX models with the interface of the shipped ones and a behaviour that a test can predict."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from derain_ros.tasks import TEMPORAL_PLANES

CLASSES = ("clean", "raindrop", "dirt", "streak", "night_rain")
DETECTOR_SIZE = (96, 128)
STRIDE = 8
BRIGHTER_BY = 10
MASKED_ABOVE = 200
WET_ABOVE = 100


SEGMENTS = ("road", "building", "tree", "sky")
"""Classes of the tiny segmenter: what is darker than 64, than 128, than 192, and brighter."""


def write_models(
    directory: Path, with_temporal: bool = False, with_fuser: bool = False, with_segmenter: bool = False
) -> Path:
    """Write restore_mono, restore_rgb, detect and their models.yaml into `directory`, made where needed; returns it.

    The restorers are one network, on the rung `balanced`. They add BRIGHTER_BY (saturating) and mask pixels with a
    channel above MASKED_ABOVE. The detector says raindrop with 0.95 where the mean of the grey image is above
    WET_ABOVE, clean with 0.95 otherwise; its mask is 1 in cells of 8x8 pixels whose mean is above WET_ABOVE, 0
    elsewhere. `with_fuser` adds one that gives the brighter of both images, and the infrared one where the mask is
    above 127. `with_temporal` adds a filter that recalls everything: what is seen first stays. `with_segmenter` adds
    one that tells by the mean of a pixel's channels which of SEGMENTS it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    entries = [
        write_restorer(directory, "restore_mono", network="balanced"),
        write_restorer(directory, "restore_rgb", 3, network="balanced"),
        write_model(
            directory,
            detector(),
            name="detect",
            task="detect",
            channels=1,
            stride=STRIDE,
            classes=list(CLASSES),
            size=list(DETECTOR_SIZE),
        ),
    ]
    if with_temporal:
        entries.append(
            write_model(directory, temporal(), name="temporal", task="temporal", channels=TEMPORAL_PLANES, stride=2)
        )
    if with_fuser:
        entries.append(write_model(directory, fuser(), name="fuse", task="fuse", channels=1, stride=STRIDE))
    if with_segmenter:
        entries.append(
            write_model(
                directory,
                segmenter(),
                name="segment",
                task="segment",
                channels=3,
                stride=STRIDE,
                classes=list(SEGMENTS),
            )
        )
    write_manifest(directory, entries)
    return directory


def write_restorer(directory: Path, name: str, channels: int = 1, **keys: object) -> dict[str, object]:
    """Write a restorer and return its manifest entry with these further keys, such as `plan` or `scale`."""
    return write_model(
        directory, restorer(channels), name=name, task="restore", channels=channels, stride=STRIDE, **keys
    )


def write_manifest(directory: Path, entries: list[dict[str, object]]) -> Path:
    """Write `directory`/models.yaml with these entries; returns its path."""
    path = directory / "models.yaml"
    path.write_text(yaml.safe_dump({"models": entries}, sort_keys=False), encoding="utf-8")
    return path


def write_model(directory: Path, model: onnx.ModelProto, *, name: str, **keys: object) -> dict[str, object]:
    """Write `directory`/<name>.onnx and return its manifest entry with these further keys."""
    data = model.SerializeToString()
    (directory / f"{name}.onnx").write_bytes(data)
    return {
        "name": name,
        "file": f"{name}.onnx",
        "sha256": hashlib.sha256(data).hexdigest(),
        "description": "For tests only.",
        "card": f"{name}.md",
        **keys,
    }


def restorer(channels: int) -> onnx.ModelProto:
    """A restorer that refuses, as a real one does, heights and widths that are not multiples of STRIDE."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("SpaceToDepth", ["planes"], ["deep"], blocksize=STRIDE),
        helper.make_node("DepthToSpace", ["deep"], ["flat"], blocksize=STRIDE),
        helper.make_node("Transpose", ["flat"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Add", ["back", "brighter"], ["added"]),
        helper.make_node("Clip", ["added", "zero", "white"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["restored"], to=TensorProto.UINT8),
        helper.make_node("ReduceMax", ["float"], ["brightest"], axes=[3], keepdims=0),
        helper.make_node("Greater", ["brightest", "threshold"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["unit_mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["unit_mask", "white"], ["float_mask"]),
        helper.make_node("Cast", ["float_mask"], ["mask"], to=TensorProto.UINT8),
    ]
    constants = {"brighter": float(BRIGHTER_BY), "zero": 0.0, "white": 255.0, "threshold": float(MASKED_ABOVE)}
    size = ["batch", "height", "width"]
    return _model(
        nodes,
        constants,
        [("image", TensorProto.UINT8, [*size, channels])],
        [("restored", TensorProto.UINT8, [*size, channels]), ("mask", TensorProto.UINT8, size)],
    )


def fuser() -> onnx.ModelProto:
    """A fuser that takes the brighter image, and the infrared one where the visible one is hidden."""
    nodes = [
        *(
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT)
            for name in ("visible", "infrared", "mask")
        ),
        helper.make_node("Transpose", ["visible_float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("SpaceToDepth", ["planes"], ["deep"], blocksize=STRIDE),
        helper.make_node("DepthToSpace", ["deep"], ["flat"], blocksize=STRIDE),
        helper.make_node("Transpose", ["flat"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Max", ["back", "infrared_float"], ["brighter"]),
        helper.make_node("Greater", ["mask_float", "half"], ["hidden"]),
        helper.make_node("Where", ["hidden", "infrared_float", "brighter"], ["joined"]),
        helper.make_node("Cast", ["joined"], ["fused"], to=TensorProto.UINT8),
    ]
    size = ["batch", "height", "width", 1]
    return _model(
        nodes,
        {"half": 127.0},
        [(name, TensorProto.UINT8, size) for name in ("visible", "infrared", "mask")],
        [("fused", TensorProto.UINT8, size)],
    )


def segmenter() -> onnx.ModelProto:
    """A segmenter that tells by brightness alone; as a real one it refuses what is no multiple of STRIDE."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("SpaceToDepth", ["planes"], ["deep"], blocksize=STRIDE),
        helper.make_node("DepthToSpace", ["deep"], ["flat"], blocksize=STRIDE),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Div", ["mean", "step"], ["steps"]),
        helper.make_node("Floor", ["steps"], ["class"]),
        helper.make_node("Cast", ["class"], ["labels"], to=TensorProto.UINT8),
    ]
    size = ["batch", "height", "width"]
    return _model(
        nodes,
        {"step": 64.0},
        [("image", TensorProto.UINT8, [*size, 3])],
        [("labels", TensorProto.UINT8, size)],
    )


def temporal() -> onnx.ModelProto:
    """A temporal filter that keeps nothing, recalls all, and passes mask and memory on."""
    nodes = [
        helper.make_node("Split", ["image"], ["first", "others", "mask_plane", "seen", "memory"], axis=3),
        helper.make_node("Squeeze", ["mask_plane", "channel_axis"], ["mask"]),
        helper.make_node("Cast", ["first"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "white"], ["all"]),
        helper.make_node("Concat", ["nothing", "all", "nothing"], ["float_weights"], axis=3),
        helper.make_node("Cast", ["float_weights"], ["weights"], to=TensorProto.UINT8),
    ]
    nodes[0].input.append("parts")
    constants: dict[str, float | np.ndarray] = {
        "parts": np.array([1, 2, 1, 1, 4], np.int64),
        "channel_axis": np.array([3], np.int64),
        "zero": 0.0,
        "white": 255.0,
    }
    size = ["batch", "height", "width"]
    return _model(
        nodes,
        constants,
        [("image", TensorProto.UINT8, [*size, TEMPORAL_PLANES])],
        [
            ("weights", TensorProto.UINT8, [*size, 3]),
            ("mask", TensorProto.UINT8, size),
            ("memory", TensorProto.UINT8, [*size, 4]),
        ],
    )


def detector() -> onnx.ModelProto:
    """A detector that takes a bright image for a wet lens."""
    height, width = DETECTOR_SIZE
    dry = np.array([[0.95, 0.05, 0.0, 0.0, 0.0]], np.float32)
    wet_minus_dry = np.array([[-0.9, 0.9, 0.0, 0.0, 0.0]], np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["planes"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Greater", ["mean", "threshold"], ["wet"]),
        helper.make_node("Cast", ["wet"], ["wet_score"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["wet_score", "wet_minus_dry"], ["change"]),
        helper.make_node("Add", ["change", "dry"], ["probabilities"]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Greater", ["cells", "threshold"], ["bright_cells"]),
        helper.make_node("Cast", ["bright_cells"], ["cell_scores"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["cell_scores", "channel_axis"], ["mask"]),
    ]
    constants = {
        "threshold": float(WET_ABOVE),
        "dry": dry,
        "wet_minus_dry": wet_minus_dry,
        "channel_axis": np.array([1], np.int64),
    }
    return _model(
        nodes,
        constants,
        [("image", TensorProto.UINT8, ["batch", height, width, 1])],
        [
            ("probabilities", TensorProto.FLOAT, ["batch", len(CLASSES)]),
            ("mask", TensorProto.FLOAT, ["batch", height // 8, width // 8]),
        ],
    )


def _model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, float | np.ndarray],
    inputs: list[tuple[str, int, list[str | int]]],
    outputs: list[tuple[str, int, list[str | int]]],
) -> onnx.ModelProto:
    arrays = {
        name: value if isinstance(value, np.ndarray) else np.array(value, np.float32)
        for name, value in constants.items()
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    # Opset and IR of 2021, which every supported ONNX Runtime reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
