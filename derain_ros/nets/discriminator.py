"""The patch discriminator of paper 1: judges 14x14 patches of an image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.nets.printed import draw_weights

RECEPTIVE_FIELD = 14
"""Side in pixels of the patch that one judgement sees."""


class Discriminator(nn.Module):
    """Images (N, channels, H, W) float in 0..1, H and W at least 16, to the maps of its three convolutions.

    Kernels of 4, 4 and 2 pixels, strides 2, 2 and 1: the paper prints their number and the patch only. The last map,
    (N, 1, h, w), is the judgement of each patch, towards 1 for real ones and 0 for restored ones; the two before it
    are the features to match. 0.135 M parameters with three channels. No padding, so that every judgement sees a whole
    patch, and no normalisation, so that it sees nothing else.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 64, 4, 2)
        self.second = nn.Conv2d(64, 128, 4, 2)
        self.judge = nn.Conv2d(128, 1, 2)
        self.apply(draw_weights)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The features of both hidden layers, and the judgements."""
        first = F.leaky_relu(self.first(image * 2 - 1), 0.2)
        second = F.leaky_relu(self.second(first), 0.2)
        return [first, second, self.judge(second)]
