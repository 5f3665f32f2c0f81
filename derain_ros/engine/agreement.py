"""Compares an engine's outputs with the reference: ONNX Runtime on the processor with the model in fp32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from derain_ros.engine import Shape
from derain_ros.manifest import Model
from derain_ros.tasks import TASKS

LIMIT_DB = {"int8": -6.0}
FLOAT_LIMIT_DB = -18.0
"""Largest accepted power of an engine's error in dB, relative to the network's change of the image.

On the shipped models bf16 reaches -30 dB and int8 -11 to -22 dB. An engine that computes something different is above
-3.
"""
LEVELS = {"int8": 3.0}
FLOAT_LEVELS = 1.0
"""Root mean square error in grey levels that is always accepted: on a dry frame the network changes very little."""
LIMIT = 0.05
"""Largest accepted difference of probabilities and other outputs, as a share of their range."""
MASK_LIMIT = {"int8": 0.2}
FLOAT_MASK_LIMIT = 0.05
SHARES = {"int8": 0.3}
FLOAT_SHARE = 0.05
"""Share of the pixels that may have another class: `pictures` show nothing that a segmenter knows."""


def disagreement(
    model: Model,
    precision: str,
    images: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
) -> str:
    """Describe where the outputs for `images` differ too much from the reference's; empty if they agree."""
    for name, expected in reference.items():
        if name not in outputs or outputs[name].shape != expected.shape or outputs[name].dtype != expected.dtype:
            return f"{name} is missing or differs in shape or type from the reference"
    task = TASKS[model.task]
    whole = 255.0 if task.dtype == "uint8" else 1.0
    wrong = []
    for name, output in task.outputs.items():
        if output.compared == "share":
            share, limit = float(np.mean(outputs[name] != reference[name])), SHARES.get(precision, FLOAT_SHARE)
            wrong += [f"{name}: {share:.0%} of the values differ"] if share > limit else []
            continue
        gaps = np.abs(outputs[name].astype(np.float32) - reference[name]) / whole
        if output.compared == "change":
            error, db = error_of(images[task.inputs[0]], outputs[name], reference[name])
            if error > LEVELS.get(precision, FLOAT_LEVELS) and db > LIMIT_DB.get(precision, FLOAT_LIMIT_DB):
                wrong.append(f"the error is {error:.1f} grey levels, {db:.0f} dB of what the network changes")
        elif output.compared:
            gap = float(gaps.max() if output.compared == "largest" else gaps.mean())
            limit = MASK_LIMIT.get(precision, FLOAT_MASK_LIMIT) if name == "mask" else LIMIT
            if not gap <= limit:
                wrong.append(f"{name}: differs by {gap:.0%}")
    return " and ".join(wrong)


def error_of(image: np.ndarray, restored: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return the root mean square error in grey levels, and its power in dB relative to the network's change."""
    error = float(np.mean((restored.astype(np.float32) - expected) ** 2))
    change = float(np.mean((expected.astype(np.float32) - image) ** 2))
    return error**0.5, 10 * float(np.log10(max(error, 1e-9) / max(change, 1e-9)))


def pictures(model: Model, shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Make test images (N, H, W, C) uint8 for all inputs of a model: smooth structure with bright spots and noise."""
    random = np.random.default_rng(seed)
    return {name: _picture((*shape, model.channels), random) for name in TASKS[model.task].inputs}


def _picture(shape: tuple[int, int, int, int], random: np.random.Generator) -> np.ndarray:
    _, height, width, channels = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    images = np.empty(shape, np.float32)
    for image in images:
        for channel in range(channels):
            fx, fy, phase = random.uniform(0.02, 0.2), random.uniform(0.02, 0.2), random.uniform(0, 6)
            image[..., channel] = 110 + 40 * np.sin(fx * x + phase) * np.cos(fy * y)
        for _ in range(12):
            place_y, place_x = random.uniform(0, height), random.uniform(0, width)
            radius = min(height, width) * random.uniform(0.02, 0.1)
            image += 90 * np.exp(-((y - place_y) ** 2 + (x - place_x) ** 2) / radius**2)[..., None]
    return np.clip(images + random.normal(0, 3, images.shape), 0, 255).astype(np.uint8)
