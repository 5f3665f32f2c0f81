"""The detector's operating point: how sure it must be before it calls a view affected."""

from __future__ import annotations

import math

import torch

from derain_ros.config import Config
from derain_ros.nets.detector import Detector
from derain_ros.train.views import Pictures, read_grey, to_detector

FALSE_ALARMS = 0.02
"""Share of clean photographs that may be called affected."""


@torch.no_grad()
def clean_bias(net: Detector, pictures: Pictures) -> float:
    """What to add to the logit of clean so that FALSE_ALARMS of the clean photographs reach the default `on_score`.

    Half of the views in training are affected, few of a robot's are; and photographs whole differ from the crops that
    are trained on. Takes every other photograph of `pictures`, those of validation: the rest tell how well it went.
    """
    photographs = [path for name, paths in pictures.clean.items() if name != "real" for path in paths[::2]]
    images = torch.stack([torch.from_numpy(to_detector(read_grey(path))) for path in photographs])
    net.eval()
    logits = torch.cat([net(part[:, None].float()).classes for part in images.split(128)])
    net.train()
    affected = logits[:, 1:].logsumexp(1) - logits[:, 0]
    on_score = Config().on_score
    return max(0.0, float(affected.quantile(1 - FALSE_ALARMS)) - math.log(on_score / (1 - on_score)))
