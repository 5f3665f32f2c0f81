"""Compares methods of fusion: the same figures of each method on the same pairs of images."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from derain_ros.evaluate import fusion_features as features
from derain_ros.evaluate import fusion_metrics as metrics
from derain_ros.evaluate import fusion_structure as structure
from derain_ros.evaluate.fusion_baselines import BASELINES, Fuser
from derain_ros.evaluate.restoration import EvaluationError, mean_and_interval, read

INFRARED = "infrared"
VISIBLE = {"visible": (), "clean": ("rain",)}
"""Possible names of the folder of visible images, and folders beside each that are not results of a method."""
FILES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")


@dataclass(frozen=True)
class FusionScene:
    """A visible image in grey and the infrared image of the same view, (H, W) uint8 both."""

    name: str
    visible: np.ndarray
    infrared: np.ndarray


Method = Callable[[FusionScene], np.ndarray]
"""Gives the fused image of a scene, (H, W) uint8."""


def fused_by(fuser: Fuser) -> Method:
    """The method that fuses a scene's images by `fuser`."""
    return lambda scene: fuser(scene.visible, scene.infrared)


def fused_in(files: Mapping[str, Path]) -> Method:
    """The method whose results are in `files`, by the scenes' names."""
    return lambda scene: read(files[scene.name], 1)


@dataclass(frozen=True)
class Collection:
    """Image files by the scene's name: of both sources, and of the results of each method."""

    visible: dict[str, Path]
    infrared: dict[str, Path]
    fused: dict[str, dict[str, Path]]

    @property
    def names(self) -> list[str]:
        """The scenes' names in order."""
        return sorted(self.visible)

    def scene(self, name: str) -> FusionScene:
        """Both images; EvaluationError if they are unreadable, too small, or of different sizes."""
        visible, infrared = read(self.visible[name], 1), read(self.infrared[name], 1)
        if visible.shape != infrared.shape:
            raise EvaluationError(
                f"{name}: the visible image has {_size(visible)} pixels, but the infrared one "
                f"{_size(infrared)}; register both to the same view and size"
            )
        if min(visible.shape) < structure.SMALLEST:
            raise EvaluationError(
                f"{self.visible[name]}: {_size(visible)} pixels; figures need at least "
                f"{structure.SMALLEST} on each side"
            )
        return FusionScene(name, visible, infrared)

    def methods(self) -> dict[str, Method]:
        """The methods with results in the folder, and those of BASELINES, by name."""
        return {name: fused_in(files) for name, files in self.fused.items()} | {
            name: fused_by(fuser) for name, fuser in BASELINES.items()
        }


def find(folder: Path) -> Collection:
    """The images below `folder`: in `visible` (or `clean`) and `infrared`; each other folder with images is a method's.

    Images of one scene have the same name, but for the ending. EvaluationError if there are no images, if counterparts
    are missing, or if a method has a name of BASELINES.
    """
    name = next((name for name in VISIBLE if (folder / name).is_dir()), None)
    if name is None or not (folder / INFRARED).is_dir():
        raise EvaluationError(
            f"{folder}: contains no folders of visible and infrared images; name them {' or '.join(VISIBLE)}, and "
            f"{INFRARED}"
        )
    visible, infrared = _images(folder / name), _images(folder / INFRARED)
    if not visible:
        raise EvaluationError(f"{folder / name}: contains no images ({', '.join(FILES)})")
    _check_counterparts(visible, infrared, folder / name, folder / INFRARED)
    _check_counterparts(infrared, visible, folder / INFRARED, folder / name)
    beside = sorted(p for p in folder.iterdir() if p.is_dir() and p.name not in (name, INFRARED, *VISIBLE[name]))
    fused = {place.name: files for place in beside if (files := _images(place))}
    for method, files in fused.items():
        if method in BASELINES:
            raise EvaluationError(
                f"{folder / method}: {method} is the name of a built-in method, which is always measured; rename the "
                "folder"
            )
        _check_counterparts(visible, files, folder / name, folder / method)
    return Collection(visible, infrared, fused)


