"""The ablation of paper 2, with its rows trained and measured here, beside the shipped ladder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import track

from derain_ros.data.labelled import LabelledScene, labelled_scenes
from derain_ros.data.rainy_scenes import SEVERITIES, RainyScene, rainy_scenes
from derain_ros.data.segmentation import confusion, mean_overlap
from derain_ros.engine import load
from derain_ros.evaluate.restoration import mean_and_interval, similarity
from derain_ros.evaluate.segmentation import Segment, bootstrap, overlap
from derain_ros.manifest import Manifest
from derain_ros.nets.srrn import STRIDE, TaskDriven
from derain_ros.runtime.stages.restore import restore_image
from derain_ros.train.loop import Machine
from derain_ros.train.segmentation import as_images, load_segmenter, must_know, segment
from derain_ros.train.task_driven import TaskDrivenRecipe, load_task_driven, train

log = logging.getLogger(__name__)

PRINTED = {
    "rainy": (23.23, 0.8002, 34.50),
    "A/C": (33.88, 0.9573, 66.60),
    "A/C+OJT": (28.84, 0.9324, 67.54),
    "A/C/R": (34.61, 0.9581, 66.79),
    "A/C/R+OJT": (31.26, 0.9521, 67.50),
    "A/C/R+TJT": (34.57, 0.9583, 67.60),
}
"""Table 1 as printed: PSNR in dB, SSIM and mIoU in percent, on the authors' own data."""
COMPARED = (
    ("A/C/R", "A/C"),
    ("A/C/R+TJT", "A/C/R"),
    ("A/C+OJT", "A/C"),
    ("A/C/R+OJT", "A/C/R"),
    ("A/C/R+TJT", "A/C/R+OJT"),
)
"""Pairs of rows that the paper compares."""
LADDER = {
    "`light`": ("restore_rgb_light_int8",),
    "`balanced`": ("restore_rgb_int8",),
    "`quality`": ("restore_rgb_quality_int8",),
    "for rain, then `balanced`": ("restore_rgb_rain_int8", "restore_rgb_int8"),
}
"""The models of the manifest that the node would run, one after the other, by the name of the row."""

Derain = Callable[[np.ndarray], np.ndarray]
"""From a rainy image to the derained one, (H, W, 3) uint8 RGB."""


@dataclass(frozen=True)
class MethodRow:
    """Figures of one method on each rainy scene.

    `psnr` (dB) and `ssim`: (scenes,) each. `counts`: confusion matrices (scenes, classes, classes) by the name of the
    segmenter.
    """

    psnr: np.ndarray
    ssim: np.ndarray
    counts: Mapping[str, np.ndarray]


def trainings(phases: Sequence[TaskDrivenRecipe]) -> dict[str, list[TaskDrivenRecipe]]:
    """The recipes of the rows that are trained, made from the recipe's two stages: A/C, then R after it.

    Rows with the same networks are trained for equally many steps: A/C/R+OJT, in one stage, for as many as both stages
    together.
    """
    coarse, refine = phases
    alone = replace(coarse, semantic=0.0)
    return {
        "A/C": [alone],
        "A/C+OJT": [replace(coarse, semantic=refine.semantic)],
        "A/C/R": [alone, replace(refine, semantic=0.0)],
        "A/C/R+OJT": [replace(refine, stage="joint", steps=coarse.steps + refine.steps)],
        "A/C/R+TJT": [alone, refine],
    }


def trained(data: Path, output: Path, phases: Sequence[TaskDrivenRecipe], machine: Machine) -> dict[str, TaskDriven]:
    """The trained networks of all rows.

    A training found below `output` is resumed, or used if it is complete. Stage I is trained only once.
    """
    nets = {}
    for name, recipes in trainings(phases).items():
        log.info("%s", name)
        checkpoint = Path()
        for number, recipe in enumerate(recipes):
            folder = output / (name if number == len(recipes) - 1 else "A/C").lower().replace("/", "").replace("+", "_")
            checkpoint = train(data, folder, recipe.begun_with(checkpoint) if number else recipe, machine)
        nets[name] = load_task_driven(checkpoint)
    return nets


def methods(nets: Mapping[str, TaskDriven], manifest: Manifest) -> dict[str, Derain]:
    """The methods of all rows: the rainy image as it is, the trained networks, the shipped restorers."""
    found: dict[str, Derain] = {"rainy": lambda image: image}
    found |= {name: derained_by(net) for name, net in nets.items()}
    return found | {name: restored_by(models, manifest) for name, models in ladder(manifest).items()}


