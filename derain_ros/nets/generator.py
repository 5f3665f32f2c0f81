"""Paper 1's generator: two halvings, nine residual blocks at a quarter of the size, a decoder that mirrors them.

With aggregation, each stage is followed by a module that joins the stage's resampled input with its output; in the
decoder these modules also take the encoder's features and the image as skips. The paper names neither normalisation nor
activation. Here they are batch normalisation, which its initial weights need and which folds into the convolutions, and
ReLU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class GeneratorStage(nn.Module):
    """A 3x3 convolution, batch normalisation, ReLU: (N, inputs, h, w) to (N, outputs, h, w).

    `resize` 2 doubles h and w by a transposed convolution, -2 halves them, 1 keeps them; `last` omits the ReLU.
    """

    def __init__(self, inputs: int, outputs: int, resize: int = 1, last: bool = False) -> None:
        super().__init__()
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if resize == 2:
            self.conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1, bias=False)
        else:
            self.conv = nn.Conv2d(inputs, outputs, 3, 2 if resize == -2 else 1, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """The features of the stage."""
        x = self.norm(self.conv(x))
        return x if self.last else F.relu(x)

    def fold(self) -> None:
        """Fold the normalisation into the convolution, in place; sets both to evaluation mode."""
        if isinstance(self.norm, nn.BatchNorm2d):
            transposed = isinstance(self.conv, nn.ConvTranspose2d)
            self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval(), transposed)
            self.norm = nn.Identity()


class GeneratorBlock(nn.Module):
    """Two stages with a skip, (N, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = GeneratorStage(width, width), GeneratorStage(width, width, last=True)

    def forward(self, x: Tensor) -> Tensor:
        """The input plus its residual."""
        return x + self.second(self.first(x))


class Generator(nn.Module):
    """Images (N, channels, H, W) in -1..1, H and W multiples of 4, to generated images and features (N, 16, H, W).

    0.71 M parameters and 8.9 GMAC at 540x360 with three channels; with `aggregation` 0.77 M and 12.2 GMAC.
    """

    def __init__(self, channels: int = 3, aggregation: bool = True) -> None:
        super().__init__()
        self.aggregation = aggregation
        self.down_half = GeneratorStage(channels, 16, -2)
        self.down_quarter = GeneratorStage(16, 32, -2)
        self.trunk = nn.Sequential(GeneratorStage(32, 64), *(GeneratorBlock(64) for _ in range(9)))
        self.up_half = GeneratorStage(64, 32, 2)
        self.up_full = GeneratorStage(32, 16, 2)
        self.image = nn.Conv2d(16, channels, 3, 1, 1)
        if aggregation:
            self.join_half = GeneratorStage(channels + 16, 16)
            self.join_quarter = GeneratorStage(16 + 32, 32)
            self.join_up_half = GeneratorStage(64 + 32 + 16, 32)
            self.join_up_full = GeneratorStage(32 + 16 + channels, 16)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The generated image, in -1..1 by a hyperbolic tangent as in Pix2PixHD, and the last features before it."""
        half = self.down_half(image)
        if self.aggregation:
            half = self.join_half(torch.cat([F.avg_pool2d(image, 2), half], 1))
        quarter = self.down_quarter(half)
        if self.aggregation:
            quarter = self.join_quarter(torch.cat([F.avg_pool2d(half, 2), quarter], 1))
        deep = self.trunk(quarter)
        up = self.up_half(deep)
        if self.aggregation:
            up = self.join_up_half(torch.cat([_double(deep), up, half], 1))
        full = self.up_full(up)
        if self.aggregation:
            full = self.join_up_full(torch.cat([_double(up), full, image], 1))
        return torch.tanh(self.image(full)), full


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
