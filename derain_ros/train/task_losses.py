"""Losses (1) to (4) of paper 2; (5) is the sum of (1) and (2), (6) that of (3) and (4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from derain_ros.data.samples import LUMA
from derain_ros.nets.segmentation import Maps
from derain_ros.train.losses import ssim

THRESHOLD = 5 / 255
"""Difference in grey above which a pixel counts as rainy."""
ALPHA = 0.85
"""Weight of 1 - SSIM in (2); the rest is that of the absolute difference."""
STEP = 0.5
"""Weight of the images before the last in (3)."""
LOW = 0.1
"""Weight of the backbone's last map in (4)."""


def rainy_pixels(rainy: Tensor, clean: Tensor) -> Tensor:
    """The target of the attention network: 1 where the grey images differ by more than THRESHOLD, else 0.

    `rainy` and `clean` are (N, 3, H, W) in 0..1; returns (N, 1, H, W).
    """
    luma = rainy.new_tensor(LUMA).view(1, 3, 1, 1)
    return (((rainy - clean) * luma).sum(1, keepdim=True).abs() > THRESHOLD).to(rainy.dtype)


def attention_loss(attention: Tensor, rainy: Tensor, clean: Tensor) -> Tensor:
    """(1): the mean squared error of the attention map (N, 1, H, W)."""
    return F.mse_loss(attention, rainy_pixels(rainy, clean))


def image_loss(image: Tensor, clean: Tensor) -> Tensor:
    """(2): ALPHA times 1 - SSIM, plus (1 - ALPHA) times the mean absolute difference; images (N, 3, H, W)."""
    return ALPHA * (1 - ssim(image, clean)) + (1 - ALPHA) * (image - clean).abs().mean()


def refinement_loss(refined: Sequence[Tensor], clean: Tensor) -> Tensor:
    """(3): STEP times the mean squared errors of all refined images but the last, plus (2) of the last."""
    before = sum((F.mse_loss(image, clean) for image in refined[:-1]), start=clean.new_zeros(()))
    return STEP * before + image_loss(refined[-1], clean)


def semantic_loss(maps: Maps, clean: Maps) -> Tensor:
    """(4): the mean absolute difference of the pyramid's five maps, plus LOW times that of the backbone's last.

    `clean` are the maps of the clean images; they get no gradient.
    """
    differences = [(mine - goal.detach()).abs().mean() for mine, goal in zip(maps.aspp, clean.aspp, strict=True)]
    return torch.stack(differences).mean() + LOW * (maps.last - clean.last.detach()).abs().mean()
