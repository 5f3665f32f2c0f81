"""Eight-bit restorers: static quantisation of exported models, calibrated on wet images of the training set."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.shape_inference import quant_pre_process

from derain_ros.data.layouts import TrainingFolders
from derain_ros.data.samples import anomaly_of, read_rgb
from derain_ros.evaluate.restoration import luminance
from derain_ros.manifest import Manifest, Model
from derain_ros.publish.eight_bits import quantize
from derain_ros.publish.equalise import equalise
from derain_ros.publish.export import ExportError
from derain_ros.publish.restorer import enter, publish_figures
from derain_ros.publish.temporal import calibration_planes, publish_temporal_figures
from derain_ros.runtime.stages.scale import reduce
from derain_ros.tasks import TASKS
from derain_ros.train.recipe import RestoreRecipe
from derain_ros.train.sources import render_of

QUANTIZED_OPS = ("Conv", "Add", "Concat", "AveragePool", "Resize", "Relu")
SUFFIX = "_int8"
PERCENTILE = 99.998
"""Percentage of the activations that the range of eight bits holds: rarer values would make every step of it coarse. On
training images, `balanced` then loses 0.05 dB on real drops instead of 0.2 with the whole range."""


def calibration_images(data: Path, channels: int, anomaly: str = "drops") -> list[np.ndarray]:
    """Return wet and dry images, (256, 256, channels) uint8, to measure ranges on; none of them is held out.

    `anomaly`, one of ANOMALIES, is what makes them wet.
    """
    folders, rng = TrainingFolders.find([data], anomaly), np.random.default_rng(41)
    render = render_of(RestoreRecipe(anomaly=anomaly))
    real = [_square(path.read().wet) for path in folders.train[::4]]
    synthetic = [render(folders.photographs, 256, rng).wet for _ in range(30)]
    dry = [cv2.resize(read_rgb(p), (256, 256)) for p in folders.photographs[:: -(-len(folders.photographs) // 12)]]
    return [image if channels == 3 else luminance(image)[..., None] for image in (*real, *synthetic, *dry)]


def _square(image: np.ndarray) -> np.ndarray:
    """Return the upper left 256x256 pixels of an image, enlarged if it is smaller: calibration needs one size."""
    scale = max(1.0, 256 / min(image.shape[:2]))
    if scale > 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return image[:256, :256]


def quantize_onnx(source: Path, target: Path, images: list[np.ndarray]) -> None:
    """Write the restorer `source` in eight bits to `target`, see `eight_bits`.

    Additions to the image itself stay float, and so does the printed network from its generated image on: eight bits
    there would be noise on every clean pixel. Channels are equalised first on `images`: without that, clean photographs
    lose up to 2 dB. ExportError if the model is not one of `derain export`, or hardly trained.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        kept = _additions_to_the_image(model) or _from_the_generated_image_on(model)
        if not kept:
            raise ExportError(f"{source}: is not a model that can be quantised; name one that `derain export` wrote")
        equalise(model, images)
        onnx.save(model, prepared)
        _quantize(prepared, target, images, QUANTIZED_OPS, kept)


def quantize_temporal(source: Path, target: Path, planes: list[np.ndarray]) -> None:
    """Write the temporal filter `source` in eight bits to `target`; ranges are those of `planes`, (h, w, planes) uint8.

    Only the convolutions are in eight bits. ExportError if the model is hardly trained.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        _quantize(prepared, target, planes, ("Conv", "Relu"), [])


def _quantize(
    prepared: Path, target: Path, images: list[np.ndarray], operators: Sequence[str], kept: list[str]
) -> None:
    try:
        quantize(
            prepared,
            target,
            ({"image": image[None]} for image in images),
            operators,
            kept,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
    except ValueError as error:
        raise ExportError(
            f"{target.stem}: its activations hardly vary, so they have no range: {error}; train it longer"
        ) from error


def publish_quantized(name: str, directory: Path, data: Path) -> dict[str, float]:
    """Quantise the restorer or temporal filter `name` of `directory` and enter it as `name`_int8; returns its figures.

    ExportError for models of other tasks.
    """
    model = Manifest.load(directory).get(name)
    if model.task not in ("restore", "temporal"):
        raise ExportError(
            f"{name}: a {TASKS[model.task].called} is quantised by `derain export` with --data; export its checkpoint "
            "again"
        )
    path = directory / f"{name}{SUFFIX}.onnx"
    if model.task == "temporal":
        quantize_temporal(model.file, path, calibration_planes(model, directory, data))
        entry = {key: value for key, value in _entry(model, path).items() if key != "plan"}
        enter(directory, entry)
        return publish_temporal_figures(path.stem, directory, entry, data)
    images = calibration_images(data, model.channels, anomaly_of(model.serves))
    quantize_onnx(model.file, path, [reduce(image[None], model.scale)[0] for image in images])
    entry = _entry(model, path)
    enter(directory, entry)
    return publish_figures(entry["name"], directory, entry, data)


def _entry(model: Model, path: Path) -> dict[str, Any]:
    entry = {
        "name": path.stem,
        "task": model.task,
        "network": model.network,
        "file": path.name,
        "channels": model.channels,
        "stride": model.stride,
        "description": f"{model.description}, 8 bit",
        "plan": model.plan,
        "precision": "int8",
        "card": model.card,
    }
    entry |= {"scale": model.scale} if model.task == "restore" else {}
    entry |= {"purpose": model.purpose} if model.purpose else {}
    entry |= {"not_for": list(model.not_for)} if model.not_for else {}
    return entry | ({"serves": list(model.serves)} if model.serves else {})


def _additions_to_the_image(model: onnx.ModelProto) -> list[str]:
    """Return the names of the additions to the image, also after reshaping it or adding a residual to it."""
    maker = {output: node for node in model.graph.node for output in node.output}

    def is_image(value: str) -> bool:
        node = maker.get(value)
        if node is None:
            return value == "image"
        if node.op_type == "Add":
            return any(is_image(i) for i in node.input)
        keeps = ("Reshape", "Transpose", "Cast", "Mul", "DepthToSpace", "Clip")
        return node.op_type in keeps and is_image(node.input[0])

    return [node.name for node in model.graph.node if node.op_type == "Add" and any(is_image(i) for i in node.input)]


def _from_the_generated_image_on(model: onnx.ModelProto) -> list[str]:
    """Return the names of the printed network's tanh, the convolution before it, and all nodes after it."""
    nodes = list(model.graph.node)
    tangent = next((n for n, node in enumerate(nodes) if node.op_type == "Tanh"), None)
    if tangent is None:
        return []
    return [node.name for n, node in enumerate(nodes) if n >= tangent or node.output[0] == nodes[tangent].input[0]]
