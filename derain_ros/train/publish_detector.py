"""A detector's checkpoint becomes a model of the manifest: exported, measured on what training never saw, entered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.engine import load
from derain_ros.evaluate.detection import DetectionReport, evaluate
from derain_ros.manifest import Manifest
from derain_ros.nets.detector import CLASSES, SIZE
from derain_ros.train.export_detector import export_detector, quantize_detector
from derain_ros.train.pictures import find_pictures
from derain_ros.train.publish import enter
from derain_ros.train.views import draw_view

FLOAT = "_float"
"""What the name of the detector in floating point ends in."""
RANGE_VIEWS = 300
"""Views on which the ranges of eight-bit numbers are measured."""


def publish_detector(checkpoint: Path, name: str, directory: Path, data: Path | None) -> DetectionReport | None:
    """Export a detector as `directory`/`name`_float.onnx and in eight bits as `name`.onnx; enter both with their
    figures, and return those of the latter.

    Without `data` there is nothing to measure ranges or figures on: `name`.onnx is in floating point then.
    """
    if data is None:
        export_detector(checkpoint, directory / f"{name}.onnx")
        enter(directory, _entry(name, name, "float32"))
        return None
    export_detector(checkpoint, directory / f"{name}{FLOAT}.onnx")
    pictures = find_pictures(data, "train")
    views = [draw_view(pictures, np.random.default_rng((19, number))).image for number in range(RANGE_VIEWS)]
    quantize_detector(directory / f"{name}{FLOAT}.onnx", directory / f"{name}.onnx", np.stack(views))
    _measure(name + FLOAT, directory, _entry(name + FLOAT, name, "float32"), data)
    return _measure(name, directory, _entry(name, name, "int8"), data)


def _measure(name: str, directory: Path, entry: dict[str, Any], data: Path) -> DetectionReport:
    enter(directory, entry)
    report = evaluate(load(Manifest.load(directory).get(name)), data)
    enter(directory, {**entry, "figures": {key: round(value, 4) for key, value in report.figures.items()}})
    return report


def _entry(name: str, card: str, precision: str) -> dict[str, Any]:
    return {"name": name, "task": "detect", "file": f"{name}.onnx", "channels": 1, "stride": 2,
            "description": f"Which anomalies, where and how bad, on a grey image of {SIZE[1]}x{SIZE[0]}"
                           + (", 8 bit" if precision == "int8" else ""),
            "precision": precision, "figures": {}, "card": f"{card}.md", "classes": list(CLASSES),
            "size": list(SIZE)}
