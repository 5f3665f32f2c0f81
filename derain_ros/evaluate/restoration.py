"""How much better restored images are: PSNR and SSIM of an exported model on pairs of wet and clean images."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from derain_ros.engine import Engine


class EvaluationError(ValueError):
    """Images to evaluate on are missing or do not fit together; the message says which."""


@dataclass(frozen=True)
class Pair:
    """A wet and a clean image of one name: (H, W, 3) uint8 RGB, or (H, W) grey."""

    name: str
    wet: np.ndarray
    clean: np.ndarray


@dataclass(frozen=True)
class Score:
    """One image's figures: PSNR in dB and SSIM of the input and of the output against the clean image."""

    name: str
    input_psnr: float
    input_ssim: float
    psnr: float
    ssim: float


def read_pairs(wet: Path, clean: Path, channels: int, prefixes: tuple[str, ...] = ("",)) -> Iterator[Pair]:
    """Pairs of equal file name in two folders, grey or RGB, whose names begin with one of `prefixes`.

    EvaluationError where there are none, or an image is unreadable, or two of a pair differ in size.
    """
    names = sorted(p.name for p in wet.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg")
                   and p.name.startswith(prefixes))
    if not names:
        raise EvaluationError(f"{wet}: holds no .png or .jpg images to evaluate on")
    for name in names:
        images = [read(folder / name, channels) for folder in (wet, clean)]
        if images[0].shape != images[1].shape:
            raise EvaluationError(f"{name}: {wet} and {clean} hold images of different sizes: {images[0].shape[:2]} "
                                  f"and {images[1].shape[:2]}")
        yield Pair(name, *images)


def read(path: Path, channels: int) -> np.ndarray:
    """The image at `path`: (H, W) uint8 grey for one channel, else (H, W, 3) RGB; EvaluationError if unreadable."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    if image is None:
        raise EvaluationError(f"{path}: cannot be read as an image")
    return image if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def restore(engine: Engine, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One image through a restorer: the restored image of the same shape, and the mask (H, W) uint8."""
    shape = image.shape
    outputs = engine.run(image.reshape(1, *shape[:2], -1))
    return outputs["restored"][0].reshape(shape), outputs["mask"][0]


def similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """PSNR (dB) and SSIM (Gaussian window, sigma 1.5, as first published) of two uint8 images."""
    channel_axis = -1 if a.ndim == 3 else None
    ssim = structural_similarity(a, b, data_range=255, channel_axis=channel_axis, gaussian_weights=True, sigma=1.5,
                                 use_sample_covariance=False)
    # Equal images have no noise: 100 dB stands for "the same".
    psnr = 100.0 if np.array_equal(a, b) else peak_signal_noise_ratio(a, b, data_range=255)
    return float(psnr), float(ssim)


def evaluate(engine: Engine, pairs: Iterable[Pair]) -> list[Score]:
    """Every pair's figures, the wet image restored by `engine`."""
    scores = []
    for pair in pairs:
        restored, _ = restore(engine, pair.wet)
        scores.append(Score(pair.name, *similarity(pair.wet, pair.clean), *similarity(restored, pair.clean)))
    return scores


def write_csv(scores: list[Score], path: Path) -> None:
    """One line per image, with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(scores[0])))
        writer.writeheader()
        writer.writerows(asdict(score) for score in scores)


def mean_and_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The mean of `values`, and the 2.5 % and 97.5 % quantiles of its bootstrap (1000 draws)."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (1000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def summary(scores: list[Score]) -> dict[str, float]:
    """Means over the images, and the gains."""
    table = np.array([[s.input_psnr, s.input_ssim, s.psnr, s.ssim] for s in scores])
    input_psnr, input_ssim, psnr, ssim = table.mean(axis=0)
    return {"images": len(scores), "input_psnr": float(input_psnr), "input_ssim": float(input_ssim),
            "psnr": float(psnr), "ssim": float(ssim), "psnr_gain": float(psnr - input_psnr),
            "ssim_gain": float(ssim - input_ssim)}


def markdown(rows: dict[str, list[Score]]) -> str:
    """A Markdown table: a row per name, means with their bootstrap intervals."""
    lines = ["| model | images | input PSNR | input SSIM | PSNR | SSIM | PSNR gain |", "| --- " * 7 + "|"]
    for name, scores in rows.items():
        cells = [name, str(len(scores))]
        columns = np.array([[s.input_psnr, s.input_ssim, s.psnr, s.ssim, s.psnr - s.input_psnr] for s in scores]).T
        for values, digits in zip(columns, (2, 3, 2, 3, 2), strict=True):
            mean, low, high = mean_and_interval(values)
            cells.append(f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
