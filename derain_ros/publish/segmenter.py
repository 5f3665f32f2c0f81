"""From a segmenter's checkpoint to two models of the manifest: export, quantisation, figures on held-out scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.progress import track

from derain_ros.data.labelled import labelled_scenes
from derain_ros.engine import load
from derain_ros.evaluate.segmentation import Overlap, Segment, as_grey, evaluate, overlap, segmented_by
from derain_ros.manifest import Manifest
from derain_ros.nets.macs import macs, parameters
from derain_ros.nets.segmentation import STRIDE, Segmenter
from derain_ros.publish.card import empty_block, write_block
from derain_ros.publish.export_segmenter import export_segmenter, quantize_segmenter
from derain_ros.publish.restorer import enter
from derain_ros.train.checkpoint import read
from derain_ros.train.segmentation import SegmentRecipe, load_segmenter, must_know

FLOAT = "_float"
"""Suffix of the name of the segmenter in floating point."""
CALIBRATION = 60
"""Largest number of scenes on which the ranges for eight bits are measured."""
CARD = """# {names}

Tells what each pixel of a street scene shows. It is the yardstick of what rain takes from segmentation and of what
restoring gives back, and the network of `examples/segmentation_node.py`. It has learnt dry scenes only.

{interface}

## Training

{training}

## Figures

{figures}

## Limits

- It was trained on a few hundred images of one city's streets by day: take a segmenter of your own for your robot.
- Rare and thin classes (poles, signs, cyclists) are found badly.
"""


def publish_segmenter(checkpoint: Path, name: str, directory: Path, data: Path | None) -> dict[str, float]:
    """Export a segmenter as `directory`/`name`_float.onnx and in eight bits as `name`.onnx, and write their card.

    Both are entered in the manifest with their figures; returns those of the latter. Without `data` there is nothing to
    measure ranges or figures on: `name`.onnx is then in floating point, without figures.
    """
    net, classes = load_segmenter(checkpoint)
    if data is not None:
        must_know(classes, labelled_scenes(data, "test")[0].classes, str(checkpoint))
    state = read(checkpoint)
    card, names = directory / f"{name}.md", [name] if data is None else [name, name + FLOAT]
    size = parameters(net), _cost(state["recipe"], len(classes))
    export_segmenter(net, classes, state["recipe"]["backbone"], directory / f"{names[-1]}.onnx")
    for model in names:
        precision = "int8" if len(names) > 1 and model == name else "float32"
        if precision == "int8":
            assert data is not None
            scenes = labelled_scenes(data, "train")
            images = [scene.read()[0] for scene in scenes[:: -(-len(scenes) // CALIBRATION)]]
            cut = [image[: image.shape[0] // STRIDE * STRIDE, : image.shape[1] // STRIDE * STRIDE] for image in images]
            quantize_segmenter(directory / f"{names[-1]}.onnx", directory / f"{name}.onnx", cut)
        enter(directory, _entry(model, name, precision, classes))
    if not card.exists():
        keys = ("interface", "training", "figures")
        card.write_text(CARD.format(names=", ".join(names), **{key: empty_block(key) for key in keys}), "utf-8")
        write_block(card, "figures", "Not measured.")
    write_block(card, "interface", _interface(classes, *size))
    write_block(card, "training", _training(state))
    return {} if data is None else _measure(names, directory, data, classes)


def _measure(names: Sequence[str], directory: Path, data: Path, classes: Sequence[str]) -> dict[str, float]:
    """Write both models' figures beside the manifest and into the card; returns those of the first, in eight bits."""
    manifest, lines = Manifest.load(directory), []
    scenes = labelled_scenes(data, "test")
    found: dict[str, dict[str, Overlap]] = {}
    for name in names:
        segment = segmented_by(load(manifest.get(name)))
        ways: dict[str, Segment] = {"colour": segment, "grey": lambda image, segment=segment: segment(as_grey(image))}  # type: ignore[misc]
        found[name] = {
            kind: overlap(
                evaluate(way, (scene.read() for scene in track(scenes, f"{name}: {kind}")), len(classes)), classes
            )
            for kind, way in ways.items()
        }
    lines += [f"On {len(scenes)} held-out scenes; percent.", ""]
    lines += [f"| model, images | mIoU | pixels right | {' | '.join(classes)} |", "| --- " * (3 + len(classes)) + "|"]
    for name, kinds in found.items():
        for kind, row in kinds.items():
            cells = [f"{row.miou:.1f} ({row.low:.1f} to {row.high:.1f})", f"{row.accuracy:.1f}"]
            cells += [f"{value:.0f}" for value in row.classes.values()]
            lines.append(f"| {name}, {kind} | {' | '.join(cells)} |")
    figures = {
        name: {f"{kind}_{key}": getattr(row, key) for kind, row in kinds.items() for key in ("miou", "accuracy")}
        for name, kinds in found.items()
    }
    for name in names:
        enter(directory, _entry(name, names[0], manifest.get(name).precision, classes), figures[name])
    write_block(directory / f"{names[0]}.md", "figures", "\n".join(lines))
    return figures[names[0]]


def _cost(recipe: Mapping[str, Any], classes: int) -> int:
    """Multiply-accumulates for an image of 640x480."""
    with torch.device("meta"):
        return macs(Segmenter(classes, recipe["backbone"], recipe["width"]).eval(), torch.empty(1, 3, 480, 640))


def _interface(classes: Sequence[str], weights: int, cost: int) -> str:
    return f"""| | |
| --- | --- |
| input | `image` uint8 [N, H, W, 3], RGB, or grey in three equal channels; height and width multiples of {STRIDE} |
| output | `labels` uint8 [N, H, W]: {", ".join(f"{number} {name}" for number, name in enumerate(classes))} |
| size | {weights / 1e6:.2f} M parameters; {cost / 1e9:.1f} GMAC an image of 640x480 |
| network | `derain_ros/nets/segmentation.py`: DeepLabv3+ with separable convolutions |"""


def _training(state: Mapping[str, Any]) -> str:
    defaults = {f.name: f.default for f in fields(SegmentRecipe)}
    changed = {
        key: value
        for key, value in state["recipe"].items()
        if key in defaults and value != defaults[key] and key != "start_from"
    }
    began = state["origin"]
    if not state["recipe"]["start_from"] and state["recipe"]["backbone"] != "resnet101":
        began += " (of the PyPI package of that backbone, Apache-2.0)"
    return (
        f"`derain train segmentation --data DATA --config` a file of what differs from the defaults:\n\n"
        f"    {yaml.safe_dump(changed, default_flow_style=True, width=110).strip()}\n\n"
        f"{state['step']} steps. It began with the weights of {began}. DATA held {', '.join(state['data'])}. Most "
        "owners of the images allow research use only; no image is part of the model's files."
    )


def _entry(name: str, network: str, precision: str, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "task": "segment",
        "network": network,
        "file": f"{name}.onnx",
        "channels": 3,
        "stride": STRIDE,
        "description": "Tells what each pixel of a street scene shows" + (", 8 bit" if precision == "int8" else ""),
        "precision": precision,
        "card": f"{network}.md",
        "classes": list(classes),
    }
