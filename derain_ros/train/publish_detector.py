"""A detector's checkpoint becomes a model of the manifest: exported, measured on what training never saw, entered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from derain_ros.engine import load
from derain_ros.evaluate.detection import DetectionReport, evaluate
from derain_ros.manifest import Manifest
from derain_ros.nets.detector import CELL, CLASSES, SIZE
from derain_ros.train.export_detector import export_detector
from derain_ros.train.publish import enter


def publish_detector(checkpoint: Path, name: str, directory: Path, data: Path | None) -> DetectionReport | None:
    """Export a detector as `directory`/`name`.onnx and enter it with its figures; none are measured without `data`."""
    path = directory / f"{name}.onnx"
    export_detector(checkpoint, path)
    entry: dict[str, Any] = {
        "name": name, "task": "detect", "file": path.name, "channels": 1, "stride": CELL,
        "description": f"Which anomaly, and where, on a grey image of {SIZE[1]}x{SIZE[0]}", "figures": {},
        "card": f"{name}.md", "classes": list(CLASSES), "size": list(SIZE)}
    enter(directory, entry)
    if data is None:
        return None
    report = evaluate(load(Manifest.load(directory).get(name)), data)
    enter(directory, {**entry, "figures": {key: round(value, 4) for key, value in report.figures.items()}})
    return report
