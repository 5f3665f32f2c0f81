"""The real-time fuser: it predicts for each pixel how to mix the visible and the infrared image.

Each image is split into a base, which is a fixed smoothing, and details, which are the rest. The network sees both
images and the mask at a quarter of the size (space to depth by 4). It gives for every pixel a weight of the two bases
and two gains of the details. There is no residual, so the result contains nothing that neither image has.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.nets.fast import ResidualBlock, conv

STRIDE = 16
"""Height and width of an input must be multiples of this."""
CELL = 4
"""Side of a cell of the quarter grid, in pixels."""
LARGEST_GAIN = 1.5
"""Largest gain of the details: a little above 1, so that contrast can be raised but noise is never amplified much."""
TAPS = 5
"""Side of the smoothing kernel that makes the base, in cells."""


class FusionParts(NamedTuple):
    """The fused luminance and its parts, (N, 1, H, W) each.

    `fused` is not clamped. `weight` of the visible base is in 0..1, the gains of the visible and of the infrared
    details are in 0..LARGEST_GAIN.
    """

    fused: Tensor
    weight: Tensor
    visible_gain: Tensor
    infrared_gain: Tensor


class Fuser(nn.Module):
    """Luminance, infrared and mask of pixels missing in the visible image, (N, 1, H, W) in 0..1, to `FusionParts`.

    H and W are multiples of STRIDE. There are `width` filters on the quarter grid, 1.5 times as many at an eighth, and
    twice as many at a sixteenth, where most parameters are.
    """

    smoothing: Tensor

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width, eighth, sixteenth = width, width * 3 // 2, width * 2
        pixels = CELL * CELL
        self.stem = conv(3 * pixels, width)
        self.down_eighth = conv(width, eighth, stride=2)
        self.eighth = ResidualBlock(eighth)
        self.down_sixteenth = conv(eighth, sixteenth, stride=2)
        self.sixteenth = nn.Sequential(ResidualBlock(sixteenth), nn.ReLU(), ResidualBlock(sixteenth))
        self.up_eighth = conv(sixteenth, 4 * eighth, kernel=1)
        self.up_quarter = conv(eighth, 4 * width, kernel=1)
        self.join = conv(width, width)
        self.weight, self.visible_gain, self.infrared_gain = (conv(width, pixels) for _ in range(3))
        for last in (self.weight, self.visible_gain, self.infrared_gain):
            nn.init.normal_(last.weight, std=1e-2)
        self.register_buffer("smoothing", smoothing(), persistent=False)

    def forward(self, visible: Tensor, infrared: Tensor, mask: Tensor) -> FusionParts:
        """Fuse images at full size, (N, 1, H, W) each."""
        return FusionParts(
            *(
                F.pixel_shuffle(x, CELL)
                for x in self.cells(*(F.pixel_unshuffle(x, CELL) for x in (visible, infrared, mask)))
            )
        )

    def cells(self, visible: Tensor, infrared: Tensor, mask: Tensor) -> FusionParts:
        """Fuse on the quarter grid, inputs and outputs (N, 16, H / 4, W / 4) each."""
        quarter = F.relu(self.stem(torch.cat([visible, infrared, mask], 1)))
        eighth = self.eighth(F.relu(self.down_eighth(quarter)))
        deep = self.sixteenth(F.relu(self.down_sixteenth(F.relu(eighth))))
        eighth = F.relu(eighth + F.pixel_shuffle(self.up_eighth(F.relu(deep)), 2))
        quarter = F.relu(quarter + F.pixel_shuffle(self.up_quarter(eighth), 2))
        joined = F.relu(self.join(quarter))
        weight = self.weight(joined).sigmoid()
        visible_gain, infrared_gain = (
            last(joined).sigmoid() * LARGEST_GAIN for last in (self.visible_gain, self.infrared_gain)
        )
        visible_base, infrared_base = self.base(visible), self.base(infrared)
        fused = (
            infrared_base
            + weight * (visible_base - infrared_base)
            + visible_gain * (visible - visible_base)
            + infrared_gain * (infrared - infrared_base)
        )
        return FusionParts(fused, weight, visible_gain, infrared_gain)

    def base(self, cells: Tensor) -> Tensor:
        """The smoothed image of `cells`, both (N, 16, h, w) on the quarter grid; the border is replicated."""
        means = F.pad(cells.mean(1, keepdim=True), [TAPS // 2] * 4, mode="replicate")
        return F.conv2d(means, self.smoothing)


def smoothing() -> Tensor:
    """Kernels (16, 1, 5, 5) from the means of 5x5 cells to the 16 pixels of the middle cell; each sums to 1.

    The means are smoothed by 1-2-1 along both axes, and interpolated linearly between the centres of cells.
    """
    rows = torch.zeros(CELL, TAPS)
    for pixel in range(CELL):
        place = TAPS // 2 + (pixel + 0.5) / CELL - 0.5
        low = int(place)
        for cell, share in ((low, 1 - (place - low)), (low + 1, place - low)):
            rows[pixel, cell - 1 : cell + 2] += share * torch.tensor([0.25, 0.5, 0.25])
    return torch.einsum("ia,jb->ijab", rows, rows).reshape(CELL * CELL, 1, TAPS, TAPS)
