"""Losses of paper 3: cleaning, fusion weighted by information, refinement."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from derain_ros.nets.fusionnet import Refined
from derain_ros.train.losses import ssim

INFORMATION = 3200.0 / (255 * 0.226) ** 2
"""c, by which the measured information is divided before the soft-max. The paper has 3200, for features of images in
0..255; ours get images in 0..1, divided by ImageNet's deviation of 0.226."""
SQUARES = 20.0
"""Weight of the squared error relative to 1 - SSIM, as printed."""
STRUCTURE = 0.2
"""Weight of 1 - SSIM relative to the mean absolute error in cleaning; the paper does not give it."""
FIDELITY = 1.5
"""Weight of the illumination's distance from the fused image relative to its roughness; the paper does not give it."""

Features = Callable[[Tensor], list[Tensor]]
"""Returns feature maps of images (N, 3, H, W) in 0..1, shallow ones first."""


def cleaning_loss(cleaned: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error and weighted 1 - SSIM of cleaned against clean images, (N, C, H, W) in 0..1; a scalar."""
    return (cleaned - clean).abs().mean() + STRUCTURE * (1 - ssim(cleaned, clean))


def information_weights(visible: Tensor, infrared: Tensor, features: Features | None) -> Tensor:
    """Return the weights (N, 2) of the sources (N, 1, H, W) in 0..1: the soft-max of their information.

    This is the mean squared gradient of a source's `features` over all maps, divided by INFORMATION. The weights sum to
    1; without features both are 0.5.
    """
    if features is None:
        return visible.new_full((len(visible), 2), 0.5)
    with torch.no_grad():
        measured = [
            torch.stack([_squared_gradient(found) for found in features(source.expand(-1, 3, -1, -1))]).mean(0)
            for source in (visible, infrared)
        ]
    return (torch.stack(measured, 1) / INFORMATION).softmax(1)


def _squared_gradient(maps: Tensor) -> Tensor:
    """Mean squared difference of neighbours along both axes, for each of (N, C, H, W) maps; (N,)."""
    return maps.diff(dim=2).square().mean((1, 2, 3)) + maps.diff(dim=3).square().mean((1, 2, 3))


def similarity_loss(fused: Tensor, visible: Tensor, infrared: Tensor, weights: Tensor) -> Tensor:
    """1 - SSIM and SQUARES times the squared error to both sources, by their weights (N, 2); a scalar."""
    losses = []
    for k, source in enumerate((visible, infrared)):
        structure = torch.stack([1 - ssim(f[None], s[None]) for f, s in zip(fused, source, strict=True)])
        squares = (fused - source).square().mean((1, 2, 3))
        losses.append((weights[:, k] * (structure + SQUARES * squares)).mean())
    return losses[0] + losses[1]


def refinement_loss(fused: Tensor, refined: Refined) -> Tensor:
    """Fidelity and smoothness of the illuminations of all steps; a scalar.

    They should be close to the fused image, and smooth where it is smooth.
    """
    edges = [torch.exp(-10 * fused.detach().diff(dim=dim).abs()) for dim in (2, 3)]
    losses = []
    for illumination in refined.illuminations:
        rough = sum((illumination.diff(dim=dim).abs() * even).mean() for dim, even in zip((2, 3), edges, strict=True))
        losses.append(FIDELITY * (illumination - fused.detach()).square().mean() + rough)
    return torch.stack(losses).mean()
