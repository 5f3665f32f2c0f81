"""Losses (1) to (5) of paper 1.

Norms are means over pixels, channels and batch, so they do not depend on the size of crops or layers.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from derain_ros.data.samples import LUMA
from derain_ros.nets.detector import Detector
from derain_ros.nets.fast import Restoration
from derain_ros.train import checkpoint
from derain_ros.train.exported import load_detector

log = logging.getLogger(__name__)

Features = Callable[[Tensor], Sequence[Tensor]]
"""Returns the feature maps of some layers, shallow ones first, for images (N, 3, H, W) in 0..1."""
VGG_LAYERS = (1, 6, 11, 20, 29)
"""The first ReLU of each block of VGG-19, as in Pix2PixHD."""


def adversarial(judgement: Tensor) -> Tensor:
    """Loss (1): mean squared distance of the discriminator's output for generated images from 1 (real); a scalar."""
    return ((1 - judgement) ** 2).mean()


def discrimination(real: Tensor, generated: Tensor) -> Tensor:
    """The discriminator's least-squares loss: 1 for real patches, 0 for generated ones; a scalar."""
    return 0.5 * (((real - 1) ** 2).mean() + (generated**2).mean())


def matching(clean: Sequence[Tensor], restored: Sequence[Tensor]) -> Tensor:
    """Losses (2) and (3): mean absolute difference of n maps, the k-th weighted by 1 / 2^(n - k); a scalar.

    The maps of the clean image are the target and get no gradient.
    """
    count = len(clean)
    parts = [
        (goal.detach() - found).abs().mean() / 2 ** (count - k)
        for k, (goal, found) in enumerate(zip(clean, restored, strict=True), 1)
    ]
    return torch.stack(parts).sum()


def fidelity(clean: Tensor, restored: Tensor) -> Tensor:
    """Loss (4): L2 norm of each image's difference over the root of its number of values; mean over the batch."""
    return ((clean - restored) ** 2).mean(dim=(1, 2, 3)).clamp_min(1e-10).sqrt().mean()


def generator_losses(
    out: Restoration, clean: Tensor, discriminator: nn.Module, perceptual: Features | None
) -> dict[str, Tensor]:
    """The terms of loss (5), their sum: `gan` and `fm` of the generated image, `vgg` and `fid` of the restored one.

    There is no `vgg` without a feature extractor.
    """
    *real, _ = discriminator(clean)
    *found, judgement = discriminator(out.generated)
    parts = {"gan": adversarial(judgement), "fm": matching(real, found), "fid": fidelity(clean, out.restored)}
    if perceptual is not None:
        with torch.no_grad():
            goal = perceptual(clean)
        parts["vgg"] = matching(goal, perceptual(out.restored))
    return parts


class VGGFeatures(nn.Module):
    """Maps of `layers` of a frozen network trained on ImageNet, for images (N, 3, H, W) in 0..1.

    `sequence` holds the network's layers in order.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, sequence: nn.Sequential, layers: Sequence[int]) -> None:
        super().__init__()
        self.sequence = nn.ModuleList(list(sequence)[: max(layers) + 1]).eval().requires_grad_(False)
        self.layers = frozenset(layers)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps, shallow ones first."""
        x, maps = (image - self.mean) / self.deviation, []
        for k, layer in enumerate(self.sequence):
            x = layer(x)
            if k in self.layers:
                maps.append(x)
        return maps


class DetectorFeatures(nn.Module):
    """Maps of the frozen detector at 1/2, 1/4 and 1/8 of the size, for images (N, 3, H, W) in 0..1.

    It was trained to see drops and dirt: what is left of them in a restored image distinguishes it from a clean one.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.layers = detector.fine.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps, shallow ones first."""
        x = (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        deviation, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
        x, maps = (x - mean) / (deviation + 1e-3), []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps


def perceptual_features(detector: str = "") -> VGGFeatures | DetectorFeatures | None:
    """Return VGG-19 if torchvision is installed and its weights are in torch's cache; nothing is downloaded.

    Otherwise return the first layers of a `detector`: a checkpoint, an exported one, or the name of a shipped one; None
    if it is empty. The choice is logged. DataError if `detector` names none.
    """
    vgg = _vgg()
    if vgg is not None or not detector:
        return vgg
    net, path = Detector(), checkpoint.find(Path(detector), "detect")
    (load_detector if path.suffix == ".onnx" else checkpoint.begin_with)(net, path)
    log.info("perceptual loss: the detector in %s", path)
    return DetectorFeatures(net)


def _vgg() -> VGGFeatures | None:
    if importlib.util.find_spec("torchvision") is None:
        log.warning("no perceptual loss of VGG-19: torchvision is not installed")
        return None
    from torchvision.models import VGG19_Weights, vgg19  # type: ignore[import-not-found,unused-ignore]

    weights = VGG19_Weights.IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    if not file.exists():
        log.warning("no perceptual loss of VGG-19: %s is missing; fetch it from %s", file, weights.url)
        return None
    net = vgg19()
    net.load_state_dict(torch.load(file, weights_only=True))
    # ReLUs that run in place would overwrite the returned maps.
    sequence = nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in net.features))
    log.info("perceptual loss: VGG-19 from %s", file)
    return VGGFeatures(sequence, VGG_LAYERS)
