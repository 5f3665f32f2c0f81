"""What every engine does with images before and after the network: check, pad, crop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from derain_ros.engine import EngineError, Shape
from derain_ros.files import FileError, read_file
from derain_ros.manifest import MOST_MODEL_BYTES, Model
from derain_ros.tasks import TASKS


def check_images(model: Model, images: Mapping[str, np.ndarray]) -> Shape:
    """Return the shape (N, H, W) of the images for a model.

    Raises EngineError unless they are the inputs of its task, each (N, H, W, C) uint8 with the model's channels, all
    of one shape, and of the model's size if that is fixed.
    """
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
    """Raise EngineError if the model has a fixed (height, width) and `size` is another one."""
    if model.size is not None and tuple(size) != model.size:
        raise EngineError(f"{model.name}: takes images of {model.size[0]}x{model.size[1]}, not {size[0]}x{size[1]}")


def check_interface(model: Model, inputs: list[tuple[str, str, int]], outputs: list[str]) -> None:
    """Raise EngineError unless a loaded graph has the inputs (name, type, channels) and outputs of its task."""
    wanted = [(name, "uint8", model.channels) for name in TASKS[model.task].inputs]
    if sorted(inputs) != sorted(wanted):
        raise EngineError(
            f"{model.file}: inputs are {inputs}, but must be {wanted}; export the model again with `derain export`"
        )
    if missing := set(TASKS[model.task].outputs) - set(outputs):
        raise EngineError(
            f"{model.file}: has no output {', '.join(sorted(missing))}, only {', '.join(outputs)}; "
            "export the model again with `derain export`"
        )


def blank(model: Model, shape: Shape) -> dict[str, np.ndarray]:
    """Make black images for all inputs of a model, each (N, H, W, C) uint8."""
    return {name: np.zeros((*shape, model.channels), np.uint8) for name in TASKS[model.task].inputs}


def padded_shape(model: Model, shape: Shape) -> tuple[int, int, int, int]:
    """Return the padded shape (N, H, W, C) for frames of `shape`; EngineError if the model has another, fixed size."""
    check_size(model, shape[1:])
    if model.size is not None:
        return (*shape, model.channels)
    batch, height, width = shape
    return batch, height + -height % model.stride, width + -width % model.stride, model.channels


def pad(model: Model, image: np.ndarray) -> np.ndarray:
    """Pad `image` (N, H, W, C) by repeating its last row and column; returns it unchanged if its size fits."""
    shape = padded_shape(model, image.shape[:3])
    if shape == image.shape:
        return image
    padded = np.empty(shape, image.dtype)
    pad_into(padded, image)
    return padded


def pad_into(target: np.ndarray, image: np.ndarray) -> None:
    """Write `image` into the equal or larger `target`, both (N, H, W, C), and repeat its last row and column."""
    height, width = image.shape[1:3]
    target[:, :height, :width] = image
    target[:, :height, width:] = image[:, :, -1:]
    target[:, height:] = target[:, height - 1 : height]


def crop(model: Model, outputs: Mapping[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """Crop the outputs to frames of `shape`; outputs of a model with a fixed size stay as they are."""
    if model.size is not None:
        return dict(outputs)
    return {name: output[:, : shape[1], : shape[2]] for name, output in outputs.items()}


def is_quantized(onnx_bytes: bytes) -> bool:
    """Whether an ONNX file holds an int8 model: only these contain the operator name QuantizeLinear."""
    return b"QuantizeLinear" in onnx_bytes


def read_model(model: Model) -> bytes:
    """Return the bytes of the model's file; EngineError if it cannot be read."""
    try:
        return read_file(model.file, MOST_MODEL_BYTES)
    except (FileError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EngineError(f"{model.file}: model {model.name} cannot be loaded: {reason}") from error