def spread(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of `names`, evenly spaced from the first to the last."""
    return [names[k] for k in np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))]


def _images(folder: Path) -> dict[str, Path]:
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in FILES}


def _check_counterparts(images: Mapping[str, Path], others: Mapping[str, Path], folder: Path, other: Path) -> None:
    if missing := sorted(set(images) - set(others)):
        more = f" and for {len(missing) - 1} more" if len(missing) > 1 else ""
        raise EvaluationError(
            f"{other}: has no image for {images[missing[0]].name} in {folder}{more}; add it or remove that one"
        )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


@dataclass(frozen=True)
class Metric:
    """A figure of a fused image: its name in tables, the number of decimals shown, and the function that computes it.

    `measure` takes visible, infrared and fused image, (H, W) uint8 each.
    """

    title: str
    digits: int
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def _of_fused(measure: Callable[[np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    return lambda visible, infrared, fused: measure(fused)


def _fmi(feature: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    return partial(features.feature_mutual_information, feature=feature)


METRICS = {
    "en": Metric("EN, bits", 3, _of_fused(metrics.entropy)),
    "sd": Metric("SD", 2, _of_fused(metrics.standard_deviation)),
    "sf": Metric("SF", 2, _of_fused(metrics.spatial_frequency)),
    "ag": Metric("AG", 2, _of_fused(metrics.average_gradient)),
    "mi": Metric("MI, bits", 3, metrics.mutual_information),
    "vif": Metric("VIF", 3, structure.visual_information_fidelity),
    "qabf": Metric("Qabf", 3, metrics.edge_preservation),
    "scd": Metric("SCD", 3, metrics.sum_of_correlations_of_differences),
    "ssim": Metric("SSIM", 3, structure.similarity),
    "ssim_printed": Metric("SSIM, printed", 3, structure.printed_similarity),
    "ms_ssim": Metric("MS-SSIM", 3, structure.multi_scale_similarity),
    "mef_ssim": Metric("MEF-SSIM", 3, structure.exposure_similarity),
    "cc": Metric("CC", 3, metrics.correlation_coefficient),
    "mse": Metric("MSE", 4, metrics.mean_squared_error),
    "psnr": Metric("PSNR, dB", 2, metrics.peak_signal_to_noise),
    "psnr_printed": Metric("PSNR, printed, dB", 2, metrics.printed_peak_signal_to_noise),
    "fmi_pixel": Metric("FMI pixel", 3, _fmi(features.pixels)),
    "fmi_edge": Metric("FMI edge", 3, _fmi(features.edges)),
    "fmi_dct": Metric("FMI DCT", 3, _fmi(features.cosines)),
    "fmi_wavelet": Metric("FMI wavelet", 3, _fmi(features.wavelets)),
}
TABLES = {
    "Information from the sources in the fused image": ("mi", "vif", "qabf", "scd", "mef_ssim"),
    "Similarity to the sources": ("ssim", "ssim_printed", "ms_ssim", "cc", "mse", "psnr", "psnr_printed"),
    "Common features": ("fmi_pixel", "fmi_edge", "fmi_dct", "fmi_wavelet"),
    "Properties of the fused image alone": ("en", "sd", "sf", "ag"),
}
"""Keys of METRICS by the table that shows them."""


@dataclass(frozen=True)
class FusionScore:
    """The figures of one method on one scene, by their keys in METRICS."""

    method: str
    scene: str
    figures: dict[str, float]


def evaluate(
    scenes: Iterable[FusionScene], methods: Mapping[str, Method], keys: Sequence[str] = tuple(METRICS)
) -> Iterator[FusionScore]:
    """The figures named in `keys` of every method on every scene.

    EvaluationError for a fused image of another size than its sources, or not of uint8.
    """
    for scene in scenes:
        for name, method in methods.items():
            fused = method(scene)
            if fused.shape != scene.visible.shape or fused.dtype != np.uint8:
                raise EvaluationError(
                    f"{name}: its image of {scene.name} is {fused.dtype} {fused.shape}; it has to be "
                    f"uint8 {scene.visible.shape}, as the sources are"
                )
            yield FusionScore(
                name, scene.name, {key: METRICS[key].measure(scene.visible, scene.infrared, fused) for key in keys}
            )


def write_csv(scores: Sequence[FusionScore], path: Path) -> None:
    """Write a CSV file with a header and a line per method and scene."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["method", "scene", *METRICS])
        writer.writeheader()
        writer.writerows({"method": s.method, "scene": s.scene, **s.figures} for s in scores)


def markdown(scores: Sequence[FusionScore]) -> str:
    """A Markdown table for each of TABLES, a row per method: means over the scenes with 95 % bootstrap intervals."""
    methods = list(dict.fromkeys(s.method for s in scores))
    number = len(scores) // len(methods)
    parts = [f"Means over {number} pairs of images, with bootstrap intervals of 95 %."]
    for title, keys in TABLES.items():
        lines = [
            f"{title}:",
            "",
            f"| method | {' | '.join(METRICS[key].title for key in keys)} |",
            "| --- " * (len(keys) + 1) + "|",
        ]
        for method in methods:
            figures = [s.figures for s in scores if s.method == method]
            cells = [_cell(np.array([f[key] for f in figures]), METRICS[key].digits) for key in keys]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _cell(values: np.ndarray, digits: int) -> str:
    mean, low, high = (f"{value:.{digits}f}" for value in mean_and_interval(values))
    return f"{mean} ({low} to {high})"
