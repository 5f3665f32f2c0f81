"""Calibration of the detector: of what is said with 0.8, eight in ten shall be so."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from derain_ros.data.views import UNKNOWN


def calibrate(logits: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """`scale` and `shift` (K numbers each) with which sigmoid(scale * logit + shift) is most likely for the `labels`.

    Temperature scaling with a shift, each class by itself, by maximum likelihood; `logits` (N, K) float and `labels`
    (N, K) of views that neither training nor evaluation sees. Labels UNKNOWN count for nothing. A class of which there
    are only views with or only views without is left as it is.
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
    # The logarithm of the scale is searched for: a scale under zero would turn the class around.
    values = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.LBFGS([values], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        # The pull towards no change keeps classes that are told apart without error from growing ever surer.
        error = F.binary_cross_entropy_with_logits(values[0].exp() * logit + values[1], label)
        error = error + values.square().sum() / len(label)
        error.backward()
        return error

    optimiser.step(loss)
    scale, shift = values.detach()
    return float(scale.exp()), float(shift)
