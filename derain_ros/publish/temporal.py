"""From a temporal filter's checkpoint to a model of the manifest: export, figures on sequences, entry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.progress import track

from derain_ros.data.layouts import TrainingFolders
from derain_ros.data.sequences import draw_sequence
from derain_ros.engine import Engine, load
from derain_ros.evaluate.sequence import SequenceFigures, Video, drive, evaluate, from_folder, markdown
from derain_ros.manifest import Manifest, Model
from derain_ros.nets.macs import macs, parameters
from derain_ros.nets.temporal import CELL, TemporalNet
from derain_ros.publish.card import empty_block, write_block
from derain_ros.publish.export_temporal import export_temporal, load_temporal
from derain_ros.publish.restorer import enter
from derain_ros.rain.style import KINDS
from derain_ros.runtime.stages.restore import restore_image
from derain_ros.runtime.stages.temporal import TemporalFilter
from derain_ros.tasks import TEMPORAL_PLANES
from derain_ros.train.temporal import TemporalRecipe

RESTORER = "restore_mono_int8"
"""The restorer of the manifest that the filter is measured and calibrated behind."""
FRAMES = 50
"""Frames of each sequence for the figures."""
CALIBRATION = 40
"""Sequences on which the ranges for eight bits are measured."""
KITTI = "kitti_stereo/sequence_1/image_l"
"""Folder of a sequence of photographs below the data folder that no training uses."""

CARD = """# {name}, {name}_int8

Joins a restored frame, grey or colour, with what the frames before it showed of the same scene, and remembers what is
on the glass: steadier video, truer behind drops, and a better mask.

{interface}

## Training

{training}

## Figures

{figures}

{figures_int8}

## Limits

- It needs a camera that moves: where nothing moves, nothing is seen from behind the drops.
- Motion is estimated (DIS; behind drops it goes on as it was, corrected by affine fits to what moves around them): what
  moves by itself behind a large drop comes back where it was expected, not where it is.
