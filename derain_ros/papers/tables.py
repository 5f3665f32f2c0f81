"""The tables of paper 1 in Markdown: the printed figures beside the measured ones."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from derain_ros.evaluate.restoration import Score, mean_and_interval
from derain_ros.papers.speed import Speed

ABLATION = {"Input": (24.09, 0.851), "G": (27.12, 0.869), "G+E": (29.15, 0.898), "G+E+A": (29.84, 0.909)}
"""Table I as printed: PSNR in dB and SSIM on the pairs of Qian et al."""
INITIALISATION = {
    "Raw": (19.34, 0.760),
    "Random": (22.36, 0.787),
    "Sharp drops": (22.15, 0.791),
    "Our drops": (24.77, 0.813),
}
"""Table II as printed, on the authors' own pairs."""
SPEED = {
    "paper 1, G+E+A": (6, 542, 29.84, 0.909),
    "DeRaindrop": (262, 4317, 31.50, 0.921),
    "Porav et al.": (91, 2780, 31.55, 0.902),
}
"""Table III as printed: milliseconds on an RTX 2080 and on a Core i7 of the 10th generation, PSNR in dB and SSIM."""


def speed_table(speeds: Sequence[Speed], threads: int) -> str:
    """Table III: one row per network; the others are compared with the first."""
    lines = [
        f"Milliseconds for one frame, {_processor()}, {threads or 'all'} threads, ONNX Runtime in fp32; weights "
        "are random. The paper's: RTX 2080 and Core i7 of the 10th generation.",
        "",
        "| network | frame | parameters | GMAC | median ms | 10 % to 90 % | times ours | paper GPU ms | "
        "paper CPU ms | times paper's, CPU | paper PSNR | paper SSIM |",
        "| --- " * 12 + "|",
    ]
    ours = speeds[0].quantile(0.5)
    for speed in speeds:
        median = speed.quantile(0.5)
        printed = [""] * 5
        if speed.name in SPEED:
            gpu, cpu, psnr, ssim = SPEED[speed.name]
            printed = [f"{gpu}", f"{cpu}", f"{cpu / SPEED['paper 1, G+E+A'][1]:.1f}", f"{psnr:.2f}", f"{ssim:.3f}"]
        cells = [
            speed.name,
            f"{speed.width}x{speed.height}",
            f"{speed.parameters / 1e6:.2f} M",
            f"{speed.macs / 1e9:.1f}",
            f"{median:.1f}",
            f"{speed.quantile(0.1):.1f} to {speed.quantile(0.9):.1f}",
            f"{median / ours:.1f}",
            *printed,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def restoration_table(
    rows: Mapping[str, Sequence[Score]], printed: Mapping[str, tuple[float, float]], trained: str
) -> str:
    """Tables I and II: `rows` under the names in `printed`, and whether the order of the paper's rows holds.

    The first name in `printed` is the input. Figures are means over the images with 95 % bootstrap confidence
    intervals. `trained` says how the rows were trained.
    """
    count = len(next(iter(rows.values())))
    lines = [
        f"Means of {count} held-out images with bootstrap intervals of 95 %, over RGB and over luminance. "
        f"{trained} The paper's figures are of other images.",
        "",
        "| method | PSNR, dB | SSIM | PSNR, luminance | SSIM, luminance | paper PSNR | paper SSIM |",
        "| --- " * 7 + "|",
    ]
    figures = {}
    for place, name in enumerate(printed):
        scores, what = (rows[name], "") if place else (next(iter(rows.values())), "input_")
        columns = [
            np.array([getattr(s, f"{what}{key}") for s in scores]) for key in ("psnr", "ssim", "psnr_luma", "ssim_luma")
        ]
        figures[name] = columns[0]
        cells = []
        for values, digits in zip(columns, (2, 3, 2, 3), strict=True):
            mean, low, high = mean_and_interval(values)
            cells.append(f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        lines.append("| " + " | ".join([name, *cells, f"{printed[name][0]:.2f}", f"{printed[name][1]:.3f}"]) + " |")
    return "\n".join([*lines, "", *_order(figures, printed)]) + "\n"


def _order(figures: Mapping[str, np.ndarray], printed: Mapping[str, tuple[float, float]]) -> list[str]:
    """Lines that say whether the order of the paper's rows holds, and the measured gain from each row to the next."""
    theirs = sorted(printed, key=lambda n: printed[n][0])
    ours = sorted(figures, key=lambda n: figures[n].mean())
    lines = [
        "The order of the paper's rows by PSNR holds."
        if ours == theirs
        else f"The order of the paper's rows by PSNR, {' < '.join(theirs)}, does not hold: {' < '.join(ours)}.",
        "",
    ]
    for lower, upper in zip(theirs, theirs[1:], strict=False):
        mean, low, high = mean_and_interval(figures[upper] - figures[lower])
        certain = "" if low > 0 or high < 0 else "; these images cannot tell"
        lines.append(
            f"- {upper} over {lower}: {mean:+.2f} dB ({low:+.2f} to {high:+.2f}), the paper "
            f"{printed[upper][0] - printed[lower][0]:+.2f}{certain}."
        )
    return lines


def _processor() -> str:
    """The name of the machine's processor, or its architecture if the name is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
