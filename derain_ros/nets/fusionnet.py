"""FusionNet of paper 3: a densely connected network that fuses luminance and infrared, and a refinement in three steps.

The paper draws the refinement but gives no sizes; here each of its networks has three 3x3 convolutions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DENSE = 5
"""Number of dense layers, each of which sees the features of all layers before it."""
STEPS = 3
"""Steps of the refinement, which share their weights."""
DARKEST = 0.05
"""Smallest illumination: no pixel becomes more than twenty times as bright."""
SLOPE = 0.2
"""Slope of the leaky ReLU below zero."""


class FusionNet(nn.Module):
    """Luminance and infrared (N, 1, H, W) float in 0..1, of any size, to the fused luminance (N, 1, H, W) in 0..1.

    As printed, `width` 44: 0.66 M parameters, 202 GMAC at 640x480.
    """

    def __init__(self, width: int = 44) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, 1, 1)
        self.dense = nn.ModuleList(nn.Conv2d(k * width, width, 3, 1, 1) for k in range(1, DENSE + 1))
        sides = [(DENSE + 1) * width, 128, 64, 32]
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in zip(sides, sides[1:], strict=False))
        self.last = nn.Conv2d(sides[-1], 1, 3, 1, 1)

    def forward(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Fuse; inside the network, images are in -1..1."""
        x = F.leaky_relu(self.first(torch.cat([visible, infrared], 1) * 2 - 1), SLOPE)
        for layer in self.dense:
            x = torch.cat([x, F.leaky_relu(layer(x), SLOPE)], 1)
        for layer in self.narrow:
            x = F.leaky_relu(layer(x), SLOPE)
        return (torch.tanh(self.last(x)) + 1) / 2


class Refined(NamedTuple):
    """The results of the refinement's steps, first to last: images and illuminations (N, 1, H, W) in 0..1."""

    images: list[Tensor]
    illuminations: list[Tensor]


class ContrastRefinement(nn.Module):
    """Balances the contrast of a fused image (N, 1, H, W) in 0..1, in three steps that share their weights.

    In each step the contrast-balance network estimates an illumination map, by which the fused image is divided. The
    content-adjustment network then predicts from this image and the infrared one what is added to the fused image for
    the next step.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.balance = _small(1, width)
        self.adjust = _small(2, width)

    def forward(self, fused: Tensor, infrared: Tensor) -> Refined:
        """The images and illuminations of all steps; the last image is the result."""
        seen, images, illuminations = fused, [], []
        for _ in range(STEPS):
            illumination = DARKEST + (1 - DARKEST) * torch.sigmoid(self.balance(seen))
            image = (fused / illumination).clamp(0, 1)
            seen = fused + self.adjust(torch.cat([image, infrared], 1))
            images.append(image)
            illuminations.append(illumination)
        return Refined(images, illuminations)


class RefinedFusion(nn.Module):
    """FusionNet followed by the refinement.

    Luminance and infrared (N, 1, H, W) in 0..1 to the fused image of that shape and its refinement.
    """

    def __init__(self, width: int = 44, refinement: int = 16) -> None:
        super().__init__()
        self.fusion, self.refinement = FusionNet(width), ContrastRefinement(refinement)

    def forward(self, visible: Tensor, infrared: Tensor) -> tuple[Tensor, Refined]:
        """Fuse, then refine; the last of the refined images is the result."""
        fused = self.fusion(visible, infrared)
        return fused, self.refinement(fused, infrared)


def _small(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(width, 1, 3, 1, 1),
    )
