"""Counting a network's parameters and multiply-accumulates."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def parameters(net: nn.Module) -> int:
    """Number of parameters of `net`."""
    return sum(p.numel() for p in net.parameters())


@torch.no_grad()
def macs(net: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of the 2-D convolutions in one forward pass on `inputs`; the other layers are negligible.

    A transposed convolution is counted at its input size, without the products with the zeros between pixels.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        place = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += layer.weight.numel() * place.shape[0] * place.shape[2] * place.shape[3]

    hooks = [
        layer.register_forward_hook(count)
        for layer in net.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    try:
        net(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total
