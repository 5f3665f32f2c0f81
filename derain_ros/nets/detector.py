"""The anomaly detector: one small network that says what is on or before the lens, where, and how bad it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = ("clean", "raindrop", "dirt", "streak", "night_rain")
"""What the detector tells apart, in the order of its probabilities.

`streak` is rain that falls by day, `night_rain` rain that falls at night: bright only where lamps light it. Any of the
last four may be there together; `clean` is the absence of all four.
"""

SIZE = (270, 360)
"""Height and width of its input: half of a frame of 720x540, which shrinks to it by whole pixels at next to no cost."""

CELL = 4
"""Pixels of the input along each side of a cell of the mask: 8 of a frame of 720x540."""

CELLS = (-(-SIZE[0] // CELL), -(-SIZE[1] // CELL))
"""Rows and columns of the mask; the last row covers half a cell."""


class Detection(NamedTuple):
    """Logits, each for its own sigmoid: `classes` (N, K), `mask` (N, *CELLS), `severity` (N,).

    The probability of `clean` is a logit of its own, trained and calibrated as "none of the others": the others do not
    exclude each other, and their errors do not multiply. A cell is affected where more than about a third of what is
    seen in it came through water or dirt, or is veiled by streaks. The severity is the share in [0, 1] of the picture's
    local structure that is lost, 1 - SSIM to the view without the anomaly.
    """

    classes: Tensor
    mask: Tensor
    severity: Tensor


def _layer(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution and batch normalisation, which export folds into one."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(outputs))


class _Block(nn.Module):
    """Two 3x3 convolutions around a skip, (N, width, h, w) to the same."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = _layer(width, width)
        self.second = _layer(width, width, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """The input plus its residual, rectified."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Detector(nn.Module):
    """Grey images (N, 1, *SIZE) float in 0..255 to `Detection`.

    0.15 M parameters, 0.115 GMAC an image. Each image is standardised first: brightness and contrast say little about
    the glass. Steps of two lead down to 1/16; what is found there joins what 1/8 sees, whose every place tells four
    cells, so that the mask has the borders of small drops and the context of large ones. The classes are told from the
    mean and the maximum over the places of both scales and from the mean over those found affected: one drop must not
    be averaged away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            _layer(1, 16, stride=2), nn.ReLU(), _layer(16, 32, stride=2), nn.ReLU(), _layer(32, 48, stride=2), nn.ReLU()
        )
        self.coarse = nn.Sequential(_layer(48, 48, stride=2), nn.ReLU(), _Block(48, 1), _Block(48, 2))
        self.join = nn.Sequential(_layer(48, 32), nn.ReLU())
        self.mask = nn.Conv2d(32, 4, 1)
        self.judge = nn.Sequential(nn.Linear(2 * 48 + 3 * 32 + 2, 64), nn.ReLU(), nn.Linear(64, len(CLASSES) + 1))

    def forward(self, image: Tensor) -> Detection:
        """Logits of classes, mask and severity."""
        fine = self.fine(standardised(image))
        coarse = self.coarse(fine)
        joined = self.join(fine + _doubled(coarse, fine))
        cells = self.mask(joined)
        affected = cells.sigmoid().mean(1, keepdim=True)
        share = affected.mean((2, 3))
        found = (joined * affected).mean((2, 3)) / (share + 1e-2)
        pooled = torch.cat(
            [
                coarse.mean((2, 3)),
                coarse.amax((2, 3)),
                joined.mean((2, 3)),
                joined.amax((2, 3)),
                found,
                share,
                affected.amax((2, 3)),
            ],
            1,
        )
        told = self.judge(pooled)
        return Detection(told[:, :-1], F.pixel_shuffle(cells, 2).squeeze(1), told[:, -1])


def standardised(image: Tensor) -> Tensor:
    """(N, 1, h, w) less its mean over its standard deviation, both measured on every fourth row and column."""
    sample = image[:, :, ::4, ::4]
    mean = sample.mean((2, 3), keepdim=True)
    spread = (sample - mean).square().mean((2, 3), keepdim=True).sqrt()
    # A floor under the spread keeps the noise of an empty picture small.
    return (image - mean) / (spread + 8.0)


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, h, w) at twice its size, each value four times, cut to the size of `like`."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")[:, :, : like.shape[2], : like.shape[3]]
