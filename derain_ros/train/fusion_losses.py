"""What a fused image is trained by: edges and information of both sources, a base from where something is to be seen.

Images are (N, 1, H, W) float in 0..1. `trust` of the same form says how far each pixel of the visible image counts: 1,
and 0 where a drop hides it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

WHITE = 255.0
NOISE = 2.0
"""Variance of the eye's noise in the information that passes, in squared grey levels."""
NEAR = 9
"""Side in pixels of the window that smooths to the base, and in which the infrared image is flat or not."""
DARKER = 0.25
"""Share of the base that the darker source has: half way between the mean of both and the brighter one. A share that
follows contrast makes halos: a bright sky turned dark but for a rim along the roofs."""
FLAT = 3.0
"""Standard deviation in grey levels of what counts as flat: the noise of a sensor."""
LEAST = 1e-6


class FusionLosses(NamedTuple):
    """Means over the batch, all to be made small.

    `edges`: 1 less how well edges are kept (Qabf; inverted edges count as lost); `information`: 2 less what passes of
    both sources (VIF); `gradient`: distance to the stronger source's gradient; `base`: that of the smoothed image to
    a mean of the sources in which the brighter one weighs more; `flat`: the infrared gain where the infrared image is
    flat; `correlation`: of the fused image with its sources, 1 less the mean, and of differences (SCD), 2 less the sum.
    """

    edges: Tensor
    information: Tensor
    gradient: Tensor
    base: Tensor
    flat: Tensor
    correlation: Tensor


def fusion_losses(
    fused: Tensor, infrared_gain: Tensor, visible: Tensor, infrared: Tensor, trust: Tensor
) -> FusionLosses:
    """The losses of `fused`, made with the gain of infrared details, of the sources as they should be."""
    return FusionLosses(
        1 - edge_preservation(fused, visible, infrared, trust).mean(),
        2 - fidelity(fused, visible, trust).mean() - fidelity(fused, infrared).mean(),
        _gradient(fused, visible, infrared, trust),
        _base(fused, visible, infrared),
        _flat(infrared_gain, infrared),
        _correlation(fused, visible, infrared, trust),
    )


def edge_preservation(fused: Tensor, visible: Tensor, infrared: Tensor, trust: Tensor) -> Tensor:
    """How well strength and direction of the sources' edges are kept, (N,) in 0..1: Qabf of Xydeas and Petrovic 2000,
    but that directions have a sign and the image's border is no edge."""
    x, y = sobel(fused)
    strength = _length(x, y)
    kept, weights = torch.zeros_like(strength), torch.zeros_like(strength)
    for source, counts in ((visible, trust), (infrared, torch.ones_like(trust))):
        source_x, source_y = sobel(source)
        source_strength = _length(source_x, source_y)
        ratio = torch.minimum(strength, source_strength) / torch.maximum(strength, source_strength)
        turn = torch.atan2((x * source_y - y * source_x).abs() + LEAST**2, x * source_x + y * source_y)
        likeness = 1 - turn / (torch.pi / 2)
        weight = source_strength * counts
        found = 0.9994 * torch.sigmoid(15 * (ratio - 0.5)) * 0.9879 * torch.sigmoid(22 * (likeness - 0.8))
        kept = kept + weight * found
        weights = weights + weight
    return kept.sum((1, 2, 3)) / (weights.sum((1, 2, 3)) + LEAST)


def fidelity(fused: Tensor, source: Tensor, trust: Tensor | None = None) -> Tensor:
    """Information that passes from the source into the fused image over what it holds, (N,): VIF of Sheikh and Bovik
    2006 in the domain of pixels, windows weighted by `trust`."""
    a, b = source * WHITE, fused * WHITE
    weight = torch.ones_like(a) if trust is None else trust
    passed = held = torch.zeros(len(a), device=a.device)
    for scale in range(4):
        side = 2 ** (4 - scale) + 1
        if scale:
            a, b, weight = (_gaussian(image, side)[..., ::2, ::2] for image in (a, b, weight))
        mean_a, square_a, counts = _gaussian(torch.cat([a, a * a, weight], 1), side).split(1, 1)
        mean_b, square_b, product = _gaussian(torch.cat([b, b * b, a * b], 1), side).split(1, 1)
        var_a, var_b = (square_a - mean_a**2).clamp(min=0), (square_b - mean_b**2).clamp(min=0)
        covariance = product - mean_a * mean_b
        gain = (covariance / (var_a + 1e-3)).clamp(min=0)
        noise = (var_b - gain * covariance).clamp(min=0)
        passed = passed + (counts * torch.log1p(gain**2 * var_a / (noise + NOISE))).sum((1, 2, 3))
        held = held + (counts * torch.log1p(var_a / NOISE)).sum((1, 2, 3))
    # Of a source that shows next to nothing, next to nothing is asked.
    return passed / (held + 0.05 * fused[0].numel())


