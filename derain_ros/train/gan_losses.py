"""Losses (1) to (5) of paper 1.

Norms are means over pixels, channels and batch, so that neither the size of crops nor that of layers weighs in.
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
"""Gives the maps of some layers, shallow ones first, of images (N, 3, H, W) in 0..1."""
VGG_LAYERS = (1, 6, 11, 20, 29)
"""The first rectified layer of each block of VGG-19, as Pix2PixHD takes them."""


def adversarial(judgement: Tensor) -> Tensor:
    """Loss (1): squared distance from 1, real, of the discriminator's judgement of generated images; a scalar."""
    return ((1 - judgement) ** 2).mean()


def discrimination(real: Tensor, generated: Tensor) -> Tensor:
    """The discriminator's loss, its least-squares form: real patches to 1, generated ones to 0; a scalar."""
    return 0.5 * (((real - 1) ** 2).mean() + (generated**2).mean())


def matching(clean: Sequence[Tensor], restored: Sequence[Tensor]) -> Tensor:
    """Losses (2) and (3): mean absolute difference of n maps, the k-th weighted by 1 / 2^(n - k); a scalar.

    The maps of the clean image are the goal and get no gradient.
    """
    count = len(clean)
    parts = [
        (goal.detach() - found).abs().mean() / 2 ** (count - k)
        for k, (goal, found) in enumerate(zip(clean, restored, strict=True), 1)
    ]
    return torch.stack(parts).sum()


def fidelity(clean: Tensor, restored: Tensor) -> Tensor:
    """Loss (4): L2 norm of each image's difference over the root of its number of values, mean of the batch."""
    return ((clean - restored) ** 2).mean(dim=(1, 2, 3)).clamp_min(1e-10).sqrt().mean()


def generator_losses(
    out: Restoration, clean: Tensor, discriminator: nn.Module, perceptual: Features | None
) -> dict[str, Tensor]:
    """The parts of loss (5), whose sum it is: `gan` and `fm` of the generated image, `vgg` and `fid` of the restored.

    `vgg` is missing where there is no feature extractor.
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
    """Images (N, 3, H, W) in 0..1 to the maps of `layers` of a frozen sequence of layers trained on ImageNet."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, sequence: nn.Sequential, layers: Sequence[int]) -> None:
        super().__init__()
        self.sequence = nn.ModuleList(list(sequence)[: max(layers) + 1]).eval().requires_grad_(False)
        self.layers = frozenset(layers)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps, shallow ones first."""
        x, maps = (image - self.mean) / self.deviation, []
        for k, layer in enumerate(self.sequence):
            x = layer(x)
            if k in self.layers:
                maps.append(x)
        return maps


class DetectorFeatures(nn.Module):
    """Images (N, 3, H, W) in 0..1 to the maps of the frozen detector at 1/2, 1/4 and 1/8 of the size.

    It was trained to see drops and dirt: what is left of them in a restored image tells it from a clean one.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.layers = detector.fine.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The maps, shallow ones first."""
        x = (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        deviation, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
        x, maps = (x - mean) / (deviation + 1e-3), []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps


def perceptual_features(detector: str = "") -> VGGFeatures | DetectorFeatures | None:
    """VGG-19 where torchvision is installed and its weights lie in torch's cache; nothing is fetched.

    Else the first layers of a `detector`, a checkpoint, an exported one, or the name of a shipped one; None where it is
    empty. The log says which. DataError where it is none.
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
    # What has run in place would overwrite the maps that are returned.
    sequence = nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in net.features))
    log.info("perceptual loss: VGG-19 from %s", file)
    return VGGFeatures(sequence, VGG_LAYERS)
