"""The temporal filter: joins a restored frame with what the frames before it showed of the same scene.

Drops stay where they are on the glass while the scene moves behind them: what a drop hides now was seen a moment ago,
and what stands still while all else moves is on the glass. Two things are remembered, therefore: the last output, moved
along with the scene, and a memory of the glass, which is not. A restorer that sees single frames can have neither.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.nets.fast import conv
from derain_ros.runtime.stages.temporal import COARSE, SPREAD

CELL = 2
"""Pixels of the half-size images, along each side, to a cell of the network's grid."""
MEMORY = 4
"""Planes of the glass's memory."""
COVERED = -0.2
"""Mask logit from which a pixel counts as covered."""


class Weights(NamedTuple):
    """What the filter makes of a frame: `keep`, `recall` and `smooth` (N, 1, h, w) in 0..1, see `blend`; logits
    (N, 1, h, w) of what covers the glass; the glass's `memory` (N, MEMORY, h, w) in 0..1.
    """

    keep: Tensor
    recall: Tensor
    smooth: Tensor
    mask: Tensor
    memory: Tensor


class TemporalNet(nn.Module):
    """Says of each pixel whether the frame, its restoration or the moved last output shows the scene best, and where
    none of them is to be trusted but in the mean of its neighbours.

    It judges by luminance at half the size, so that it serves grey and colour at the cost of a small picture. About
    25 k parameters, 0.6 GMAC a frame of 720x540.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        pixels = CELL**2
        self.first = conv((5 + MEMORY) * pixels, width)
        self.second, self.third, self.fourth = (conv(width, width) for _ in range(3))
        self.gate, self.fresh = (conv(width, MEMORY * pixels, 1) for _ in range(2))
        self.last = conv(width + MEMORY * pixels, 4 * pixels, 1)
        nn.init.zeros_(self.last.weight)
        # Most of a picture is best left as it is, and free: where all were covered, no motion would be known.
        nn.init.constant_(self.last.bias[:pixels], 2.0)  # type: ignore[index]
        nn.init.constant_(self.last.bias[2 * pixels :], -2.0)  # type: ignore[index]

    def forward(self, planes: Tensor) -> Weights:
        """Planes (N, 5 + MEMORY, h, w) in 0..1, h and w multiples of CELL: the frame, its restoration, the last output
        moved to where the scene is now, the restorer's mask, what was seen of the last output, and the memory.

        Where there is no last output, the restoration takes its place, with nothing seen; memory is 0 at first.
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
    """The frame where it is kept; elsewhere the last output where it is recalled, or else the restoration: smoothed
    where neither is certain, so that what is not known holds no detail that is wrong.

    Images (N, 1, H, W), H and W multiples of COARSE; weights of the same size.
    """
    made_up = restored + recall * (previous - restored)
    made_up = made_up + smooth * (smoothed(made_up) - made_up)
    return made_up + keep * (frame - made_up)


def smoothed(image: Tensor) -> Tensor:
    """`image` (N, 1, H, W) without detail."""
    across = image.new_tensor(SPREAD)[None, None, None]
    coarse = F.pad(F.avg_pool2d(image, COARSE), (2, 2, 2, 2), "replicate")
    coarse = F.conv2d(F.conv2d(coarse, across), across.mT)
    return F.interpolate(coarse, scale_factor=float(COARSE), mode="bilinear")
