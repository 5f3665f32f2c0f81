"""A restorer's checkpoint becomes a model of the manifest: exported, measured on images held out, entered."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from rich.progress import track

from derain_ros.config import PLANS
from derain_ros.data.samples import DataError, anomaly_of
from derain_ros.engine import load
from derain_ros.evaluate.held_out import KINDS, held_out
from derain_ros.evaluate.restoration import EvaluationError, Score, evaluate, markdown, summary
from derain_ros.manifest import FIGURES, MANIFEST_NAME, Manifest, Model
from derain_ros.nets.fast import STRIDE, FastRestorer
from derain_ros.publish.card import write_block, write_card
from derain_ros.publish.export_restorer import export_restorer, load_restorer, to_grey

log = logging.getLogger(__name__)


def enter(directory: Path, entry: dict[str, Any], figures: Mapping[str, float] = MappingProxyType({})) -> None:
    """Put a model's entry into `directory`/models.yaml in place of the one of its name, with the file's sha256, and its
    figures, rounded, beside it; those of a model of that name that was there before go."""
    manifest = directory / MANIFEST_NAME
    content = yaml.safe_load(manifest.read_text(encoding="utf-8")) if manifest.exists() else None
    models = [m for m in (content or {}).get("models", []) if m["name"] != entry["name"]]
    digest = hashlib.sha256((directory / entry["file"]).read_bytes()).hexdigest()
    models.append({**entry, "sha256": digest})
    models.sort(key=lambda m: str(m["name"]))
    text = yaml.safe_dump({"models": models}, sort_keys=False, width=120, allow_unicode=True)
    manifest.write_text(text, encoding="utf-8")
    path = directory / FIGURES / f"{entry['name']}.yaml"
    path.unlink(missing_ok=True)
    if figures:
        path.parent.mkdir(exist_ok=True)
        rounded = {name: round(float(value), 4) for name, value in figures.items()}
        path.write_text(yaml.safe_dump(rounded, sort_keys=False), encoding="utf-8")


def publish_restorer(
    checkpoint: Path,
    name: str,
    directory: Path,
    grey: bool,
    data: Path | None,
    serves: tuple[str, ...] = (),
    plan: str = "",
    purpose: str = "",
    not_for: tuple[str, ...] = (),
) -> dict[str, float]:
    """Export a restorer as `directory`/`name`.onnx, enter it and write its card; returns figures, none without `data`.

    `grey` folds the colour network into one that takes grey images. `serves` names the anomalies it is made for, none
    a general one, `not_for` those that it hurts behind; `purpose` what its images are for, any use where it is empty.
    Its rung is `plan`, or else the one that the name says: `_quality` or `_light` in it, else balanced.
    """
    net, state = load_restorer(checkpoint)
    if grey:
        net = to_grey(net)
    path = directory / f"{name}.onnx"
    export_restorer(net, path)
    what = (
        f"Fast generator and enhancer, {net.width} filters, {net.blocks} residual blocks"
        if isinstance(net, FastRestorer)
        else "Generator, enhancer and aggregation as printed"
    )
    scale = net.scale if isinstance(net, FastRestorer) else 1
    what += f" at 1/{scale} of the size" if scale > 1 else ""
    entry: dict[str, Any] = {
        "name": name,
        "task": "restore",
        "network": network_of(name),
        "file": path.name,
        "channels": net.channels,
        "stride": STRIDE,
        "description": f"{what}, {'grey' if net.channels == 1 else 'RGB'}",
        "plan": plan or plan_of(name),
        "scale": scale,
        "precision": "float32",
        "card": f"{name}.md",
    }
    if serves:
        entry["serves"] = list(serves)
    if not_for:
        entry["not_for"] = list(not_for)
    if purpose:
        entry["purpose"] = purpose
    enter(directory, entry)
    write_card(directory / entry["card"], name, net, state)
    return {} if data is None else publish_figures(name, directory, entry, data)


def plan_of(name: str) -> str:
    """The rung that a restorer's name says: the part `quality` or `light`, else `balanced`."""
    parts = name.split("_")
    return next((plan for plan in PLANS if plan in parts), "balanced")


def network_of(name: str) -> str:
    """The network that a restorer's name says, for grey and for colour: what follows `restore_mono` or `restore_rgb`,
    else its rung."""
    return "_".join(name.split("_")[2:]) or plan_of(name)


def publish_figures(name: str, directory: Path, entry: dict[str, Any], data: Path) -> dict[str, float]:
    """Measure the model `name` of `directory` on what is held out below `data`; the figures, which its card tells, too.

    Nothing where nothing is held out there, which is logged. Each figure of
    `evaluate.restoration.summary` has the kind of images before it, as in `real_psnr_gain`; intervals are in the card
    alone.
    """
    model = Manifest.load(directory).get(name)
    try:
        rows = measure(model, data)
    except (EvaluationError, DataError) as error:
        log.warning("%s is added to the manifest without figures: %s", name, error)
        return {}
    figures = {
        f"{kind}_{key}": value
        for kind, scores in rows.items()
        for key, value in summary(scores).items()
        if not key.endswith(("_low", "_high"))
    }
    enter(directory, entry, figures)
    notes = "\n".join(f"- {kind}: {what}" for kind, what in KINDS.items() if kind in rows)
    table = markdown([(kind, name, scores) for kind, scores in rows.items()])
    write_block(directory / model.card, f"figures {name}", f"{notes}\n\n{table}")
    return figures


def measure(model: Model, data: Path) -> dict[str, list[Score]]:
    """Figures of a restorer on each kind of images held out below `data`, in the channels it takes."""
    engine = load(model)
    return {
        kind: evaluate(engine, track(pairs, f"{model.name}: {kind}"))
        for kind, pairs in held_out(data, model.channels, anomaly=anomaly_of(model.serves)).items()
    }
