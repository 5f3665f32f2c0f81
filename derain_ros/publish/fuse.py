"""From a fuser's checkpoint to two models of the manifest: export, quantisation, figures on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.progress import track

from derain_ros.data.fusion import FusionSource, fusion_pairs
from derain_ros.data.samples import DataError
from derain_ros.engine import Engine, load
from derain_ros.evaluate.fusion import METRICS, FusionScene, FusionScore, evaluate, fused_by
from derain_ros.evaluate.fusion_baselines import BASELINES
from derain_ros.evaluate.fusion_held_out import KEYS, KINDS, fuse, fused_with, held_out, summary
from derain_ros.manifest import Manifest
from derain_ros.nets.fuse import STRIDE, Fuser
from derain_ros.nets.macs import macs, parameters
from derain_ros.publish.card import empty_block, write_block
from derain_ros.publish.export_fuse import export_fuser, load_fuser, quantize_fuser
from derain_ros.publish.restorer import enter
from derain_ros.train.checkpoint import read
from derain_ros.train.fuse import FuseRecipe

FLOAT = "_float"
"""Suffix of the name of the fuser in floating point."""
CALIBRATION, SIDE = 60, 256
"""Samples on which the ranges for eight bits are measured, and their side in pixels."""
CARD = """# {names}

Fuses the luminance of a visible and the aligned infrared image into one luminance; where a mask says that a drop hides
the visible image, or that it was made up, the infrared image tells.

{interface}

## Training

{training}

## Figures

{figures}

## Limits

- Both images must show the same view: a shift of two pixels costs a third of Qabf. It was trained on some shifts of up
  to three pixels, which helps little: doubled contours remain.
- The mask takes details from infrared; the brightness behind it stays that of both images, so what a drop darkens, and
  a restorer did not mend, remains darker.
- By day the base is a mean of both in which the brighter one weighs more: a sky that is bright in the visible image and
  cold in the infrared one comes out darker than the eye saw it.
- It is trained by differentiable forms of Qabf and VIF among others: those two figures say less about it than about
  methods that were not.
"""


def publish_fuser(checkpoint: Path, name: str, directory: Path, data: Path | None) -> dict[str, float]:
    """Export a fuser as `directory`/`name`_float.onnx and in eight bits as `name`.onnx, and write their card.

    Both are entered in the manifest with their figures; returns those of the latter. Without `data` there is nothing to
    measure ranges or figures on: `name`.onnx is then in floating point, without figures.
    """
    net, state = load_fuser(checkpoint)
    if data is None:
        export_fuser(net, directory / f"{name}.onnx")
        enter(directory, _entry(name, name, "float32"))
        _write_card(directory / f"{name}.md", [name], net, state)
        return {}
    export_fuser(net, directory / f"{name}{FLOAT}.onnx")
    source = FusionSource(fusion_pairs(data, "train"), SIDE, 41)
    samples = [source.sample(0, number) for number in range(CALIBRATION)]
    quantize_fuser(directory / f"{name}{FLOAT}.onnx", directory / f"{name}.onnx", samples)
    names = [name, name + FLOAT]
    for model, precision in zip(names, ("int8", "float32"), strict=True):
        enter(directory, _entry(model, name, precision))
    _write_card(directory / f"{name}.md", names, net, state)
    return _measure(names, directory, data)


def _measure(names: Sequence[str], directory: Path, data: Path) -> dict[str, float]:
    """Write both models' figures beside the manifest and into the card; returns those of the first, in eight bits."""
    manifest = Manifest.load(directory)
    eight, full = (load(manifest.get(name)) for name in names)
    scenes = held_out(data)
    methods = {name: fused_with(engine) for name, engine in zip(names, (eight, full), strict=True)}
    methods |= {name: fused_by(fuser) for name, fuser in BASELINES.items()}
    rows: dict[str, dict[str, list[FusionScore]]] = {method: {} for method in methods}
    for kind, found in scenes.items():
        for score in track(evaluate(found, methods, KEYS), f"fusing: {kind}", total=len(found) * len(methods)):
            rows[score.method].setdefault(kind, []).append(score)
    distance = psnr_between(eight, full, [scene for found in scenes.values() for scene in found])
    figures = {name: summary(rows[name]) for name in names}
    figures[names[0]]["psnr_to_float"] = distance
    for name, precision in zip(names, ("int8", "float32"), strict=True):
        enter(directory, _entry(name, names[0], precision), figures[name])
    write_block(
        directory / f"{names[0]}.md",
        "figures",
        _table(rows, scenes) + f"\n\nEight bits are {distance:.1f} dB from floating point over the same pairs.",
    )
    return figures[names[0]]


