"""The anomaly detector: one small network that says what is on or before the lens, and where."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = ("clean", "raindrop", "dirt", "streak")
"""What the detector tells apart, in the order of its probabilities."""

SIZE = (136, 184)
"""Height and width of its input: 4:3 at about 180x135, in whole cells."""

CELL = 8
"""Pixels of the input along each side of a cell of the mask."""


class Detection(NamedTuple):
    """Logits of the classes, (N, K), and of every cell being affected, (N, h/8, w/8)."""

    classes: Tensor
    mask: Tensor


def _layer(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution and batch normalisation, which export folds into one."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
                         nn.BatchNorm2d(outputs))


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
    """Grey images (N, 1, h, w) float in 0..255, h and w multiples of 8, to `Detection`.

    0.20 M parameters, 0.10 GMAC at `SIZE`. Each image is standardised first: brightness and contrast say little about
    the glass. The classes are told from the mean and the maximum over the cells, and from the mean over those found
    affected: one drop must not be averaged away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Sequential(_layer(1, 16, stride=2), nn.ReLU(), _layer(16, 32, stride=2), nn.ReLU(),
                                   _Block(32, 1))
        self.trunk = nn.Sequential(_layer(32, 64, stride=2), nn.ReLU(), _Block(64, 1), _Block(64, 3))
        self.mask = nn.Conv2d(64, 1, 1)
        self.classes = nn.Sequential(nn.Linear(3 * 64 + 1, 64), nn.ReLU(), nn.Linear(64, len(CLASSES)))

    def forward(self, image: Tensor) -> Detection:
        """Classes and mask, as logits."""
        centred = image - image.mean((1, 2, 3), keepdim=True)
        spread = (centred * centred).mean((1, 2, 3), keepdim=True).sqrt()
        # A floor under the spread keeps the noise of an empty picture small.
        cells = self.trunk(self.edges(centred / (spread + 8.0)))
        mask = self.mask(cells)
        affected = mask.sigmoid()
        share = affected.mean((2, 3))
        found = (cells * affected).mean((2, 3)) / (share + 1e-2)
        pooled = torch.cat([cells.mean((2, 3)), cells.amax((2, 3)), found, share], 1)
        return Detection(self.classes(pooled), mask.squeeze(1))
