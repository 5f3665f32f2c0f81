"""The fuser's losses: kept edges and information of both sources, and the brightness of the base.

Images are (N, 1, H, W) float in 0..1. `trust` of the same shape says how much each pixel of the visible image counts:
1, or 0 where a drop hides it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

WHITE = 255.0
NOISE = 2.0
"""Variance of the eye's noise in VIF, in squared grey levels."""
NEAR = 9
"""Side in pixels of the window that smooths the base and that tests for flat infrared."""
DARKER = 0.25
"""Share of the darker source in the base: half way between the mean of both and the brighter one. A share that follows
contrast makes halos: a bright sky turned dark except for a rim along the roofs."""
FLAT = 3.0
"""Standard deviation in grey levels that counts as flat: the noise of a sensor."""
LEAST = 1e-6


class FusionLosses(NamedTuple):
    """Means over the batch, to be minimised.

    `edges`: 1 - Qabf, in which inverted edges count as lost. `information`: 2 - the VIF of both sources. `gradient`:
    distance from the stronger source's gradient. `base`: distance of the smoothed image from a mean of the sources in
    which the brighter one counts more. `flat`: infrared gain, squared, where the infrared image is flat. `correlation`:
    1 - the mean correlation with the sources, plus 2 - the sum of the correlations of differences (SCD).
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
    """Return the losses of `fused`, made with the gain `infrared_gain` of infrared details.

    The sources are clean: without drops and noise.
    """
    return FusionLosses(
        1 - edge_preservation(fused, visible, infrared, trust).mean(),
        2 - fidelity(fused, visible, trust).mean() - fidelity(fused, infrared).mean(),
        _gradient(fused, visible, infrared, trust),
        _base(fused, visible, infrared),
        _flat(infrared_gain, infrared),
        _correlation(fused, visible, infrared, trust),
    )


def edge_preservation(fused: Tensor, visible: Tensor, infrared: Tensor, trust: Tensor) -> Tensor:
    """Return how well strength and direction of the sources' edges are kept, (N,) in 0..1.

    This is Qabf of Xydeas and Petrovic 2000, except that directions have a sign and the image's border is no edge.
    """
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
    """Return the share of the source's information that the fused image keeps, (N,).

    This is VIF of Sheikh and Bovik 2006 in the pixel domain, with windows weighted by `trust`.
    """
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
    # A source that shows almost nothing has almost no effect.
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
    # Behind drops, too: they hide detail only. Else each drop would leave a patch as dark as the infrared image.
    low, low_visible, low_infrared = (_mean(image, NEAR) for image in (fused, visible, infrared))
    share = DARKER + (1 - 2 * DARKER) * torch.sigmoid((low_visible - low_infrared) * 20)
    # Saturated infrared says nothing about the scene's brightness.
    saturated = ((low_infrared - 0.85) * 10).clamp(0, 1) * _flatness(infrared)
    share = share + (1 - share) * saturated
    return (low - share * low_visible - (1 - share) * low_infrared).abs().mean()


def _flat(gain: Tensor, infrared: Tensor) -> Tensor:
    return (gain**2 * _flatness(infrared)).mean()


def _flatness(infrared: Tensor) -> Tensor:
    """Return 1 where the infrared image shows nothing but noise, falling to 0."""
    return torch.exp(-((_deviation(infrared, NEAR) * WHITE / FLAT) ** 2))


def _correlation(fused: Tensor, visible: Tensor, infrared: Tensor, trust: Tensor) -> Tensor:
    # Where the visible image is hidden, the fused image takes its place.
    visible = trust * visible + (1 - trust) * fused.detach()
    with_both = _correlated(fused, visible) + _correlated(fused, infrared)
    differences = _correlated(fused - infrared, visible) + _correlated(fused - visible, infrared)
    return (1 - with_both / 2 + 2 - differences).mean()


def _correlated(a: Tensor, b: Tensor) -> Tensor:
    a, b = (image - image.mean((1, 2, 3), keepdim=True) for image in (a, b))
    return (a * b).mean((1, 2, 3)) / ((a * a).mean((1, 2, 3)) * (b * b).mean((1, 2, 3)) + LEAST).sqrt()


def sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences along x and along y; the border's pixels are repeated beyond it."""
    image = F.pad(image, [1, 1, 1, 1], mode="replicate")
    across, down = image[..., 2:] - image[..., :-2], image[..., 2:, :] - image[..., :-2, :]
    return (
        across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
        down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
    )


def _length(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y + LEAST).sqrt()


def _gaussian(images: Tensor, side: int) -> Tensor:
    """Smooth each channel by a Gaussian window whose sigma is a fifth of its side; whole windows only.

    Matrix products take a tenth of the time of a convolution on a CPU.
    """
    rows, columns = (_windows(images.shape[axis], side, images) for axis in (2, 3))
    return rows @ images @ columns.T


def _windows(length: int, side: int, like: Tensor) -> Tensor:
    """Return the matrix (length - side + 1, length) that smooths a column of `length` values."""
    places = torch.arange(length, device=like.device, dtype=like.dtype)
    distance = places[None] - places[: length - side + 1, None] - side // 2
    window = torch.exp(-0.5 * (distance / (side / 5)) ** 2) * (distance.abs() <= side // 2)
    return window / window.sum(1, keepdim=True)


def _mean(image: Tensor, side: int) -> Tensor:
    rows = F.avg_pool2d(image, (side, 1), 1, (side // 2, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, side // 2), count_include_pad=False)


def _deviation(image: Tensor, side: int) -> Tensor:
    return (_mean(image * image, side) - _mean(image, side) ** 2).clamp(min=0).add(LEAST**2).sqrt()