- Drops that run are on the glass for some frames only; it was trained on drops that stay.
"""


def publish_temporal(checkpoint: Path, name: str, directory: Path, data: Path | None) -> dict[str, float]:
    """Export a temporal filter as `directory`/`name`.onnx, enter it and write its card.

    Returns its figures, none without `data`. `directory` holds RESTORER, behind which it is measured.
    """
    net, state = load_temporal(checkpoint)
    path = directory / f"{name}.onnx"
    export_temporal(net, path)
    entry: dict[str, Any] = {
        "name": name,
        "task": "temporal",
        "file": path.name,
        "channels": TEMPORAL_PLANES,
        "stride": CELL,
        "description": "Joins restored frames with those before them, grey and colour",
        "precision": "float32",
        "card": f"{name}.md",
    }
    enter(directory, entry)
    card = directory / entry["card"]
    if not card.exists():
        blocks = {
            key: empty_block(key.replace("figures", f"figures {name}"))
            for key in ("interface", "training", "figures", "figures_int8")
        }
        card.write_text(CARD.format(name=name, **blocks), encoding="utf-8")
    write_block(card, "interface", _interface(net))
    write_block(card, "training", _training(state))
    return {} if data is None else publish_temporal_figures(name, directory, entry, data)


def publish_temporal_figures(name: str, directory: Path, entry: dict[str, Any], data: Path) -> dict[str, float]:
    """Measure the filter `name` of `directory` on sequences behind every kind of drops; returns its figures.

    They are written beside the manifest and into the card.
    """
    manifest = Manifest.load(directory)
    engine, temporal = load(manifest.get(RESTORER)), load(manifest.get(name))
    rows = [row for video in videos(data) for row in measure(engine, temporal, video)]
    enter(directory, entry, summary(rows))
    write_block(
        directory / entry["card"],
        f"figures {name}",
        f"Behind `{RESTORER}`, {FRAMES} frames of each sequence; "
        f"`derain evaluate sequence {RESTORER} --temporal {name} --frames {FRAMES} --kitti "
        f"DATA/{Path(KITTI).parent}`.\n\n{markdown(rows)}",
    )
    return summary(rows)


def videos(data: Path) -> list[Video]:
    """Return a drive through a world that no training uses, and the photographs of KITTI if they are there."""
    folder = data / KITTI
    return [drive(FRAMES), *([from_folder(folder, FRAMES)] if folder.is_dir() else [])]


def measure(engine: Engine, temporal: Engine, video: Video) -> list[SequenceFigures]:
    """Return figures behind every kind of drops, alternately of the restorer alone and with the filter."""
    return [
        evaluate(engine, video, kind, join)
        for kind in track(KINDS, f"{temporal.model.name}: {video.name}")
        for join in (None, temporal)
    ]


def summary(rows: Sequence[SequenceFigures]) -> dict[str, float]:
    """Return means over sequences and kinds of drops: of the restorer (even rows), and with the filter (odd rows)."""

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    alone, joined = rows[::2], rows[1::2]
    settled = [row.settled for row in joined if not math.isnan(row.settled)]
    return {
        "flicker": mean([row.ratio for row in joined]),
        "restored_flicker": mean([row.ratio for row in alone]),
        **({"settled_flicker": mean(settled)} if settled else {}),
        "psnr": mean([row.restored_psnr[0] for row in joined]),
        "psnr_gain": mean([b.restored_psnr[0] - a.restored_psnr[0] for a, b in zip(alone, joined, strict=True)]),
        "covered_psnr_gain": mean(
            [b.restored_psnr[1] - a.restored_psnr[1] for a, b in zip(alone, joined, strict=True)]
        ),
        "mask_iou": mean([row.mask_iou for row in joined]),
        "restored_mask_iou": mean([row.mask_iou for row in alone]),
    }


def calibration_planes(model: Model, directory: Path, data: Path) -> list[np.ndarray]:
    """Return inputs (h, w, planes) uint8 of the network of `model`: for the last frames of training sequences."""
    manifest, recipe = Manifest.load(directory), TemporalRecipe()
    engine, temporal = load(manifest.get(RESTORER)), load(model)
    files = TrainingFolders.find([data], "drops").photographs
    planes: list[np.ndarray] = []

    class Listener:
        """Runs the network and keeps its last input."""

        model = temporal.model

        def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
            planes[-1] = images["image"][0]
            return temporal.run(**images)

    for number in track(range(CALIBRATION), "calibrating"):
        sample = draw_sequence(
            files, recipe.length, 256, lambda wet: restore_image(engine, wet), np.random.default_rng((43, number))
        )
        planes.append(np.empty(0, np.uint8))
        runner = TemporalFilter()
        for n, parts in enumerate(zip(sample.wet, sample.restored, sample.mask, strict=True)):
            frame, restored, mask = (part[None] for part in parts)
            runner.apply(
                Listener(),  # type: ignore[arg-type]
                ["camera"],
                [n + 1],
                frame[..., None],
                restored[..., None],
                mask,
            )
    return planes


def _interface(net: TemporalNet) -> str:
    with torch.device("meta"):
        cost = macs(TemporalNet(net.first.out_channels).eval(), torch.empty(1, TEMPORAL_PLANES, 270, 360))
    return f"""| | |
| --- | --- |
| input | `image` uint8 [N, H/2, W/2, {TEMPORAL_PLANES}]: luminance of the frame, of its restoration and of the last \
output moved to where the scene is now; the restorer's mask; what was seen of the last output; four planes of memory |
| output | `weights` uint8 [N, H/2, W/2, 3] of keeping the frame, of recalling the last output in place of the \
restoration, and of smoothing what is not kept; `mask` uint8 [N, H/2, W/2], 255 where the glass is covered; `memory` \
of that, four planes |
| size | {parameters(net) / 1e3:.0f} k parameters; {cost / 1e9:.2f} GMAC a frame of 720x540 |
| network | `derain_ros/nets/temporal.py`; what is around it: `derain_ros/runtime/stages/temporal.py`, `motion.py` |"""


def _training(state: dict[str, Any]) -> str:
    defaults = {f.name: f.default for f in fields(TemporalRecipe)}
    changed = {key: value for key, value in state["recipe"].items() if key in defaults and value != defaults[key]}
    origin = f" from {state['origin']} on" if state.get("origin") else ""
    return (
        "`derain train temporal --data DATA --config` a file of what differs from the defaults:\n\n    "
        f"{yaml.safe_dump(changed, default_flow_style=True, width=110).strip()}\n\n{state['step']} steps{origin}, "
        "on sequences that are made: a camera glides, turns and grows over photographs of DATA (those that drops "
        "are drawn on for the restorers), or drives through procedural worlds; before it drops or dirt that stay "
        f"on the glass. Each is restored by one of {', '.join(state['restorers'])}."
    )