def psnr_between(one: Engine, other: Engine, scenes: Sequence[FusionScene]) -> float:
    """Return the PSNR in dB between the outputs of two fusers, from the mean squared error over all scenes."""
    errors = [
        np.mean((fuse(one, s.visible, s.infrared).astype(float) - fuse(other, s.visible, s.infrared)) ** 2)
        for s in scenes
    ]
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9)))


def _table(rows: Mapping[str, Mapping[str, Sequence[FusionScore]]], scenes: Mapping[str, Sequence[FusionScene]]) -> str:
    told = [f"- {kind}: {KINDS[kind]}, {len(found)} pairs" for kind, found in scenes.items()]
    titles = [f"{kind} {METRICS[key].title}" for kind in scenes for key in KEYS]
    lines = [f"| method | {' | '.join(titles)} |", "| --- " * (len(titles) + 1) + "|"]
    for method, found in rows.items():
        means = summary(found)
        cells = [f"{means[f'{kind}_{key}']:.{METRICS[key].digits}f}" for kind in scenes for key in KEYS]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "On pairs never trained on; means.\n\n" + "\n".join(told) + "\n\n" + "\n".join(lines)


def _write_card(path: Path, names: list[str], net: Fuser, state: Mapping[str, Any]) -> None:
    """Write the card of these fusers to `path`; if there is one, write only its blocks."""
    if not path.exists():
        keys = ("interface", "training", "figures")
        path.write_text(
            CARD.format(names=", ".join(names), **{key: empty_block(key) for key in keys}), encoding="utf-8"
        )
        write_block(path, "figures", "Not measured.")
    write_block(path, "interface", _interface(net))
    write_block(path, "training", _training(state))


def _interface(net: Fuser) -> str:
    with torch.device("meta"):
        cost = macs(Fuser(net.width).eval(), *(torch.empty(1, 1, 480, 640) for _ in range(3)))
    return f"""| | |
| --- | --- |
| input | `visible`, `infrared` uint8 [N, H, W, 1], grey and aligned; `mask` of that form, 255 where the visible image \
is hidden or was made up, else 0; height and width multiples of {STRIDE} |
| output | `fused` uint8 [N, H, W, 1] |
| size | {parameters(net) / 1e6:.2f} M parameters; {cost / 1e9:.2f} GMAC an image of 640x480 |
| network | `derain_ros/nets/fuse.py`: a weight of the two smoothed images and two gains of what smoothing took away, \
for each pixel |"""


def _training(state: Mapping[str, Any]) -> str:
    """Return the phases of a training, from the first one available to that of `state`, and their data."""
    phases = [state]
    while phases[0]["recipe"].get("start_from"):
        try:
            phases.insert(0, read(Path(phases[0]["recipe"]["start_from"])))
        except DataError:
            break
    defaults = {f.name: f.default for f in fields(FuseRecipe)}
    lines = []
    for number, phase in enumerate(phases, 1):
        changed = {
            key: value
            for key, value in phase["recipe"].items()
            if key in defaults and value != defaults[key] and key != "start_from"
        }
        begun = (
            ""
            if not phase["recipe"].get("start_from")
            else (", from the weights of " + (f"phase {number - 1}" if number > 1 else "an earlier training"))
        )
        lines += [
            f"Phase {number}{begun}, {phase['step']} steps, `derain train fuse --data DATA --config` a file of "
            "what differs from the defaults:",
            "",
            f"    {yaml.safe_dump(changed, default_flow_style=True, width=110).strip()}",
            "",
        ]
    return "\n".join(
        [
            *lines,
            f"DATA held {', '.join(state['data'])}. Losses: `derain_ros/train/fusion_losses.py`. "
            "Most owners of the images allow research use only; no image is part of the model's files.",
        ]
    )


def _entry(name: str, network: str, precision: str) -> dict[str, Any]:
    return {
        "name": name,
        "task": "fuse",
        "network": network,
        "file": f"{name}.onnx",
        "channels": 1,
        "stride": STRIDE,
        "description": "Fuses the luminance of a visible and an infrared image"
        + (", 8 bit" if precision == "int8" else ""),
        "precision": precision,
        "card": f"{network}.md",
    }
