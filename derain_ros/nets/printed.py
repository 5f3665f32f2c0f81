"""The network of paper 1 as printed: generator, enhancer and aggregation; the last two can be switched off."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from derain_ros.nets.enhancer import Enhancer
from derain_ros.nets.fast import Restoration
from derain_ros.nets.generator import Generator, GeneratorStage


class PrintedRestorer(nn.Module):
    """Images (N, channels, H, W) float in 0..1, H and W multiples of 32, to `Restoration`, not clamped.

    | | parameters (3 channels) | GMAC at 540x360 |
    | --- | --- | --- |
    | G | 0.713 M | 8.9 |
    | G+E | 0.719 M | 9.9 |
    | G+A | 0.769 M | 12.2 |
    | G+E+A | 0.775 M | 13.2 |

    Without the enhancer `restored` is `generated`. The paper has no mask; here a 1x1 convolution (17 parameters) of the
    decoder's last features gives its logits. The network also runs with H and W at least 32 and multiples of 4; the
    scales of the enhancer are then slightly misaligned.
    """

    def __init__(self, channels: int = 3, enhancer: bool = True, aggregation: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.generator = Generator(channels, aggregation)
        self.enhancer = Enhancer(channels) if enhancer else None
        self.mask = nn.Conv2d(16, 1, 1)
        self.apply(draw_weights)

    def forward(self, image: Tensor) -> Restoration:
        """Restore; inside the network, images are in -1..1."""
        image = image * 2 - 1
        generated, features = self.generator(image)
        restored = generated if self.enhancer is None else self.enhancer(generated, image)
        return Restoration((generated + 1) * 0.5, (restored + 1) * 0.5, self.mask(features))

    def folded(self) -> PrintedRestorer:
        """A folded copy for inference; see `fold`."""
        net = copy.deepcopy(self).eval()
        net.fold()
        return net

    def fold(self) -> None:
        """Fold each normalisation into its convolution, in place; the results are those of evaluation mode."""
        for module in list(self.modules()):
            if isinstance(module, GeneratorStage):
                module.fold()


def draw_weights(module: nn.Module) -> None:
    """Draw the weights of a convolution from N(0, 0.02), of a normalisation from N(1, 0.02); set biases to zero."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
        nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
