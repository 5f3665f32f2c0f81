"""CleanNet of paper 3, a U-shaped transformer that cleans night images: three halvings, three doublings.

Attention is between channels, so its cost is linear in the number of pixels, not quadratic. The paper's architecture is
that of Restormer. The paper leaves some details open, which are chosen here: levels joined by a 1x1 convolution, layer
normalisation over the channels of each pixel, equal initial weights of the attention maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KEPT = (1 / 2, 2 / 3, 3 / 4, 4 / 5)
"""Shares of each row of an attention map that are kept (its largest entries); learnt weights mix the maps."""
EXPANSION = 2.66
"""Channels inside a feed-forward part, relative to those outside."""
STEPS = 4
"""Number of steps in a mixture of experts."""


class CleanNet(nn.Module):
    """Images (N, channels, H, W) float in 0..1, H and W multiples of 8, to cleaned ones of that shape, not clamped.

    `width` is the width of the first level, an even number. Width and attention heads double from level to level.

    | width | blocks | parameters | GMAC at 640x480 |
    | --- | --- | --- | --- |
    | 48 | 4, 6, 6, 8, as printed | 32.43 M | 657 |
    | 16 | 1, 1, 1, 2 | 1.30 M | 36 |
    """

    def __init__(self, channels: int = 3, width: int = 48, blocks: tuple[int, ...] = (4, 6, 6, 8)) -> None:
        super().__init__()
        widths = [width << level for level in range(len(blocks))]
        self.embed = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.before, self.after = Experts(width), Experts(width)
        self.encoder = nn.ModuleList(_level(w, level, blocks[level]) for level, w in enumerate(widths))
        self.shrink = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, w // 2, 3, 1, 1, bias=False), nn.PixelUnshuffle(2)) for w in widths[:-1]
        )
        self.grow = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * w, 4 * w, 3, 1, 1, bias=False), nn.PixelShuffle(2)) for w in widths[:-1]
        )
        self.join = nn.ModuleList(nn.Conv2d(2 * w, w, 1, bias=False) for w in widths[:-1])
        self.decoder = nn.ModuleList(_level(w, level, blocks[level]) for level, w in enumerate(widths[:-1]))
        self.image = nn.Conv2d(width, channels, 3, 1, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """The image plus the predicted correction."""
        x = self.before(self.embed(image))
        skips = []
        for level, shrink in zip(self.encoder, self.shrink, strict=False):
            skips.append(level(x))
            x = shrink(skips[-1])
        x = self.encoder[-1](x)
        for k in reversed(range(len(skips))):
            x = self.decoder[k](self.join[k](torch.cat([self.grow[k](x), skips[k]], 1)))
        return image + self.image(self.after(x))


def _level(width: int, level: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, 2**level) for _ in range(blocks)))


class Block(nn.Module):
    """Attention and a feed-forward part, each normalised before and with a skip: (N, width, h, w) to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention, self.attention = PixelNorm(width), TopAttention(width, heads)
        self.norm_forward, self.feed_forward = PixelNorm(width), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """The input plus both parts."""
        x = x + self.attention(self.norm_attention(x))
        return x + self.feed_forward(self.norm_forward(x))


class PixelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, (N, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise to mean 0 and variance 1, then apply the scale and offset of each channel."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TopAttention(nn.Module):
    """Attention between channels in which only the largest entries count: (N, width, h, w) to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.spread = nn.Conv2d(3 * width, 3 * width, 3, 1, 1, groups=3 * width, bias=False)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.mix = nn.Parameter(torch.full((len(KEPT),), 1 / len(KEPT)))
        self.out = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The channels of each head as weighted sums of its values."""
        n, width, h, w = x.shape
        each = width // self.heads
        query, key, value = self.spread(self.project(x)).reshape(n, 3, self.heads, each, h * w).unbind(1)
        scores = (F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-1, -2)) * self.temperature
        largest = scores.topk(max(1, int(each * KEPT[-1])), dim=-1).values
        attention = torch.zeros_like(scores)
        for weight, share in zip(self.mix.unbind(), KEPT, strict=True):
            last = largest[..., max(1, int(each * share)) - 1, None]
            attention = attention + weight * scores.masked_fill(scores < last, float("-inf")).softmax(dim=-1)
        return self.out((attention @ value).reshape(n, width, h, w))


class FeedForward(nn.Module):
    """Two depth-wise paths, 3x3 and 5x5, that exchange half of their channels: (N, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = int(width * EXPANSION)
        self.project = nn.Conv2d(width, 2 * inner, 1, bias=False)
        self.small = nn.Conv2d(2 * inner, 2 * inner, 3, 1, 1, groups=2 * inner, bias=False)
        self.large = nn.Conv2d(2 * inner, 2 * inner, 5, 1, 2, groups=2 * inner, bias=False)
        self.small_mixed = nn.Conv2d(2 * inner, inner, 3, 1, 1, groups=inner, bias=False)
        self.large_mixed = nn.Conv2d(2 * inner, inner, 5, 1, 2, groups=inner, bias=False)
        self.out = nn.Conv2d(2 * inner, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The joined output of both paths."""
        x = self.project(x)
        small, large = F.relu(self.small(x)).chunk(2, 1), F.relu(self.large(x)).chunk(2, 1)
        first = F.relu(self.small_mixed(torch.cat([small[0], large[0]], 1)))
        second = F.relu(self.large_mixed(torch.cat([small[1], large[1]], 1)))
        return self.out(torch.cat([first, second], 1))


class Experts(nn.Module):
    """Four steps, each a mixture of eight experts; the weights depend on the whole image.

    (N, width, h, w) to the same. The mean of each channel goes through two linear layers, which give the weights of all
    steps at once; the weights of a step sum to 1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(ExpertStep(width) for _ in range(STEPS))
        choices = STEPS * ExpertStep.EXPERTS
        self.guide = nn.Sequential(nn.Linear(width, 2 * choices), nn.ReLU(), nn.Linear(2 * choices, choices))

    def forward(self, x: Tensor) -> Tensor:
        """The features after all steps."""
        weights = self.guide(x.mean((2, 3))).unflatten(1, (STEPS, ExpertStep.EXPERTS)).softmax(dim=-1)
        for k, step in enumerate(self.steps):
            x = step(x, weights[:, k])
        return x


class ExpertStep(nn.Module):
    """Parallel experts, each multiplied by its weight, joined by a 1x1 convolution, with a skip."""

    EXPERTS = 8

    def __init__(self, width: int) -> None:
        super().__init__()
        separable = [
            nn.Sequential(_depth_wise(width, side, 1), nn.Conv2d(width, width, 1, bias=False)) for side in (1, 3, 5, 7)
        ]
        dilated = [_depth_wise(width, side, 2) for side in (3, 5, 7)]
        self.experts = nn.ModuleList([*separable, *dilated, nn.AvgPool2d(3, 1, 1, count_include_pad=False)])
        self.join = nn.Conv2d(self.EXPERTS * width, width, 1, bias=False)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """`x` (N, width, h, w) and the experts' `weights` (N, 8) to features of the same shape."""
        answers = [expert(x) * weights[:, k, None, None, None] for k, expert in enumerate(self.experts)]
        return x + self.join(F.relu(torch.cat(answers, 1)))


def _depth_wise(width: int, side: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, side, 1, dilation * (side // 2), dilation, groups=width, bias=False)
