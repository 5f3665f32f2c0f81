"""Restorers in ONNX files of any origin, for comparison with ours; segmenters in files as the manifest has them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime

from derain_ros.engine.images import pad_into
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.manifest import Model

STRIDE = 32
"""Images are padded to multiples of this number of pixels if the file takes any height and width."""
CLASSES = "classes"
"""Key of the classes in the metadata of an exported segmenter."""
TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
"""Types that input images may have."""


class OnnxFile:
    """The restorer in an ONNX file, run by ONNX Runtime on the processor; see `derain_ros.engine.Engine`.

    The file takes one image of one or three channels, channels first or last, uint8 in 0..255 or floats in 0..1. It
    gives an image of the same layout: the output `restored`, or else the first with that number of channels. The mask
    is the output `mask`, uint8 in 0..255 or floats in 0..1; without this output it is 0 everywhere. EvaluationError for
    any other file.
    """

    name, device, precision, streams = "onnxruntime", "cpu", "as in the file", 1

    def __init__(self, path: Path) -> None:
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime raises many unrelated types here, whose only common base is Exception.
            raise EvaluationError(f"{path}: cannot be loaded as an ONNX model: {error}") from error
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        axis = next((axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in (1, 3)), None)
        if axis is None or inputs[0].type not in TYPES:
            told = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise EvaluationError(
                f"{path}: takes {told}; it must take one image of 1 or 3 channels, (N, C, "
                "H, W) or (N, H, W, C), uint8 or float"
            )
        self._input, self._type, self._first = inputs[0].name, TYPES[inputs[0].type], axis == 1
        self._size = tuple(shape[2:] if self._first else shape[1:3])
        outputs = {output.name: output for output in self._session.get_outputs()}
        alike = [
            output.name
            for output in outputs.values()
            if len(output.shape) == 4 and (output.shape[axis] == shape[axis] or output.name == "restored")
        ]
        if not alike:
            raise EvaluationError(f"{path}: gives {', '.join(outputs)}, but no image of {shape[axis]} channels")
        self._restored = "restored" if "restored" in outputs else alike[0]
        self._mask = "mask" if "mask" in outputs else None
        self.model = Model(
            path.stem, "restore", path.absolute(), hashlib.sha256(path.read_bytes()).hexdigest(), shape[axis], STRIDE
        )

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """Do nothing: there is nothing to prepare."""

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`; EvaluationError if the file fails, or takes only smaller images."""
        image = images["image"]
        batch, height, width, channels = image.shape
        high, wide = (
            size if isinstance(size, int) else -(-given // STRIDE) * STRIDE
            for size, given in zip(self._size, (height, width), strict=True)
        )
        if high < height or wide < width:
            raise EvaluationError(
                f"{self.model.file}: takes images of {wide}x{high}, not of {width}x{height}; export "
                "it with dynamic height and width"
            )
        padded = np.empty((batch, high, wide, channels), np.uint8)
        pad_into(padded, image)
        given = padded if self._type == np.uint8 else (padded / 255).astype(self._type)
        given = np.ascontiguousarray(given.transpose(0, 3, 1, 2)) if self._first else given
        wanted = [name for name in (self._restored, self._mask) if name]
        try:
            found = dict(zip(wanted, self._session.run(wanted, {self._input: given}), strict=True))
        except Exception as error:
            raise EvaluationError(f"{self.model.file}: cannot be run on {given.shape}: {error}") from error
        restored = self._in_bytes(self._restored, found[self._restored], given.shape)
        restored = restored.transpose(0, 2, 3, 1) if self._first else restored
        mask = np.zeros(padded.shape[:3], np.uint8)
        if self._mask:
            mask = self._in_bytes(self._mask, found[self._mask].squeeze(), mask.squeeze().shape).reshape(mask.shape)
        return {"restored": restored[:, :height, :width], "mask": mask[:, :height, :width]}

    def _in_bytes(self, name: str, output: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """An output of this shape, floats in 0..1 or uint8, as uint8; EvaluationError for any other."""
        if output.shape != shape or output.dtype != np.uint8 and not np.issubdtype(output.dtype, np.floating):
            raise EvaluationError(
                f"{self.model.file}: gives {name} of {output.dtype} {output.shape}, not of uint8 or floats {shape}"
            )
        return output if output.dtype == np.uint8 else np.rint(np.clip(output, 0, 1) * 255).astype(np.uint8)


def segmenter_of(path: Path) -> Model:
    """The segmenter in an ONNX file, for `derain_ros.engine.load`.

    Its classes are in the file's metadata under CLASSES, separated by commas, as `derain export` writes them.
    EvaluationError if the file cannot be loaded, or has no classes.
    """
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # many unrelated types
        raise EvaluationError(f"{path}: cannot be loaded as an ONNX model: {error}") from error
    classes = tuple(filter(None, session.get_modelmeta().custom_metadata_map.get(CLASSES, "").split(",")))
    if not classes:
        raise EvaluationError(
            f"{path}: does not say its classes; write them into it with onnx.helper.set_model_props(model, "
            f"{{{CLASSES!r}: 'road,sky'}}), or enter the file in a models.yaml"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Model(path.stem, "segment", path.absolute(), digest, 3, STRIDE, classes=classes)
