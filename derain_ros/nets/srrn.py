"""The networks of paper 2: attention network A, coarse network C, and the semantic refinement residual network R.

The paper's figure shows their architecture but not their widths; 48 (A) and 64 (C and R) give the printed size. The
paper leaves some details open, which are chosen here: A is the full-resolution residual network FRRN-A; C and the
branches of R are the same U-Net with four halvings; C gives a residual that is added to the rainy image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 16
"""Height and width of an input must be multiples of this."""
BLOCKS = 2
"""Number of refinement blocks of R: the paper found that more blocks add little."""
LANE = 2 / 3
"""Channels of A's full-resolution stream, relative to those of the pooled stream's first level."""
MULTIPLES = (2, 4, 8, 8)
"""Widths of A's pooled stream from half the size to a sixteenth, relative to its first level."""


class Derained(NamedTuple):
    """Result of the cascade: A's map (N, 1, H, W), about 0..1; the images of C and of R's blocks, (N, 3, H, W) each.

    Nothing is clamped. Without R `refined` is empty.
    """

    attention: Tensor
    coarse: Tensor
    refined: tuple[Tensor, ...]

    @property
    def image(self) -> Tensor:
        """The result: R's last image, or C's without R."""
        return self.refined[-1] if self.refined else self.coarse


class TaskDriven(nn.Module):
    """The cascade A, C and, with `refine`, R: RGB images (N, 3, H, W) float in 0..1, H and W multiples of STRIDE.

    `units` are the numbers of residual units in A's pooled stream, from half the size to a sixteenth. On the way back,
    from an eighth to half the size, each level has as many again, but at most two.

    | attention, units | coarse | refine | parameters | GMAC at 256x256 |
    | --- | --- | --- | --- | --- |
    | 48; 3, 4, 2, 2 | 64 | 64 | 75.4 M | 222 |
    | 12; 1, 1, 1, 1 | 16 | 16 | 4.2 M | 12.8 |
    """

    def __init__(
        self,
        attention: int = 48,
        coarse: int = 64,
        refine: int = 64,
        units: tuple[int, ...] = (3, 4, 2, 2),
    ) -> None:
        super().__init__()
        self.attention = AttentionNetwork(attention, units)
        self.coarse = UNet(4, 3, coarse)
        self.refine = Refinement(refine) if refine else None

    def forward(self, rainy: Tensor) -> Derained:
        """Derain."""
        attention = self.attention(rainy)
        coarse = rainy + self.coarse(torch.cat([rainy, attention], 1))
        return Derained(attention, coarse, self.refine(coarse) if self.refine is not None else ())


class AttentionNetwork(nn.Module):
    """A: the map of rain. RGB images (N, 3, H, W) to a map (N, 1, H, W).

    A full-resolution residual network: one stream keeps the full size, the other is pooled; at each unit they exchange
    features.
    """

    def __init__(self, width: int, units: tuple[int, ...]) -> None:
        super().__init__()
        if len(units) != len(MULTIPLES) or min(units) < 1:
            raise ValueError(f"units must be {len(MULTIPLES)} numbers above 0, not {units}")
        lane = int(width * LANE)
        self.stem = _layer(3, width, 5)
        self.before = nn.Sequential(*(ResidualUnit(width) for _ in range(3)))
        self.to_lane = nn.Conv2d(width, lane, 1)
        levels = list(zip(range(1, len(MULTIPLES) + 1), MULTIPLES, units, strict=True))
        back = [(level, multiple // 2, min(count, 2)) for level, multiple, count in reversed(levels[:-1])]
        self.units = nn.ModuleList()
        inputs = width
        for level, multiple, count in [*levels, *back]:
            for _ in range(count):
                self.units.append(ExchangeUnit(inputs, width * multiple, lane, level))
                inputs = width * multiple
        self.join = nn.Conv2d(inputs + lane, width, 1)
        self.after = nn.Sequential(*(ResidualUnit(width) for _ in range(3)))
        self.map = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """The map, not clamped."""
        pooled = self.before(self.stem(image))
        lane = self.to_lane(pooled)
        at = 0
        for unit in self.units:
            assert isinstance(unit, ExchangeUnit)
            if unit.level != at:
                down = unit.level > at
                pooled = F.max_pool2d(pooled, 2) if down else _twice(pooled)
                at = unit.level
            pooled, lane = unit(pooled, lane)
        return self.map(self.after(self.join(torch.cat([_twice(pooled), lane], 1))))


class ExchangeUnit(nn.Module):
    """A full-resolution residual unit: the pooled stream reads the lane (full-size stream) and adds a residual to it.

    The pooled stream (N, inputs, h, w), at 1 / 2**level of the size, becomes (N, outputs, h, w); the lane (N, lane, H,
    W) keeps its shape.
    """

    def __init__(self, inputs: int, outputs: int, lane: int, level: int) -> None:
        super().__init__()
        self.level = level
        self.first, self.second = _layer(inputs + lane, outputs, 3), _layer(outputs, outputs, 3)
        self.to_lane = nn.Conv2d(outputs, lane, 1)

    def forward(self, pooled: Tensor, lane: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams after the unit."""
        factor = 2**self.level
        pooled = self.second(self.first(torch.cat([pooled, F.max_pool2d(lane, factor)], 1)))
        return pooled, lane + F.interpolate(self.to_lane(pooled), scale_factor=float(factor), mode="nearest")


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a skip: (N, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _layer(width, width, 3)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """The input plus its residual."""
        return x + self.second(self.first(x))


class UNet(nn.Module):
    """A U-Net with four halvings: (N, inputs, H, W) to (N, outputs, H, W); H and W multiples of 16.

    Widths are 1, 2, 4, 8 and 8 times `width`. The output is near 0 before training.
    """

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        widths = [width * multiple for multiple in (1, 2, 4, 8, 8)]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([inputs, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(
            _double(deep + skip, skip) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """The map at full size."""
        skips = []
        for level, layer in enumerate(self.down):
            x = layer(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for layer, skip in zip(self.up, skips[-2::-1], strict=True):
            x = layer(torch.cat([_twice(x), skip], 1))
        return self.last(x)


class RefinementBlock(nn.Module):
    """SRRB: a U-Net beside a full-resolution branch, (N, 3, H, W) to the same.

    The full-resolution branch has two convolutions with two residual blocks between them. The outputs of both branches
    are added to the image.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = UNet(3, 3, width)
        self.near = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), PlainBlock(width), PlainBlock(width))
        self.near_last = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.normal_(self.near_last.weight, std=1e-3)
        nn.init.zeros_(self.near_last.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """The refined image."""
        return image + self.wide(image) + self.near_last(self.near(image))


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with a skip, without normalisation: (N, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The input plus its residual."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Refinement(nn.Module):
    """R, the SRRN: BLOCKS refinement blocks in a row. (N, 3, H, W) to the image after each block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RefinementBlock(width) for _ in range(BLOCKS))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The image after each block."""
        images = []
        for block in self.blocks:
            image = block(image)
            images.append(image)
        return tuple(images)


def _layer(inputs: int, outputs: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


def _twice(x: Tensor) -> Tensor:
    """The map at twice its size, with bilinear interpolation."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")
