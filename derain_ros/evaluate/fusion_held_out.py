"""Measures fusers on held-out pairs: TNO with published results, road scenes, MSRS by night and by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from derain_ros.data.fusion import fusion_pairs
from derain_ros.engine import Engine
from derain_ros.evaluate.fusion import FusionScene, FusionScore, Method, find

PEERS = "fusion_peers"
"""Folder of the pairs of TNO below the data folder, with the results of published methods."""
KINDS = {
    "tno": "six pairs of TNO, of which training sees none",
    "road": "road scenes of RoadScene-rain, without rain",
    "night": "MSRS by night",
    "day": "MSRS by day",
}
"""What each kind of pairs is."""
KEYS = ("qabf", "vif", "scd", "cc", "ssim")
"""The figures of `fusion.METRICS` that are computed for a fuser."""


def held_out(data: Path) -> dict[str, list[FusionScene]]:
    """The scenes of each of KINDS that the data folder has; DataError if it has no pairs."""
    scenes: dict[str, list[FusionScene]] = {kind: [] for kind in KINDS}
    if (data / PEERS).is_dir():
        peers = find(data / PEERS)
        scenes["tno"] = [peers.scene(name) for name in peers.names]
    for pair in fusion_pairs(data, "evaluation"):
        # In MSRS the last letter of a name says whether it is day or night.
        kind = "road" if pair.source == "roadscene" else "day" if pair.visible.stem.endswith("D") else "night"
        scenes[kind].append(FusionScene(pair.visible.stem, *pair.read()))
    return {kind: found for kind, found in scenes.items() if found}


def fused_with(engine: Engine) -> Method:
    """The method that fuses a scene by a fuser, with an empty mask."""
    return lambda scene: fuse(engine, scene.visible, scene.infrared)


def fuse(engine: Engine, visible: np.ndarray, infrared: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The fused image of two, all (H, W) uint8; `mask` (H, W) uint8 is 255 where the visible image is hidden."""
    mask = np.zeros_like(visible) if mask is None else mask
    images = {"visible": visible, "infrared": infrared, "mask": mask}
    fused: np.ndarray = engine.run(**{name: image[None, ..., None] for name, image in images.items()})["fused"]
    return fused[0, ..., 0]


def summary(scores: Mapping[str, Sequence[FusionScore]]) -> dict[str, float]:
    """Means of one method's figures over the scenes of each kind, with names such as `tno_qabf`."""
    return {
        f"{kind}_{key}": float(np.mean([score.figures[key] for score in found]))
        for kind, found in scores.items()
        for key in found[0].figures
    }
