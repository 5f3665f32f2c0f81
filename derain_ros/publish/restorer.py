"""From a restorer's checkpoint to a model of the manifest: export, figures on held-out images, entry."""

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
    """Put a model's entry into `directory`/models.yaml, with the file's sha256, and its figures, rounded, beside it.

    An older entry of the same name and its figures are removed.
    """
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

    `grey` folds the colour network into one for grey images. `serves` names the anomalies that it is made for, none for
    a general one, and `not_for` those behind which it makes images worse. `purpose` is what its images are used for,
    any use if empty. Its rung is `plan`, or the one in its name: `_quality` or `_light`, else balanced.
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
    """Return the rung in a restorer's name: the part `quality` or `light`, else `balanced`."""
    parts = name.split("_")
    return next((plan for plan in PLANS if plan in parts), "balanced")


def network_of(name: str) -> str:
    """Return the network in a restorer's name, for grey and for colour.

    It is what follows `restore_mono` or `restore_rgb`, else the rung.
    """
    return "_".join(name.split("_")[2:]) or plan_of(name)


def publish_figures(name: str, directory: Path, entry: dict[str, Any], data: Path) -> dict[str, float]:
    """Measure the model `name` of `directory` on the held-out images below `data`; returns its figures.

    They are written beside the manifest and into the card, intervals into the card only. If there are no held-out
    images, that is logged and there are no figures. Each figure of `evaluate.restoration.summary` is prefixed by the
    kind of images, as in `real_psnr_gain`.
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
    """Return the scores of a restorer on each kind of held-out images below `data`, in grey or colour as it takes."""
    engine = load(model)
    return {
        kind: evaluate(engine, track(pairs, f"{model.name}: {kind}"))
        for kind, pairs in held_out(data, model.channels, anomaly=anomaly_of(model.serves)).items()
    }
