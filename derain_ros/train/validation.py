"""Validation of a restorer on held-out images: figures, and samples to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from derain_ros.data.samples import Pair
from derain_ros.nets.fast import RECONSTRUCTED, STRIDE
from derain_ros.train.losses import psnr, ssim

SHOWN = 4
"""Number of pairs that samples are kept of."""
SHOWN_SIDE = 256
"""Side in pixels of a sample: the upper left corner of the image."""


@dataclass(frozen=True)
class ValidationSet:
    """Held-out images: pairs, and clean photographs that must stay unchanged."""

    real: Sequence[Pair]
    clean: Sequence[np.ndarray]


def as_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


def restore(net: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Restore (1, 3, H, W) in 0..1, of any size.

    Returns the image, clamped, and where it was reconstructed, (H, W) bool.
    """
    height, width = image.shape[2:]
    stride = STRIDE * getattr(net, "scale", 1)
    beyond = (0, -width % stride, 0, -height % stride)
    out = net(F.pad(image, beyond, mode="replicate"))
    return out.restored[..., :height, :width].float().clamp(0, 1), out.mask[0, 0, :height, :width] > RECONSTRUCTED


@torch.no_grad()
def validate(net: nn.Module, images: ValidationSet) -> tuple[dict[str, float], Tensor]:
    """Return PSNR (dB) and SSIM of input and output, IoU of the mask, and PSNR of restored clean images.

    Also returns samples, (3, height, width) in 0..1: rows of a pair's wet, restored and clean image.
    """
    net.eval()
    device = next(net.parameters()).device
    rows: list[list[float]] = []
    shown: list[Tensor] = []
    for pair in images.real:
        wet, clean = as_tensor(pair.wet).to(device), as_tensor(pair.clean).to(device)
        restored, found = restore(net, wet)
        true = torch.from_numpy(pair.mask).to(device) > 0
        overlap = (found & true).sum() / (found | true).sum().clamp_min(1)
        rows.append(
            [
                float(x)
                for x in (psnr(wet, clean), ssim(wet, clean), psnr(restored, clean), ssim(restored, clean), overlap)
            ]
        )
        if len(shown) < SHOWN:
            row = torch.cat([x[0, :, :SHOWN_SIDE, :SHOWN_SIDE] for x in (wet, restored, clean)], 2)
            shown.append(F.pad(row, (0, 3 * SHOWN_SIDE - row.shape[2], 0, SHOWN_SIDE - row.shape[1])).cpu())
    kept = [float(psnr(restore(net, as_tensor(c).to(device))[0], as_tensor(c).to(device))) for c in images.clean]
    net.train()
    names = ("input_psnr", "input_ssim", "psnr", "ssim", "mask_iou")
    figures = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
    return figures | {"clean_psnr": float(np.mean(kept))}, torch.cat(shown, 1)
