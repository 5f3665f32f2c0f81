"""The enhancer: its size, and that each scale of its pyramid reaches as far as it should."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.enhancer import SCALES, Enhancer  # noqa: E402
from derain_ros.nets.macs import parameters  # noqa: E402


@pytest.mark.parametrize(("channels", "size"), [(1, 4301), (3, 5455)])
def test_shape_and_parameters(channels: int, size: int) -> None:
    net = Enhancer(channels)
    images = torch.rand(2, 2, channels, 64, 96)
    assert net(images[0], images[1]).shape == (2, channels, 64, 96)
    assert parameters(net) == size


@pytest.mark.parametrize("height", [32, 36, 360])
def test_any_size_from_32(height: int) -> None:
    image = torch.rand(1, 1, height, 60)
    assert Enhancer(1)(image, image).shape == image.shape


def test_scales_pool_their_cells() -> None:
    net = Enhancer(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        # Features are the generated image; the result is their mean over cells of one scale.
        net.first.weight[0, 0, 1, 1] = net.second.weight[0, 0, 1, 1] = 1.0
        net.scales[1].weight[0, 0] = 1.0
        net.last.weight[0, net.second.out_channels + 1, 1, 1] = 1.0
    image = torch.rand(1, 1, 64, 64)
    result = net(image, torch.zeros_like(image))
    cells = torch.nn.functional.avg_pool2d(image, SCALES[1])
    torch.testing.assert_close(result, cells.repeat_interleave(SCALES[1], 2).repeat_interleave(SCALES[1], 3))
