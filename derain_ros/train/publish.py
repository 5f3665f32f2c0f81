"""A restorer's checkpoint becomes a model of the manifest: exported, measured on images never trained on, entered."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from derain_ros.engine import Engine, load
from derain_ros.evaluate.restoration import Pair, evaluate, read_pairs, restore, similarity, summary
from derain_ros.manifest import MANIFEST_NAME, Manifest
from derain_ros.nets.fast import STRIDE
from derain_ros.train.data import HELD_OUT_FRAMES, LUMA, image_files, occlusion_of, read_rgb, synthetic_pairs
from derain_ros.train.export_restorer import export_restorer, load_restorer, to_grey


def enter(directory: Path, entry: dict[str, Any]) -> None:
    """Put a model's entry into `directory`/models.yaml in place of the one of its name; fills in the file's sha256."""
    manifest = directory / MANIFEST_NAME
    content = yaml.safe_load(manifest.read_text(encoding="utf-8")) if manifest.exists() else None
    models = [m for m in (content or {}).get("models", []) if m["name"] != entry["name"]]
    digest = hashlib.sha256((directory / entry["file"]).read_bytes()).hexdigest()
    models.append({**entry, "sha256": digest})
    models.sort(key=lambda m: str(m["name"]))
    text = yaml.safe_dump({"models": models}, sort_keys=False, width=120, allow_unicode=True)
    manifest.write_text(text, encoding="utf-8")


def publish_restorer(checkpoint: Path, name: str, directory: Path, grey: bool, data: Path | None) -> dict[str, float]:
    """Export a restorer as `directory`/`name`.onnx and enter it; returns its figures, none without `data`.

    `grey` folds the colour network into one that takes grey images.
    """
    net, _ = load_restorer(checkpoint)
    if grey:
        net = to_grey(net)
    path = directory / f"{name}.onnx"
    export_restorer(net, path)
    entry: dict[str, Any] = {
        "name": name, "task": "restore", "file": path.name, "channels": net.channels, "stride": STRIDE,
        "description": f"Fast generator and enhancer, {net.width} filters, {net.blocks} residual blocks, "
                       + ("grey" if net.channels == 1 else "RGB"),
        "figures": {}, "card": f"{name}.md"}
    enter(directory, entry)
    if data is not None:
        entry["figures"] = measure(load(Manifest.load(directory).get(name)), data)
        enter(directory, entry)
    return dict(entry["figures"])


def measure(engine: Engine, data: Path) -> dict[str, float]:
    """Figures of a restorer on what training never saw below `data`, in the channels it takes.

    `real_*`: the real pairs held out; `synthetic_*`: drops of our own on photographs held out, whose mask is known;
    `clean_psnr`: those photographs without drops, which should come back as they are. PSNR in dB.
    """
    channels = engine.model.channels
    folder = data / "raindrop_real/train"
    real = list(read_pairs(folder / "rain", folder / "clean", channels, HELD_OUT_FRAMES))
    scores = summary(evaluate(engine, real))
    rendered = synthetic_pairs([data / "bsds500/val", data / "camvid/val/image"], 60, 256, seed=977)
    synthetic = summary(evaluate(engine, (Pair("", in_channels(p.wet, channels), in_channels(p.clean, channels))
                                          for p in rendered)))
    photographs = [in_channels(read_rgb(path), channels) for path in image_files(data / "bsds500/val")[::5]]
    kept = [similarity(restore(engine, image)[0], image)[0] for image in photographs]
    figures = {f"real_{key}": value for key, value in scores.items()}
    figures |= {"synthetic_psnr_gain": synthetic["psnr_gain"], "synthetic_ssim_gain": synthetic["ssim_gain"]}
    figures["real_mask_iou"] = _mask_iou(engine, [(p.wet, occlusion_of(p.wet, p.clean)) for p in real])
    figures["synthetic_mask_iou"] = _mask_iou(engine, [(in_channels(p.wet, channels), p.mask) for p in rendered])
    figures["clean_psnr"] = float(np.mean(kept))
    return {key: round(value, 4) for key, value in figures.items()}


def in_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """An RGB image as it is for three channels, its luminance (H, W) for one."""
    return image if channels == 3 else np.rint(image @ np.array(LUMA)).astype(np.uint8)


def _mask_iou(engine: Engine, images: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Intersection over union of found and true masks, over all pixels of all images."""
    shared = joined = 0
    for wet, truth in images:
        found, true = restore(engine, wet)[1] > 0, truth > 0
        shared += int(np.count_nonzero(found & true))
        joined += int(np.count_nonzero(found | true))
    return shared / max(joined, 1)
