"""The anomaly detector: one small network that says what is on or in front of the lens, where, and how severe it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = ("clean", "raindrop", "dirt", "streak", "night_rain")
"""The classes of the detector, in the order of its probabilities.

`streak` is rain that falls by day, `night_rain` rain that falls at night, bright only where lamps light it. The last
four may occur together; `clean` is the absence of all four.
"""

SIZE = (270, 360)
"""Height and width of the input: half of a frame of 720x540, which a whole factor reduces at almost no cost."""

CELL = 4
"""Side of a mask cell in pixels of the input: 8 pixels of a frame of 720x540."""

CELLS = (-(-SIZE[0] // CELL), -(-SIZE[1] // CELL))
"""Rows and columns of the mask; the last row covers half a cell."""


class Detection(NamedTuple):
    """Logits, each with its own sigmoid: `classes` (N, K), `mask` (N, *CELLS), `severity` (N,).

    `clean` has a logit of its own, trained and calibrated as "none of the others": the other classes do not exclude
    each other, and so their errors do not multiply. A cell is affected if more than about a third of it is seen
    through water or dirt, or is veiled by streaks. The severity is the share in [0, 1] of the picture's local structure
    that is lost: 1 - SSIM to the view without the anomaly.
    """

    classes: Tensor
    mask: Tensor
    severity: Tensor


def _layer(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution and a batch normalisation, which the export folds into one."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(outputs))


class _Block(nn.Module):
    """Two 3x3 convolutions with a skip, (N, width, h, w) to the same."""

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
    the lens. Convolutions of stride 2 reduce it to 1/16. The features at 1/16 are added to those at 1/8, where each
    position gives four cells, so the mask has the borders of small drops and the context of large ones. The classes and
    the severity come from the mean and the maximum over both scales, and from the mean over the affected positions: one
    drop must not be averaged away.
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
    """(N, 1, h, w) minus its mean, divided by its standard deviation + 8; both are from every fourth row and column."""
    sample = image[:, :, ::4, ::4]
    mean = sample.mean((2, 3), keepdim=True)
    spread = (sample - mean).square().mean((2, 3), keepdim=True).sqrt()
    # The constant keeps the noise of an empty picture small.
    return (image - mean) / (spread + 8.0)


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, h, w) at twice its size, nearest neighbour, cropped to the size of `like`."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")[:, :, : like.shape[2], : like.shape[3]]
