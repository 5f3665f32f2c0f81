"""Losses of the restorers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from derain_ros.nets.fast import Restoration


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of (N, C, H, W) images in 0..1, with a Gaussian window of 11 pixels, sigma 1.5; a scalar."""
    rows, columns = (_window(size, a) for size in a.shape[-2:])

    def blur(x: Tensor) -> Tensor:
        return rows @ x @ columns.T

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return (similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def _window(size: int, like: Tensor) -> Tensor:
    """Matrix (size - 10, size) of a line's Gaussian means: matrix products are faster than convolutions here."""
    offsets = torch.arange(size, device=like.device) - torch.arange(size - 10, device=like.device)[:, None] - 5
    window = torch.exp(-(offsets.to(like.dtype) ** 2) / (2 * 1.5**2)) * (offsets.abs() <= 5)
    return window / window.sum(1, keepdim=True)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """PSNR in dB of each of (N, C, H, W) images in 0..1; (N,)."""
    return -10 * torch.log10(((a - b) ** 2).mean(dim=(1, 2, 3)).clamp_min(1e-10))


def restoration_loss(out: Restoration, clean: Tensor, mask: Tensor, mask_weight: float) -> Tensor:
    """L1 and squared error of both outputs, 1 - SSIM of the restored one, and the mask's loss, weighted; a scalar.

    SSIM is that of the mean over the channels.
    """
    restored, generated = out.restored.float(), out.generated.float()
    fidelity = sum(
        ((x - clean).abs().mean() + 2 * F.mse_loss(x, clean) for x in (generated, restored)),
        start=torch.zeros((), device=clean.device),
    )
    structure = 1 - ssim(restored.mean(1, keepdim=True), clean.mean(1, keepdim=True))
    return fidelity + 0.3 * structure + mask_weight * mask_loss(out.mask.float(), mask)


def mask_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy of the mask, and 1 - IoU: the mean alone hardly counts the few pixels of small drops.

    The IoU is over all images together; each of several devices uses its own.
    """
    return F.binary_cross_entropy_with_logits(logits, mask) + 0.5 * (1 - overlap(logits.sigmoid(), mask))


def overlap(found: Tensor, true: Tensor) -> Tensor:
    """IoU of two masks of the same shape with values in 0..1, over the whole batch; a scalar in 0..1."""
    both = (found * true).sum()
    return (both + 1.0) / (found.sum() + true.sum() - both + 1.0)
