"""The patch discriminator of paper 1: judges 14x14 patches of an image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.nets.printed import draw_weights

RECEPTIVE_FIELD = 14
"""Side in pixels of the patch that one output value sees."""


class Discriminator(nn.Module):
    """Images (N, channels, H, W) float in 0..1, H and W at least 14, to the maps of its three convolutions.

    Kernels of 4, 4 and 2 pixels, strides 2, 2 and 1: the paper prints only the number of convolutions and the patch.
    The last map, (N, 1, h, w), has a score for each patch, near 1 for real and near 0 for restored ones; the two maps
    before it are the features to match. 0.135 M parameters with three channels. Without padding each score sees a whole
    patch, and without normalisation it sees nothing else.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 64, 4, 2)
        self.second = nn.Conv2d(64, 128, 4, 2)
        self.judge = nn.Conv2d(128, 1, 2)
        self.apply(draw_weights)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The features of both hidden layers, and the scores."""
        first = F.leaky_relu(self.first(image * 2 - 1), 0.2)
        second = F.leaky_relu(self.second(first), 0.2)
        return [first, second, self.judge(second)]