def _gradient(fused: Tensor, visible: Tensor, infrared: Tensor, trust: Tensor) -> Tensor:
    visible_x, visible_y = (d * trust for d in sobel(visible))
    infrared_x, infrared_y = sobel(infrared)
    stronger = _length(visible_x, visible_y) > _length(infrared_x, infrared_y)
    x, y = sobel(fused)
    return (x - torch.where(stronger, visible_x, infrared_x)).abs().mean() + (
        y - torch.where(stronger, visible_y, infrared_y)
    ).abs().mean()


def _base(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    # Behind drops, too, or each would leave a patch as dark as the infrared image is: what they hide is detail.
    low, low_visible, low_infrared = (_mean(image, NEAR) for image in (fused, visible, infrared))
    share = DARKER + (1 - 2 * DARKER) * torch.sigmoid((low_visible - low_infrared) * 20)
    # Infrared that is too bright to show anything says nothing about the day.
    saturated = ((low_infrared - 0.85) * 10).clamp(0, 1) * _flatness(infrared)
    share = share + (1 - share) * saturated
    return (low - share * low_visible - (1 - share) * low_infrared).abs().mean()


def _flat(gain: Tensor, infrared: Tensor) -> Tensor:
    return (gain**2 * _flatness(infrared)).mean()


def _flatness(infrared: Tensor) -> Tensor:
    """1 where the infrared image shows nothing but its noise, down to 0."""
    return torch.exp(-((_deviation(infrared, NEAR) * WHITE / FLAT) ** 2))


def _correlation(fused: Tensor, visible: Tensor, infrared: Tensor, trust: Tensor) -> Tensor:
    # Where the visible image is hidden, its place is taken by what is there in its stead.
    visible = trust * visible + (1 - trust) * fused.detach()
    with_both = _correlated(fused, visible) + _correlated(fused, infrared)
    differences = _correlated(fused - infrared, visible) + _correlated(fused - visible, infrared)
    return (1 - with_both / 2 + 2 - differences).mean()


def _correlated(a: Tensor, b: Tensor) -> Tensor:
    a, b = (image - image.mean((1, 2, 3), keepdim=True) for image in (a, b))
    return (a * b).mean((1, 2, 3)) / ((a * a).mean((1, 2, 3)) * (b * b).mean((1, 2, 3)) + LEAST).sqrt()


def sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences along x and along y; at the border those of the inner pixels beside it."""
    image = F.pad(image, [1, 1, 1, 1], mode="replicate")
    across, down = image[..., 2:] - image[..., :-2], image[..., 2:, :] - image[..., :-2, :]
    return (
        across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
        down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
    )


def _length(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y + LEAST).sqrt()


def _gaussian(images: Tensor, side: int) -> Tensor:
    """Each channel smoothed by a Gaussian window whose sigma is a fifth of its side; whole windows only.

    As products of matrices: on a processor a tenth of the time of a convolution.
    """
    rows, columns = (_windows(images.shape[axis], side, images) for axis in (2, 3))
    return rows @ images @ columns.T


def _windows(length: int, side: int, like: Tensor) -> Tensor:
    """The matrix (length - side + 1, length) that smooths a column of so many values."""
    places = torch.arange(length, device=like.device, dtype=like.dtype)
    distance = places[None] - places[: length - side + 1, None] - side // 2
    window = torch.exp(-0.5 * (distance / (side / 5)) ** 2) * (distance.abs() <= side // 2)
    return window / window.sum(1, keepdim=True)


def _mean(image: Tensor, side: int) -> Tensor:
    rows = F.avg_pool2d(image, (side, 1), 1, (side // 2, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, side // 2), count_include_pad=False)


def _deviation(image: Tensor, side: int) -> Tensor:
    return (_mean(image * image, side) - _mean(image, side) ** 2).clamp(min=0).add(LEAST**2).sqrt()