def ladder(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """LADDER, and the int8 colour models of the manifest whose purpose is segmentation."""
    made = [
        model
        for model in manifest.models.values()
        if model.purpose == "segmentation" and model.channels == 3 and model.precision == "int8"
    ]
    return LADDER | {f"`{model.plan}` for segmentation": (model.name,) for model in made}


def derained_by(net: TaskDriven) -> Derain:
    """A function that derains an image with a trained cascade, on its device, rounded to 8 bits."""
    device = next(net.parameters()).device

    @torch.no_grad()
    def derain(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        whole = as_images(torch.from_numpy(image)[None].to(device))
        whole = torch.nn.functional.pad(whole, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        found = net(whole).image[0, :, :height, :width].clamp(0, 1)
        return (found * 255 + 0.5).byte().permute(1, 2, 0).contiguous().cpu().numpy()

    return derain


def restored_by(names: Sequence[str], manifest: Manifest) -> Derain:
    """A function that restores an image with models of the manifest, one after the other."""
    engines = [load(manifest.get(name)) for name in names]

    def derain(image: np.ndarray) -> np.ndarray:
        for engine in engines:
            image = restore_image(engine, image)[0]
        return image

    return derain


def segmenters(names: Mapping[str, str], classes: Sequence[str], device: torch.device) -> dict[str, Segment]:
    """Segmenters on `device`, by the name of their column; `names` has a checkpoint or the name of a shipped one each.

    DataError if a segmenter has other classes than `classes`.
    """
    nets = {}
    for column, name in names.items():
        net, known = load_segmenter(Path(name))
        must_know(known, classes, name)
        nets[column] = net.to(device)
    return {column: lambda image, net=net: segment(net, image) for column, net in nets.items()}  # type: ignore[misc]


def measure(
    scenes: Sequence[LabelledScene], rows: Mapping[str, Derain], judges: Mapping[str, Segment]
) -> tuple[dict[str, MethodRow], dict[str, np.ndarray]]:
    """The figures of each method on each scene, and the confusion matrices of the dry scenes.

    The figures are for all scenes in moderate rain, then for all in heavy rain. The confusion matrices, (scenes,
    classes, classes), are by segmenter.
    """
    classes = len(scenes[0].classes)
    seen: dict[str, list[tuple[float, float, dict[str, np.ndarray]]]] = {name: [] for name in rows}
    dry: dict[str, list[np.ndarray]] = {name: [] for name in judges}
    rainy: list[RainyScene] = sorted(rainy_scenes(scenes), key=lambda scene: SEVERITIES.index(scene.severity))
    for number, scene in enumerate(track(rainy, "deraining and segmenting")):
        clean, labels = scene.scene.read()
        wet = scene.rainy()
        for name, derain in rows.items():
            image = derain(wet)
            counts = {judge: confusion(labels, find(image), classes) for judge, find in judges.items()}
            seen[name].append((*similarity(image, clean), counts))
        if number < len(scenes):
            for judge, find in judges.items():
                dry[judge].append(confusion(labels, find(clean), classes))
    found = {
        name: MethodRow(
            np.array([row[0] for row in figures]),
            np.array([row[1] for row in figures]),
            {judge: np.stack([row[2][judge] for row in figures]) for judge in judges},
        )
        for name, figures in seen.items()
    }
    return found, {judge: np.stack(counts) for judge, counts in dry.items()}


def markdown(
    rows: Mapping[str, MethodRow], dry: Mapping[str, np.ndarray], classes: Sequence[str], trained_with: str
) -> str:
    """The table in Markdown, the IoU of each class, and the comparisons of `answers`."""
    count = len(next(iter(dry.values())))
    told = (
        f"Means of {count} held-out scenes in moderate and in heavy rain with drops, mIoU over all pixels, bootstrap "
        f"intervals of 95 %. {trained_with} The paper's figures are of other images."
    )
    judges, half = list(dry), {"moderate": slice(0, count), "heavy": slice(count, None)}
    titles = [
        "method",
        *(f"{key}, {rain}" for rain in half for key in ("PSNR, dB", "SSIM")),
        *(f"mIoU, {judge}, {rain}" for judge in judges for rain in half),
        "paper PSNR, SSIM, mIoU",
    ]
    lines = [told, "", f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for name, row in rows.items():
        cells = []
        for part in half.values():
            cells += [_mean(row.psnr[part], 2), _mean(row.ssim[part], 3)]
        cells += [_miou(row.counts[judge][part], classes) for judge in judges for part in half.values()]
        printed = PRINTED.get(name)
        cells.append("" if printed is None else f"{printed[0]}, {printed[1]}, {printed[2]}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    bound = [_miou(dry[judge], classes) for judge in judges for _ in half]
    lines.append(f"| dry scenes, the bound | {' | '.join(['', '', '', '', *bound, ''])} |")
    lines += ["", *by_class(rows, dry, classes), "", *answers(rows)]
    return "\n".join(lines) + "\n"


def by_class(rows: Mapping[str, MethodRow], dry: Mapping[str, np.ndarray], classes: Sequence[str]) -> list[str]:
    """IoU of each class for the first segmenter, over both severities."""
    judge = next(iter(dry))
    lines = [f"| IoU, {judge}, % | {' | '.join(classes)} |", "| --- " * (len(classes) + 1) + "|"]
    for name, counts in [*((name, row.counts[judge]) for name, row in rows.items()), ("dry scenes", dry[judge])]:
        values = overlap(list(counts), classes).classes.values()
        lines.append(f"| {name} | {' | '.join(f'{value:.0f}' for value in values)} |")
    return lines


def answers(rows: Mapping[str, MethodRow]) -> list[str]:
    """The gains and losses through refinement and joint training, with confidence intervals.

    Rows are compared scene by scene, each scene in both severities of rain.
    """
    lines = []
    for mine, other in COMPARED:
        if mine not in rows or other not in rows:
            continue
        a, b = rows[mine], rows[other]
        mean, low, high = mean_and_interval((a.psnr - b.psnr).reshape(len(SEVERITIES), -1).mean(0))
        parts = [f"PSNR {mean:+.2f} dB ({low:+.2f} to {high:+.2f})"]
        for judge in a.counts:
            mine_counts, other_counts = (_by_scene(row.counts[judge]) for row in (a, b))

            def gain(chosen: np.ndarray, first: np.ndarray = mine_counts, second: np.ndarray = other_counts) -> float:
                return 100 * (mean_overlap(first[chosen].sum(0)) - mean_overlap(second[chosen].sum(0)))

            low, high = np.percentile(bootstrap(gain, len(mine_counts)), [2.5, 97.5])
            parts.append(f"mIoU by {judge} {gain(np.arange(len(mine_counts))):+.1f} points ({low:+.1f} to {high:+.1f})")
        printed = np.subtract(PRINTED[mine], PRINTED[other])
        lines.append(
            f"- {mine} against {other}: {'; '.join(parts)}. The paper: {printed[0]:+.2f} dB, {printed[2]:+.2f} points."
        )
    return lines


def _by_scene(counts: np.ndarray) -> np.ndarray:
    """One confusion matrix per scene, from `MethodRow.counts`: the sum over the severities."""
    return counts.reshape(len(SEVERITIES), -1, *counts.shape[1:]).sum(0)


def _mean(values: np.ndarray, digits: int) -> str:
    mean, low, high = mean_and_interval(values)
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _miou(counts: np.ndarray, classes: Sequence[str]) -> str:
    found = overlap(list(counts), classes)
    return f"{found.miou:.1f} ({found.low:.1f} to {found.high:.1f})"


def table(
    data: Path,
    runs: Path,
    phases: Sequence[TaskDrivenRecipe],
    judges: Mapping[str, str],
    models: Path | None,
    count: int,
    machine: Machine,
) -> str:
    """Train the rows that are not trained yet, measure on at most `count` held-out scenes, and give the table.

    The table is in Markdown. `judges` are segmenters by the name of their column. DataError if the data does not fit.
    """
    scenes = labelled_scenes(data, "test")
    scenes = scenes[:: -(-len(scenes) // count)]
    # Missing files are reported before the trainings, not after them.
    device = Fabric(accelerator=machine.accelerator, devices=1).device
    found, manifest = segmenters(judges, scenes[0].classes, device), Manifest.load(models)
    for name in {name for names in ladder(manifest).values() for name in names}:
        manifest.verify(manifest.get(name))
    nets = {name: net.to(device) for name, net in trained(data, runs, phases, machine).items()}
    rows, dry = measure(scenes, methods(nets, manifest), found)
    coarse, refine = phases
    told = (
        f"Trained here: {coarse.steps} steps of stage I and {refine.steps} of stage II, {coarse.batch} crops of "
        f"{coarse.crop}x{coarse.crop} each, widths {coarse.attention}, {coarse.coarse} and {refine.refine}."
    )
    return markdown(rows, dry, scenes[0].classes, told)
