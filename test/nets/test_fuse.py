"""The fuser: shapes, size, what base and details are, and that nothing but both images reaches the result."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from torch.nn import functional as F  # noqa: E402

from derain_ros.nets.fuse import CELL, LARGEST_GAIN, STRIDE, Fuser  # noqa: E402
from derain_ros.nets.macs import macs, parameters  # noqa: E402


def images(height: int = 2 * STRIDE, width: int = 3 * STRIDE) -> list[torch.Tensor]:
    return [torch.rand(2, 1, height, width) for _ in range(3)]


def test_shapes_and_size() -> None:
    net = Fuser()
    out = net(*images())
    assert all(part.shape == (2, 1, 2 * STRIDE, 3 * STRIDE) for part in out)
    assert parameters(net) == pytest.approx(286_600, rel=0.001)
    assert macs(net, *(torch.zeros(1, 1, 480, 640) for _ in range(3))) == pytest.approx(1.23e9, rel=0.01)


def test_weight_and_gains_stay_in_their_ranges() -> None:
    torch.manual_seed(0)
    net = Fuser(16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    out = net(*images())
    assert out.weight.min() >= 0 and 0.9 < out.weight.max() <= 1
    for gain in (out.visible_gain, out.infrared_gain):
        assert gain.min() >= 0 and 0.9 * LARGEST_GAIN < gain.max() <= LARGEST_GAIN


def test_the_fused_image_is_made_of_both_images_alone() -> None:
    """Two flat images give one between them, whatever the weights; there is no detail of neither."""
    net = Fuser(16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    visible, infrared = torch.full((1, 1, 32, 32), 0.2), torch.full((1, 1, 32, 32), 0.7)
    out = net(visible, infrared, torch.zeros_like(visible))
    assert torch.allclose(out.fused, 0.7 - 0.5 * out.weight, atol=1e-5)


def test_with_gains_of_one_an_image_comes_back_whole() -> None:
    net = Fuser(16)
    for part, value in ((net.weight, 30.0), (net.visible_gain, 0.6931), (net.infrared_gain, -30.0)):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.constant_(part.bias, value)  # 0.6931 is where the sigmoid is 2 / 3
    visible, infrared, mask = images()
    out = net(visible, infrared, mask)
    assert torch.allclose(out.visible_gain, torch.tensor(1.0), atol=1e-4)
    assert torch.allclose(out.fused, visible, atol=1e-3)


def test_the_base_is_smooth_and_keeps_slopes() -> None:
    net = Fuser(16)

    def base(image: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(net.base(F.pixel_unshuffle(image, CELL)), CELL)

    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    slope = ((x + 2 * y) / 200)[None, None]
    inner = (..., slice(16, -16), slice(16, -16))
    assert torch.allclose(base(slope)[inner], slope[inner], atol=1e-5)
    noise = torch.rand(1, 1, 64, 64)
    assert base(noise).std() < 0.2 * noise.std()
    flat = torch.full((1, 1, 64, 64), 0.4)
    assert torch.allclose(base(flat), flat, atol=1e-6), "at the border, too"


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = Fuser(16)
    for parameter in net.parameters():  # what starts at zero lets nothing through to what is before it
        torch.nn.init.normal_(parameter, std=0.1)
    net(*images()).fused.pow(2).mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
