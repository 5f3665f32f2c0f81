"""The table of paper 3: rainy road scenes are cleaned, then fused with infrared; the paper's rows beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from derain_ros.data.night import Triplet, triplets
from derain_ros.engine import load
from derain_ros.evaluate.fusion import METRICS, FusionScene
from derain_ros.evaluate.fusion_baselines import BASELINES
from derain_ros.evaluate.fusion_held_out import fuse
from derain_ros.evaluate.restoration import luminance, mean_and_interval, similarity
from derain_ros.manifest import Manifest
from derain_ros.runtime.stages.restore import restore_image
from derain_ros.train.night import clean_and_fuse, load_cleaner, load_fusion

COLUMNS = (
    "psnr_printed",
    "ssim_printed",
    "mef_ssim",
    "mi",
    "vif",
    "cc",
    "fmi_pixel",
    "fmi_dct",
    "fmi_wavelet",
    "mse",
    "qabf",
)
"""The paper's columns, as keys of METRICS: the conventions whose values are nearest to the paper's figures."""
PRINTED = {
    "NiteDR, as printed": (64.71, 0.4909, 0.8885, 2.9556, 0.5766, 0.6501, 0.8620, 0.3632, 0.3946, 0.0275, 0.4597),
    "the second of its seven peers, as printed": (
        63.66,
        0.3967,
        0.8735,
        4.13,
        0.6368,
        0.6271,
        0.8557,
        0.2835,
        0.3423,
        0.0343,
        0.4591,
    ),
}
"""Rows of the paper, on its 40 test pairs; in MI and VIF the best of the peers is ahead of NiteDR."""
CLEANER, FUSER = "restore_rgb_rain_int8", "fuse"
"""Models of the manifest that the node uses for cleaning and for fusion."""

Cleaned = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By method: the cleaned image (H, W, 3) and the fused one (H, W), uint8."""


def measure(data: Path, checkpoint: Path | None, models: Path | None, count: int) -> tuple[list[str], list[str]]:
    """Lines of two Markdown tables on at most `count` held-out triplets: for cleaning, and for fusion.

    `checkpoint` is the last one of `derain train night`; without it CleanNet and FusionNet have no row.
    """
    files = triplets(data, "test")[:count]
    manifest = Manifest.load(models)
    cleaner = load(manifest.get(CLEANER))
    fuser = load(manifest.get(FUSER)) if FUSER in manifest.models else None
    nets = None if checkpoint is None else (load_cleaner(checkpoint), load_fusion(checkpoint))

    def methods(triplet: Triplet) -> Cleaned:
        cleaned = restore_image(cleaner, triplet.wet)[0]
        visible, infrared = luminance(cleaned), triplet.infrared
        found = {"rainy, average": (triplet.wet, BASELINES["average"](luminance(triplet.wet), infrared))}
        found |= {f"{CLEANER}, {name}": (cleaned, fused(visible, infrared)) for name, fused in BASELINES.items()}
        if fuser is not None:
            found[f"{CLEANER}, {FUSER}"] = (cleaned, fuse(fuser, visible, infrared))
        if nets is not None:
            found["CleanNet, FusionNet"] = clean_and_fuse(*nets, triplet)
        return found

    return tables([path.read() for path in track(files, "reading")], methods)


def tables(found: Sequence[Triplet], methods: Callable[[Triplet], Cleaned]) -> tuple[list[str], list[str]]:
    """The tables for the triplets `found`, a row for each method.

    Fused images are compared with the clean and the infrared image.
    """
    cleaning: dict[str, list[tuple[float, float]]] = {}
    fusion: dict[str, list[list[float]]] = {}
    for triplet in track(found, "cleaning and fusing"):
        scene = FusionScene("", luminance(triplet.clean), triplet.infrared)
        for name, (cleaned, fused) in methods(triplet).items():
            cleaning.setdefault(name.split(",")[0], []).append(similarity(cleaned, triplet.clean))
            fusion.setdefault(name, []).append(
                [METRICS[key].measure(scene.visible, scene.infrared, fused) for key in COLUMNS]
            )
    first = ["| cleaned by | PSNR, dB | SSIM |", "| --- | --- | --- |"]
    for name, rows in cleaning.items():
        cells = [_cell(values, digits) for values, digits in zip(np.array(rows).T, (2, 3), strict=True)]
        first.append(f"| {name} | {' | '.join(cells)} |")
    second = [f"| method | {' | '.join(METRICS[key].title for key in COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for name, row in PRINTED.items():
        second.append(f"| {name} | {' | '.join(map(str, row))} |")
    for name, figures in fusion.items():
        cells = [_cell(values, METRICS[key].digits) for key, values in zip(COLUMNS, np.array(figures).T, strict=True)]
        second.append(f"| {name} | {' | '.join(cells)} |")
    return first, second


def markdown(first: Sequence[str], second: Sequence[str], count: int) -> str:
    """Both tables in Markdown, with a line that explains them."""
    told = (
        f"Means of {count} held-out road scenes with bootstrap intervals of 95 %. The paper's rows are of 40 other "
        "scenes of the same data, by its own implementation."
    )
    return "\n".join([told, "", *first, "", *second]) + "\n"


def _cell(values: np.ndarray, digits: int) -> str:
    mean, low, high = (f"{value:.{digits}f}" for value in mean_and_interval(values))
    return f"{mean} ({low} to {high})"
