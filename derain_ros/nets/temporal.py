"""The network of the temporal filter: it joins a restored frame with the frames before it.

Drops stay in place on the lens while the scene moves behind them. What a drop hides now was visible a moment ago, and
what stands still while all else moves is on the lens. Therefore the filter keeps two states: the last output, which is
moved with the scene, and a memory of the lens, which is not. A restorer of single frames can have neither.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.nets.fast import conv
from derain_ros.runtime.stages.temporal import COARSE, SPREAD

CELL = 2
"""Side of a cell of the network's grid, in pixels of the half-size images."""
MEMORY = 4
"""Planes of the memory of the lens."""
COVERED = -0.2
"""Mask logit from which a pixel counts as covered."""


class Weights(NamedTuple):
    """Result of the network for one frame.

    `keep`, `recall` and `smooth`: weights (N, 1, h, w) in 0..1, see `blend`. `mask`: logits (N, 1, h, w) of what covers
    the lens. `memory` of the lens: (N, MEMORY, h, w) in 0..1.
    """

    keep: Tensor
    recall: Tensor
    smooth: Tensor
    mask: Tensor
    memory: Tensor


class TemporalNet(nn.Module):
    """Predicts for each pixel whether the frame, its restoration or the moved last output shows the scene best.

    It also predicts where none of them can be trusted, so that the image must be smoothed. The inputs are luminance at
    half the size, so one network serves grey and colour at the cost of a small image. About 25 k parameters, 0.6 GMAC a
    frame of 720x540.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        pixels = CELL**2
        self.first = conv((5 + MEMORY) * pixels, width)
        self.second, self.third, self.fourth = (conv(width, width) for _ in range(3))
        self.gate, self.fresh = (conv(width, MEMORY * pixels, 1) for _ in range(2))
        self.last = conv(width + MEMORY * pixels, 4 * pixels, 1)
        nn.init.zeros_(self.last.weight)
        # Initially most pixels are kept and count as free: if all were covered, no motion would be known.
        nn.init.constant_(self.last.bias[:pixels], 2.0)  # type: ignore[index]
        nn.init.constant_(self.last.bias[2 * pixels :], -2.0)  # type: ignore[index]

    def forward(self, planes: Tensor) -> Weights:
        """Planes (N, 5 + MEMORY, h, w) in 0..1 to `Weights`; h and w are multiples of CELL.

        The planes are: the frame, its restoration, the last output moved to where the scene is now, the restorer's
        mask, the part of the last output that was in sight, and the memory. Without a last output, the restoration
        takes its place, with nothing in sight; the memory is 0 at first.
        """
        x = F.relu(self.first(F.pixel_unshuffle(planes, CELL)))
        x = x + F.relu(self.third(F.relu(self.second(x))))
        x = F.relu(self.fourth(x))
        memory = F.pixel_unshuffle(planes[:, 5:], CELL)
        memory = memory + torch.sigmoid(self.gate(x)) * (torch.sigmoid(self.fresh(x)) - memory)
        keep, recall, smooth, mask = F.pixel_shuffle(self.last(torch.cat([x, memory], 1)), CELL).chunk(4, 1)
        return Weights(
            torch.sigmoid(keep), torch.sigmoid(recall), torch.sigmoid(smooth), mask, F.pixel_shuffle(memory, CELL)
        )


def blend(keep: Tensor, recall: Tensor, smooth: Tensor, frame: Tensor, restored: Tensor, previous: Tensor) -> Tensor:
    """The frame where it is kept; elsewhere the last output where it is recalled, otherwise the restoration.

    The last two are smoothed where neither is certain, so that unknown parts contain no wrong detail. Images (N, 1, H,
    W), H and W multiples of COARSE; weights of the same size.
    """
    made_up = restored + recall * (previous - restored)
    made_up = made_up + smooth * (smoothed(made_up) - made_up)
    return made_up + keep * (frame - made_up)


def smoothed(image: Tensor) -> Tensor:
    """`image` (N, 1, H, W), H and W multiples of COARSE, without detail."""
    across = image.new_tensor(SPREAD)[None, None, None]
    coarse = F.pad(F.avg_pool2d(image, COARSE), (2, 2, 2, 2), "replicate")
    coarse = F.conv2d(F.conv2d(coarse, across), across.mT)
    return F.interpolate(coarse, scale_factor=float(COARSE), mode="bilinear")
