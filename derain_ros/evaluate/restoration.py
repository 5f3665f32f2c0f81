"""Measures restored images: PSNR, SSIM and masks of an exported model on pairs of wet and clean images."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from derain_ros.engine import Engine
from derain_ros.evaluate.artefacts import THRESHOLD, corners, grid
from derain_ros.runtime.stages.restore import restore_image

WINDOW = 11
"""Side in pixels of the SSIM window."""
SAME = 100.0
"""Value in dB that stands for the PSNR of equal images."""


class EvaluationError(ValueError):
    """Images to evaluate on are missing or do not fit together; the message says which."""


@dataclass(frozen=True)
class EvaluationPair:
    """A wet and a clean image of the same view, (H, W, 3) uint8 RGB or (H, W) grey, with the true mask.

    `mask` is (H, W) uint8, 255 where the view is hidden, or None if it is not known.
    """

    name: str
    wet: np.ndarray
    clean: np.ndarray
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Score:
    """One image's figures: PSNR in dB and SSIM of the input and of the output, against the clean image.

    They are over the three channels of RGB, and over luminance (`_luma`); for grey images both are the same.
    `mask_shared` and `mask_joined` are the pixels in the intersection and in the union of the found and the true mask.
    `covered` is the share of the image under the true mask. `psnr_hidden` is the PSNR if everything outside of it were
    perfect. The last four are from `evaluate.artefacts`, within the found mask and over luminance: the energies at the
    frequencies of the network's grid as `grid` gives them, and the numbers of corners in the restored and in the clean
    image. Without a true mask, `covered` and `psnr_hidden` are nan, and the other figures of masks are 0.
    """

    name: str
    input_psnr: float
    input_ssim: float
    psnr: float
    ssim: float
    input_psnr_luma: float
    input_ssim_luma: float
    psnr_luma: float
    ssim_luma: float
    mask_shared: int = 0
    mask_joined: int = 0
    covered: float = float("nan")
    psnr_hidden: float = float("nan")
    grid_added: float = 0.0
    grid_clean: float = 0.0
    corners: int = 0
    corners_clean: int = 0


def read_pairs(wet: Path, clean: Path, channels: int, prefixes: tuple[str, ...] = ("",)) -> Iterator[EvaluationPair]:
    """Pairs of images with equal file names in two folders, grey or RGB; names begin with one of `prefixes`.

    EvaluationError if there are none, if an image is unreadable, or if the images of a pair differ in size.
    """
    names = sorted(
        p.name for p in wet.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg") and p.name.startswith(prefixes)
    )
    if not names:
        raise EvaluationError(f"{wet}: contains no .png or .jpg images to evaluate")
    for name in names:
        images = [read(folder / name, channels) for folder in (wet, clean)]
        if images[0].shape != images[1].shape:
            raise EvaluationError(
                f"{name}: the images in {wet} and {clean} have different sizes: {images[0].shape[:2]} and "
                f"{images[1].shape[:2]}"
            )
        yield EvaluationPair(name, *images)


def read(path: Path, channels: int) -> np.ndarray:
    """The image at `path`: (H, W) uint8 grey for one channel, else (H, W, 3) RGB; EvaluationError if unreadable."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    if image is None:
        raise EvaluationError(f"{path}: cannot be read as an image")
    return image if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def luminance(image: np.ndarray) -> np.ndarray:
    """Luminance (H, W) uint8: 0.299 R + 0.587 G + 0.114 B, full range, rounded, as in Qian et al.

    A grey image is returned as it is.
    """
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """PSNR (dB) and SSIM (Gaussian window, sigma 1.5, as first published) of two uint8 images.

    For RGB images, PSNR is from the squared error over all channels; SSIM is the mean over the channels.
    EvaluationError for images smaller than the SSIM window.
    """
    if min(a.shape[:2]) < WINDOW:
        raise EvaluationError(
            f"SSIM needs at least {WINDOW}x{WINDOW} pixels, but an image has {a.shape[1]}x{a.shape[0]}"
        )
    channel_axis = -1 if a.ndim == 3 else None
    ssim = structural_similarity(
        a, b, data_range=255, channel_axis=channel_axis, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return _psnr(a, b), float(ssim)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    # Equal images have no error.
    return SAME if np.array_equal(a, b) else float(peak_signal_noise_ratio(a, b, data_range=255))


def score(pair: EvaluationPair, restored: np.ndarray, found: np.ndarray) -> Score:
    """The figures of a `restored` image of the pair's shape, and of the `found` mask (H, W) uint8."""
    both = similarity(pair.wet, pair.clean) + similarity(restored, pair.clean)
    wet, clean, out = (luminance(image) for image in (pair.wet, pair.clean, restored))
    luma = both if pair.clean.ndim == 2 else similarity(wet, clean) + similarity(out, clean)
    if pair.mask is None:
        return Score(pair.name, *both, *luma)
    ours, true = found > 0, pair.mask > 0
    elsewhere_perfect = pair.clean.copy()
    elsewhere_perfect[true] = restored[true]
    return Score(
        pair.name,
        *both,
        *luma,
        int(np.count_nonzero(ours & true)),
        int(np.count_nonzero(ours | true)),
        float(np.mean(true)),
        _psnr(elsewhere_perfect, pair.clean),
        *grid(out, clean, ours),
        *corners(out, clean, ours),
    )


def evaluate(engine: Engine, pairs: Iterable[EvaluationPair]) -> list[Score]:
    """The figures of every pair, with the wet image restored by `engine`."""
    return [score(pair, *restore_image(engine, pair.wet)) for pair in pairs]


def write_csv(scores: Sequence[Score], path: Path) -> None:
    """Write a CSV file with a header and a line per image."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(scores[0])))
        writer.writeheader()
        writer.writerows(asdict(score) for score in scores)


def mean_and_interval(
    values: np.ndarray, weights: np.ndarray | None = None, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of `values`, weighted if `weights` are given, and its 95 % bootstrap interval (1000 draws)."""
    weights = np.ones(len(values)) if weights is None else weights
    drawn = np.random.default_rng(seed).integers(len(values), size=(1000, len(values)))
    means = (values * weights)[drawn].sum(axis=1) / np.maximum(weights[drawn].sum(axis=1), 1e-9)
    low, high = np.quantile(means, [0.025, 0.975])
    return float((values * weights).sum() / weights.sum()), float(low), float(high)


@dataclass(frozen=True)
class Column:
    """One figure of a set of images: its name, the number of decimals shown, its value for each image, weights."""

    name: str
    digits: int
    values: np.ndarray
    weights: np.ndarray | None = None

    def mean_and_interval(self) -> tuple[float, float, float]:
        """The mean, and the bounds of its 95 % interval."""
        return mean_and_interval(self.values, self.weights)


def columns(scores: Sequence[Score], protocol: str) -> list[Column]:
    """The figures of `scores` in the protocol "rgb" or "luma"; if all inputs were clean, without input and gain.

    Figures of MASKED are for all images together: the mean over images, weighted by each image's denominator.
    """
    end = "_luma" if protocol == "luma" else ""
    table = {
        key: np.array([getattr(s, key + end) for s in scores]) for key in ("input_psnr", "input_ssim", "psnr", "ssim")
    }
    found = []
    if not (table["input_psnr"] == SAME).all():
        found = [Column("input_psnr", 2, table["input_psnr"]), Column("input_ssim", 3, table["input_ssim"])]
    found += [Column("psnr", 2, table["psnr"]), Column("ssim", 3, table["ssim"])]
    if len(found) > 2:
        found += [
            Column("psnr_gain", 2, table["psnr"] - table["input_psnr"]),
            Column("ssim_gain", 3, table["ssim"] - table["input_ssim"]),
        ]
    shared, joined = (np.array([getattr(s, key) for s in scores], float) for key in ("mask_shared", "mask_joined"))
    if joined.any():
        found.append(Column("mask_iou", 3, shared / np.maximum(joined, 1), joined))
    added, energy, ours, true = (
        np.array([getattr(s, key) for s in scores], float)
        for key in ("grid_added", "grid_clean", "corners", "corners_clean")
    )
    if energy.any():
        found.append(Column("grid", 2, 1 + added / np.maximum(energy, 1e-9), energy))
    if true.any():
        found.append(Column("corners", 2, ours / np.maximum(true, 1), np.maximum(true, 1)))
    return found


def is_grey(scores: Sequence[Score]) -> bool:
    """Whether both protocols agree on every image, as they do for grey images."""
    return all(s.psnr == s.psnr_luma and s.ssim == s.ssim_luma for s in scores)


def summary(scores: Sequence[Score]) -> dict[str, float]:
    """Means over the images, for gains also the 95 % intervals (`_low`, `_high`), and the number of `images`.

    Names of figures over luminance end in `_luma`; grey images do not have these.
    """
    figures: dict[str, float] = {"images": len(scores)}
    for protocol, end in (("rgb", ""), ("luma", "_luma"))[: 1 if is_grey(scores) else 2]:
        for column in columns(scores, protocol):
            mean, low, high = column.mean_and_interval()
            if column.name in MASKED:
                figures.setdefault(column.name, mean)
                continue
            figures[column.name + end] = mean
            if column.name.endswith("_gain"):
                figures |= {f"{column.name}{end}_low": low, f"{column.name}{end}_high": high}
    return figures


HEADER = {
    "input_psnr": "input PSNR, dB",
    "input_ssim": "input SSIM",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "psnr_gain": "gain, dB",
    "ssim_gain": "gain in SSIM",
    "mask_iou": "IoU of the mask",
    "grid": "grid",
    "corners": "corners",
}
MASKED = {
    "mask_iou": "Mask: intersection over union with the true mask.",
    "grid": "Grid: energy at the frequencies of the network's grid (periods of 16, 8 and 4 pixels) within the "
    "found mask, restored / clean; dots and checkerboard patterns give more than 1.",
    "corners": f"Corners: those that FAST, threshold {THRESHOLD}, finds there, restored / clean.",
}
"""Figures of masks and of what was filled in, with their explanation; they are the same in both protocols."""
PROTOCOLS = {
    "rgb": "RGB: squared error over all three channels, SSIM the mean of the channels'",
    "luma": "Luminance: 0.299 R + 0.587 G + 0.114 B, full range, in 8 bits; grey images are taken as they are",
}


def markdown(rows: Sequence[tuple[str, str, Sequence[Score]]]) -> str:
    """Markdown tables, one per protocol, of rows (images, model, scores): means with their bootstrap intervals."""
    known = {column.name for _, _, scores in rows for column in columns(scores, "rgb")}
    notes = [what for name, what in MASKED.items() if name in known]
    parts = [" ".join(notes)] if notes else []
    for protocol, what in PROTOCOLS.items():
        chosen = [row for row in rows if protocol == "luma" or not is_grey(row[2])]
        if not chosen:
            continue
        lines = [
            f"{what}. Means with bootstrap intervals of 95 %; SSIM with a Gaussian window of sigma 1.5.",
            "",
            "| images | model | number | " + " | ".join(HEADER.values()) + " |",
            "| --- " * (len(HEADER) + 3) + "|",
        ]
        for images, model, scores in chosen:
            cells = dict.fromkeys(HEADER, "")
            for column in columns(scores, protocol):
                mean, low, high = (f"{value:.{column.digits}f}" for value in column.mean_and_interval())
                cells[column.name] = f"{mean} ({low} to {high})"
            lines.append(f"| {images} | {model} | {len(scores)} | " + " | ".join(cells.values()) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
