"""The fast restorer: paper 1's generator and enhancer, with their first and last layers at a quarter of the size.

The printed network spends a fifth of its operations at full resolution, at a third of the processor's peak. Here
the image is unshuffled by 4 (space to depth) at the start and shuffled back at the end. Between them are the paper's
parts: aggregation modules with skips, a residual trunk (at an eighth), a pyramid-pooling enhancer. No normalisation.

With `scale` 2 all of this works on the image at half its size, and `compose` brings the changes back to the full image:
the network sees twice as far at a quarter of the operations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 32
"""Height and width of an input must be multiples of this: the enhancer pools down to 1/32."""
RECONSTRUCTED = -0.85
"""Mask logit from which a pixel counts as reconstructed, a probability of 0.3. On training photographs, IoU is highest
there if drops cover a third of the view; with fewer drops, and with real ones, -0.2 would gain 0.02."""


class Restoration(NamedTuple):
    """Result of a restorer: the generated and the enhanced image, (N, C, H, W) each; mask logits, (N, 1, H, W)."""

    generated: Tensor
    restored: Tensor
    mask: Tensor


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A zero-padded convolution that keeps the size (or halves it with stride 2), He-initialised."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip, (N, width, h, w) to the same; initially the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        self.second = conv(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The input plus its residual."""
        return x + self.second(F.relu(self.first(x)))


class PyramidEnhancer(nn.Module):
    """Pyramid pooling at 1/4, 1/8, 1/16 and 1/32 of the image, with 1x1 convolutions, joined with the features.

    (N, inputs, h, w) at a quarter of the size to (N, outputs, h, w); h and w multiples of 8.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.front = nn.Sequential(conv(inputs, width), nn.ReLU(), conv(width, width), nn.ReLU())
        self.scales = nn.ModuleList(conv(width, width // 4, 1) for _ in range(4))
        self.last = conv(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The features of all scales, joined."""
        x = self.front(x)
        parts = [x]
        for level, scale in enumerate(self.scales):
            factor = 2**level
            pooled = F.relu(scale(F.avg_pool2d(x, factor) if factor > 1 else x))
            parts.append(F.interpolate(pooled, scale_factor=float(factor), mode="nearest") if factor > 1 else pooled)
        return self.last(torch.cat(parts, 1))


class FastRestorer(nn.Module):
    """Images (N, channels, H, W) float in 0..1, H and W multiples of 32 * `scale`, to `Restoration`.

    `deep` residual blocks of twice the width work at a sixteenth beside the trunk, where most of a drop is in sight;
    initially they have no effect. The residuals start near zero, so an untrained network nearly returns its input.
    """

    def __init__(self, channels: int = 3, width: int = 64, blocks: int = 9, scale: int = 1, deep: int = 0) -> None:
        super().__init__()
        self.channels, self.width, self.blocks, self.scale, self.deep = channels, width, blocks, scale, deep
        pixels, edge = 16 * channels, width // 2
        self.stem = conv(pixels, edge)
        self.aggregate_quarter = conv(pixels + edge, edge)
        self.down = conv(edge, width, stride=2)
        self.aggregate_eighth = conv(edge + width, width)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        if deep:
            self.sixteenth = nn.Sequential(
                conv(width, 2 * width, stride=2), nn.ReLU(), *(ResidualBlock(2 * width) for _ in range(deep))
            )
            self.from_sixteenth = conv(2 * width, 4 * width)
            nn.init.zeros_(self.from_sixteenth.weight)
        self.fuse_eighth = conv(2 * width, width)
        self.up = conv(width, 4 * edge)
        self.fuse_quarter = conv(2 * edge + pixels, edge)
        self.image = conv(edge, pixels)
        self.mask = conv(edge, 16)
        self.enhancer = PyramidEnhancer(2 * pixels, edge, pixels)
        for last in (self.image, self.enhancer.last):
            nn.init.normal_(last.weight, std=1e-3)

    def forward(self, image: Tensor) -> Restoration:
        """Restore; the results are not clamped, so that training sees the whole error."""
        if self.scale == 1:
            return self.restore(image)
        small = F.avg_pool2d(image, self.scale)
        return compose(image, small, self.restore(small), self.scale)

    def restore(self, image: Tensor) -> Restoration:
        """Restore at the network's own scale, H and W multiples of 32, as an exported model does."""
        pixels = F.pixel_unshuffle(image, 4)
        quarter = F.relu(self.stem(pixels))
        quarter = F.relu(self.aggregate_quarter(torch.cat([pixels, quarter], 1)))
        eighth = F.relu(self.down(quarter))
        eighth = F.relu(self.aggregate_eighth(torch.cat([F.avg_pool2d(quarter, 2), eighth], 1)))
        if self.deep:
            eighth = eighth + F.pixel_shuffle(self.from_sixteenth(self.sixteenth(eighth)), 2)
        deep = F.relu(self.fuse_eighth(torch.cat([self.trunk(eighth), eighth], 1)))
        up = F.relu(F.pixel_shuffle(self.up(deep), 2))
        up = F.relu(self.fuse_quarter(torch.cat([up, quarter, pixels], 1)))
        generated = pixels + self.image(up)
        restored = generated + self.enhancer(torch.cat([generated, pixels], 1))
        return Restoration(
            F.pixel_shuffle(generated, 4), F.pixel_shuffle(restored, 4), F.pixel_shuffle(self.mask(up), 4)
        )


def compose(image: Tensor, small: Tensor, out: Restoration, scale: int) -> Restoration:
    """Bring the restoration `out` of `small`, the mean of `scale` x `scale` pixels of `image`, to the full image.

    Outside the mask the change is added, so that the image keeps its detail. Under the mask the restored image replaces
    the detail, which belongs to the drop. `runtime.stages.scale.compose` does the same in eight bits.
    """

    def up(x: Tensor) -> Tensor:
        return F.interpolate(x.float(), scale_factor=float(scale), mode="bilinear")

    mask = up(out.mask.float().sigmoid())
    detail = image - up(small)

    def full(restored: Tensor) -> Tensor:
        return image + up(restored.float() - small) - mask * detail

    return Restoration(full(out.generated), full(out.restored), up(out.mask))
