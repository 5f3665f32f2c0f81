"""Calibration of the detector: a class with a probability of 0.8 should be there in eight of ten views."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from derain_ros.data.views import UNKNOWN


def calibrate(logits: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """Return `scale` and `shift`, K numbers each; sigmoid(scale * logit + shift) is then the calibrated probability.

    Temperature scaling with a shift for each class by itself, by maximum likelihood with a weak pull to no change.
    `logits` (N, K) float and `labels` (N, K) are of views that neither training nor evaluation sees. UNKNOWN labels are
    ignored. A class that all views have, or none, is left unchanged.
    """
    scales, shifts = [], []
    for logit, label in zip(logits.detach().float().T, labels.T, strict=True):
        told = label != UNKNOWN
        scale, shift = _fit(logit[told], label[told].float())
        scales.append(scale)
        shifts.append(shift)
    return {"scale": scales, "shift": shifts}


def _fit(logit: Tensor, label: Tensor) -> tuple[float, float]:
    if label.numel() == 0 or label.min() == label.max():
        return 1.0, 0.0
    # The logarithm of the scale is optimised: a negative scale would invert the class.
    values = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.LBFGS([values], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        # The pull to no change keeps the scale of classes that are separated without error finite.
        error = F.binary_cross_entropy_with_logits(values[0].exp() * logit + values[1], label)
        error = error + values.square().sum() / len(label)
        error.backward()
        return error

    optimiser.step(loss)
    scale, shift = values.detach()
    return float(scale.exp()), float(shift)
