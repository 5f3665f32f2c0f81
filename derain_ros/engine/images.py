"""What every engine does with images before and after the network: check, pad, name, crop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from derain_ros.engine import EngineError, Shape
from derain_ros.files import FileError, read_file
from derain_ros.manifest import MOST_MODEL_BYTES, Model
from derain_ros.tasks import TASKS


def check_images(model: Model, images: Mapping[str, np.ndarray]) -> Shape:
    """The shape (N, H, W) of what a model is to be run on; EngineError unless these are the images that it takes: those
    of its task, (N, H, W, C) uint8, all of one shape."""
    names = TASKS[model.task].inputs
    if sorted(images) != sorted(names):
        raise EngineError(f"{model.name}: takes {', '.join(names)}, not {', '.join(images) or 'nothing'}")
    shape = images[names[0]].shape
    for name in names:
        image = images[name]
        if image.ndim != 4 or image.dtype != np.uint8 or image.shape[3] != model.channels or 0 in image.shape:
            raise EngineError(
                f"{model.name}: takes uint8 images (N, H, W, {model.channels}), not {image.dtype} "
                f"{image.shape} as {name}"
            )
        if image.shape != shape:
            raise EngineError(
                f"{model.name}: takes images of one shape, not {names[0]} {shape} and {name} {image.shape}"
            )
    check_size(model, shape[1:3])
    return shape[0], shape[1], shape[2]


def check_size(model: Model, size: tuple[int, ...]) -> None:
    """Raise EngineError where the model takes images of one (height, width) only and it is another."""
    if model.size is not None and tuple(size) != model.size:
        raise EngineError(f"{model.name}: takes images of {model.size[0]}x{model.size[1]}, not {size[0]}x{size[1]}")


def check_interface(model: Model, inputs: list[tuple[str, str, int]], outputs: list[str]) -> None:
    """EngineError unless a loaded graph has the inputs (name, type, channels) and outputs that its task asks for."""
    wanted = [(name, "uint8", model.channels) for name in TASKS[model.task].inputs]
    if sorted(inputs) != sorted(wanted):
        raise EngineError(
            f"{model.file}: inputs are {inputs}, where {wanted} is asked for; export the model "
            "again with `derain export`"
        )
    if missing := set(TASKS[model.task].outputs) - set(outputs):
        raise EngineError(
            f"{model.file}: no output {', '.join(sorted(missing))} among {', '.join(outputs)}; "
            "export the model again with `derain export`"
        )


def blank(model: Model, shape: Shape) -> dict[str, np.ndarray]:
    """Black images for all inputs of a model, each (N, H, W, C) uint8."""
    return {name: np.zeros((*shape, model.channels), np.uint8) for name in TASKS[model.task].inputs}


def padded_shape(model: Model, shape: Shape) -> tuple[int, int, int, int]:
    """(N, H, W, C) of each image that the network gets for frames of `shape`; EngineError where it has another size."""
    check_size(model, shape[1:])
    if model.size is not None:
        return (*shape, model.channels)
    batch, height, width = shape
    return batch, height + -height % model.stride, width + -width % model.stride, model.channels


def pad(model: Model, image: np.ndarray) -> np.ndarray:
    """`image` (N, H, W, C) as the network gets it: its last row and column repeated; itself where it fits."""
    shape = padded_shape(model, image.shape[:3])
    if shape == image.shape:
        return image
    padded = np.empty(shape, image.dtype)
    pad_into(padded, image)
    return padded


def pad_into(target: np.ndarray, image: np.ndarray) -> None:
    """Write `image` into the larger or equal `target`, both (N, H, W, C), its last row and column repeated."""
    height, width = image.shape[1:3]
    target[:, :height, :width] = image
    target[:, :height, width:] = image[:, :, -1:]
    target[:, height:] = target[:, height - 1 : height]


def crop(model: Model, outputs: Mapping[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """The outputs cut back to frames of `shape`; a detector's are as they are."""
    if model.size is not None:
        return dict(outputs)
    return {name: output[:, : shape[1], : shape[2]] for name, output in outputs.items()}


def is_quantized(onnx_bytes: bytes) -> bool:
    """Whether an ONNX file holds an eight-bit model, by the name of an operator that only such have."""
    return b"QuantizeLinear" in onnx_bytes


def read_model(model: Model) -> bytes:
    """The bytes of the model's file; EngineError where it cannot be read."""
    try:
        return read_file(model.file, MOST_MODEL_BYTES)
    except (FileError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EngineError(f"{model.file}: model {model.name} cannot be loaded: {reason}") from error
