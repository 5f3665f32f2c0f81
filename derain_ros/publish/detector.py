"""From a detector's checkpoint to a model of the manifest: export, figures on held-out data, entry."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from derain_ros.data.pictures import find_pictures
from derain_ros.data.views import draw_view
from derain_ros.engine import load
from derain_ros.evaluate.detection import DetectionReport, evaluate
from derain_ros.manifest import Manifest
from derain_ros.nets.detector import CELLS, CLASSES, SIZE
from derain_ros.publish.card import empty_block, write_block
from derain_ros.publish.export_detector import export_detector, quantize_detector
from derain_ros.publish.restorer import enter
from derain_ros.train.checkpoint import read
from derain_ros.train.detector import DetectRecipe

FLOAT = "_float"
"""Suffix of the name of the detector in floating point."""
RANGE_VIEWS = 300
"""Views on which the ranges for eight bits are measured."""
CARD = """# {names}

Says whether a camera's view is clean, behind raindrops or dirt, or in falling rain by day or night, where, and how bad.

| | |
| --- | --- |
| input | `image` uint8 [N, {height}, {width}, 1], grey; frames of any size are resized by area |
| output | `probabilities` float32 [N, {count}]: {classes}, each for itself; `mask` float32 [N, {rows}, {columns}]: \
probability that a cell is affected; `severity` float32 [N]: share of the local structure that is lost |
| network | `derain_ros/nets/detector.py`; {precision} |

## Training

{training}

## Figures

{figures}

## Limits

- Single frames are not enough for an alarm: the hold times of the flag are there for that.
- What is drawn on pictures is drops, dirt and rain of our own; real ones may look otherwise.
"""


def publish_detector(checkpoint: Path, name: str, directory: Path, data: Path | None) -> DetectionReport | None:
    """Export a detector as `directory`/`name`_float.onnx and in eight bits as `name`.onnx, and write their card.

    Both are entered in the manifest with their figures; returns those of the latter. Without `data` there is nothing to
    measure ranges or figures on: `name`.onnx is then in floating point, and None is returned.
    """
    if data is None:
        export_detector(checkpoint, directory / f"{name}.onnx")
        _write_card(directory / f"{name}.md", [name], "in floating point", checkpoint)
        enter(directory, _entry(name, name, "float32"))
        return None
    export_detector(checkpoint, directory / f"{name}{FLOAT}.onnx")
    pictures = find_pictures(data, "train")
    views = [draw_view(pictures, np.random.default_rng((19, number))).image for number in range(RANGE_VIEWS)]
    quantize_detector(directory / f"{name}{FLOAT}.onnx", directory / f"{name}.onnx", np.stack(views))
    _write_card(
        directory / f"{name}.md",
        [name, name + FLOAT],
        f"`{name}` in eight bits but for the first and the last layers",
        checkpoint,
    )
    _measure(name + FLOAT, directory, _entry(name + FLOAT, name, "float32"), data)
    return _measure(name, directory, _entry(name, name, "int8"), data)


def _measure(name: str, directory: Path, entry: dict[str, Any], data: Path) -> DetectionReport:
    enter(directory, entry)
    report = evaluate(load(Manifest.load(directory).get(name)), data)
    enter(directory, entry, report.figures)
    write_block(
        directory / entry["card"],
        f"figures {name}",
        f"`derain evaluate detection {name} --data DATA`. {report.markdown()}",
    )
    return report


def _write_card(path: Path, names: list[str], precision: str, checkpoint: Path) -> None:
    """Write the card of these detectors to `path`: how they were trained, and empty blocks for their figures."""
    state, keys = read(checkpoint), ["training", *(f"figures {name}" for name in names)]
    path.write_text(
        CARD.format(
            names=", ".join(names),
            precision=precision,
            height=SIZE[0],
            width=SIZE[1],
            rows=CELLS[0],
            columns=CELLS[1],
            count=len(CLASSES),
            classes=", ".join(CLASSES),
            training=empty_block(keys[0]),
            figures="\n\n".join(map(empty_block, keys[1:])),
        ),
        encoding="utf-8",
    )
    for key in keys[1:]:
        write_block(path, key, "Not measured.")
    defaults = {f.name: f.default for f in fields(DetectRecipe)}
    changed = {
        key: value
        for key, value in state["recipe"].items()
        if key in defaults and value != defaults[key] and key != "start_from"
    }
    begun = f" It began with the weights of {state['origin']}." if state.get("origin") else ""
    data = f" DATA held {', '.join(state['data'])}." if "data" in state else ""
    write_block(
        path,
        keys[0],
        "`derain train detect --data DATA --config` a file of what differs from the defaults:"
        f"\n\n    {yaml.safe_dump(changed, default_flow_style=True, width=110).strip()}\n\n"
        f"{state['step']} steps.{begun}{data}",
    )


def _entry(name: str, card: str, precision: str) -> dict[str, Any]:
    return {
        "name": name,
        "task": "detect",
        "network": card,
        "file": f"{name}.onnx",
        "channels": 1,
        "stride": 2,
        "description": f"Which anomalies, where and how bad, on a grey image of {SIZE[1]}x{SIZE[0]}"
        + (", 8 bit" if precision == "int8" else ""),
        "precision": precision,
        "card": f"{card}.md",
        "classes": list(CLASSES),
        "size": list(SIZE),
    }
