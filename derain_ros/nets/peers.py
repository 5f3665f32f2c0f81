"""Networks of other papers, rebuilt from their texts for timing only: they have random weights and restore nothing.

Only shapes, parameters and operations need to be right. All networks take images (N, 3, H, W) and return the same
shape; figures are for one image of 540x360.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    """A zero-padded convolution that keeps the size, or divides it by the stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel - 1) // 2, dilation, groups)


class Residual(nn.Module):
    """Two 3x3 convolutions with a skip; `closing` adds a ReLU at the end."""

    def __init__(self, width: int, closing: bool) -> None:
        super().__init__()
        self.first, self.second, self.closing = conv(width, width), conv(width, width), closing

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) to the same."""
        x = x + self.second(F.relu(self.first(x)))
        return F.relu(x) if self.closing else x


class ConvLSTM(nn.Module):
    """A convolutional LSTM with 32 filters: features and the two states, (N, 32, H, W) each, to the new states."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = conv(64, 128)

    def forward(self, x: Tensor, cell: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The new cell state and hidden state."""
        keep, write, value, show = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(write) * torch.tanh(value)
        return cell, torch.sigmoid(show) * torch.tanh(cell)


class DeRaindrop(nn.Module):
    """The generator of Qian et al., Attentive Generative Adversarial Network for Raindrop Removal (CVPR 2018).

    Four rounds of a recurrent attention network, then an autoencoder with dilated convolutions. 6.2 M parameters,
    227 GMAC; H and W multiples of 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = conv(4, 32)
        self.residuals = nn.Sequential(*(Residual(32, True) for _ in range(5)))
        self.lstm = ConvLSTM()
        self.attend = conv(32, 1)
        self.encoder = nn.Sequential(
            conv(4, 64, 5),
            nn.ReLU(),
            conv(64, 128, 3, 2),
            nn.ReLU(),
            conv(128, 128),
            nn.ReLU(),
            conv(128, 256, 3, 2),
            nn.ReLU(),
            conv(256, 256),
            nn.ReLU(),
            conv(256, 256),
            nn.ReLU(),
            *(layer for reach in (2, 4, 8, 16) for layer in (conv(256, 256, dilation=reach), nn.ReLU())),
            conv(256, 256),
            nn.ReLU(),
            conv(256, 256),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(256, 128, 4, 2, 1),
            nn.ReLU(),
            conv(128, 128),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, 2, 1),
            nn.ReLU(),
            conv(64, 32),
            nn.ReLU(),
            conv(32, 3),
        )

    def forward(self, image: Tensor) -> Tensor:
        """The restored image."""
        attention = torch.full_like(image[:, :1], 0.5)
        cell = hidden = torch.zeros_like(image[:, :1]).expand(-1, 32, -1, -1)
        for _ in range(4):
            x = self.residuals(F.relu(self.enter(torch.cat([image, attention], 1))))
            cell, hidden = self.lstm(x, cell, hidden)
            attention = torch.sigmoid(self.attend(hidden))
        return self.decoder(self.encoder(torch.cat([image, attention], 1)))


class Porav(nn.Module):
    """The generator of Porav et al., I Can See Clearly Now (ICRA 2019), after Pix2PixHD (Wang et al., CVPR 2018).

    64 filters, two halvings, nine residual blocks of 256. 11.4 M parameters, 147 GMAC; H and W multiples of 4. The
    skips from encoder to decoder are additions here, which add no multiplications.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = conv(3, 64, 7)
        self.down_half = conv(64, 128, 3, 2)
        self.down_quarter = conv(128, 256, 3, 2)
        self.trunk = nn.Sequential(*(Residual(256, False) for _ in range(9)))
        self.up_half = nn.ConvTranspose2d(256, 128, 3, 2, 1, output_padding=1)
        self.up_full = nn.ConvTranspose2d(128, 64, 3, 2, 1, output_padding=1)
        self.leave = conv(64, 3, 7)

    def forward(self, image: Tensor) -> Tensor:
        """The restored image."""
        full = F.relu(self.enter(image))
        half = F.relu(self.down_half(full))
        x = self.trunk(F.relu(self.down_quarter(half)))
        x = F.relu(self.up_half(x)) + half
        return torch.tanh(self.leave(F.relu(self.up_full(x)) + full))


class PReNet(nn.Module):
    """Ren et al., Progressive Image Deraining Networks (CVPR 2019): six rounds that share their weights.

    0.17 M parameters, 197 GMAC; any H and W.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = conv(6, 32)
        self.lstm = ConvLSTM()
        self.residuals = nn.Sequential(*(Residual(32, True) for _ in range(5)))
        self.leave = conv(32, 3)

    def forward(self, image: Tensor) -> Tensor:
        """The restored image."""
        x = image
        cell = hidden = torch.zeros_like(image[:, :1]).expand(-1, 32, -1, -1)
        for _ in range(6):
            cell, hidden = self.lstm(F.relu(self.enter(torch.cat([image, x], 1))), cell, hidden)
            x = self.leave(self.residuals(hidden))
        return x


class NAFBlock(nn.Module):
    """The block of NAFNet, (N, width, h, w) to the same: the only activation is the product of two halves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.spread, self.depthwise = conv(width, 2 * width, 1), conv(2 * width, 2 * width, 3, groups=2 * width)
        self.attend, self.join = conv(width, width, 1), conv(width, width, 1)
        self.widen, self.narrow = conv(width, 2 * width, 1), conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Spatial mixing with channel attention, then a feed-forward part, each with a skip."""
        y = _product(self.depthwise(self.spread(_over_channels(self.norms[0], x))))
        x = x + self.join(y * self.attend(y.mean((2, 3), keepdim=True)))
        return x + self.narrow(_product(self.widen(_over_channels(self.norms[1], x))))


class NAFNet(nn.Module):
    """Chen et al., Simple Baselines for Image Restoration (ECCV 2022), 16 wide: 1.5 M parameters, 4.9 GMAC.

    Four halvings with 1, 1, 1 and 4 blocks, one block in the middle and one at each doubling; H and W multiples of 16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = conv(3, 16), conv(16, 3)
        widths = (16, 32, 64, 128)
        self.encoders = nn.ModuleList(
            nn.Sequential(*(NAFBlock(w) for _ in range(count))) for w, count in zip(widths, (1, 1, 1, 4), strict=True)
        )
        self.downs = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, 2) for w in widths)
        self.middle = NAFBlock(256)
        self.ups = nn.ModuleList(nn.Conv2d(2 * w, 4 * w, 1, bias=False) for w in reversed(widths))
        self.decoders = nn.ModuleList(NAFBlock(w) for w in reversed(widths))

    def forward(self, image: Tensor) -> Tensor:
        """The restored image."""
        x, skips = self.enter(image), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(x))
            x = down(skips[-1])
        x = self.middle(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(F.pixel_shuffle(up(x), 2) + skips.pop())
        return image + self.leave(x)


def _product(x: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    return first * second


def _over_channels(norm: nn.Module, x: Tensor) -> Tensor:
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
