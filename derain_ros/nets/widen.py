"""A wider network that begins by doing what a narrower one does (Net2Net, Chen et al., ICLR 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from derain_ros.nets.fast import FastRestorer

NOISE = 0.05
"""Standard deviation of what is added to copied weights, as a share of theirs: copies must learn different things."""


def widen(net: FastRestorer, weights: Mapping[str, Tensor], seed: int = 0) -> None:
    """Give `net` the `weights` of a FastRestorer that is narrower by a whole factor and has as many blocks or fewer.

    Each filter is copied; what takes a filter's output takes the copies' in random shares that add up to one. Blocks
    that the narrower network lacks stay the identity. ValueError where the widths or the colours do not fit.
    """
    narrow, pixels = 2 * weights["stem.weight"].shape[0], weights["stem.weight"].shape[1]
    if net.width % narrow or pixels != 16 * net.channels:
        raise ValueError(f"a network {net.width} wide for {net.channels} channels cannot begin as one {narrow} wide "
                         f"for {pixels // 16}")
    random = torch.Generator().manual_seed(seed)
    factor, edge, width = net.width // narrow, narrow // 2, narrow
    inputs = {"stem": [-pixels], "aggregate_quarter": [-pixels, edge], "down": [edge],
              "aggregate_eighth": [edge, width], "fuse_eighth": [width, width], "up": [width],
              "fuse_quarter": [edge, edge, -pixels], "image": [edge], "mask": [edge],
              "enhancer.front.0": [-pixels, -pixels], "enhancer.last": [edge] + 4 * [edge // 4]}
    kept = ("image", "mask", "enhancer.last")
    state = net.state_dict()
    for name in {name.rpartition(".")[0] for name in weights}:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        parts: list[Tensor] = []
        shares: list[Tensor] = []
        first = 0
        # Groups of inputs, in order; negative ones are the image's own, which are as many in both.
        for size in inputs.get(name, [weight.shape[1]]):
            group = torch.arange(first, first + abs(size))
            first += abs(size)
            if size < 0:
                parts, shares = [*parts, group], [*shares, torch.ones(len(group))]
                continue
            share = torch.rand(factor, size, generator=random) + 0.5
            parts, shares = [*parts, group.repeat(factor)], [*shares, (share / share.sum(0)).flatten()]
        weight = weight[:, torch.cat(parts)] * torch.cat(shares)[None, :, None, None]
        if name not in kept:
            copies = torch.arange(len(bias)).repeat(factor)
            weight, bias = weight[copies], bias[copies]
        weight = weight + NOISE * weight.std() * torch.randn(weight.shape, generator=random)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    net.load_state_dict(state)
