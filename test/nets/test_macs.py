"""Counting: layers whose operations are known."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from torch import nn  # noqa: E402

from derain_ros.nets.macs import macs, parameters  # noqa: E402


@pytest.mark.parametrize(
    ("layer", "channels", "expected"),
    [
        (nn.Conv2d(3, 5, 3, padding=1), 3, 3 * 5 * 9 * 8 * 6),
        (nn.Conv2d(4, 4, 3, 2, 1, groups=4), 4, 4 * 9 * 4 * 3),
        (nn.ConvTranspose2d(2, 6, 4, 2, 1), 2, 2 * 6 * 16 * 8 * 6),
    ],
)
def test_layers(layer: nn.Module, channels: int, expected: int) -> None:
    image = torch.rand(2, channels, 8, 6)
    assert macs(layer, image) == 2 * expected
    assert macs(layer, image) == 2 * expected, "hooks are taken away"


def test_shared_layers_count_as_often_as_they_run() -> None:
    layer = nn.Conv2d(1, 1, 1, bias=False)
    assert macs(nn.Sequential(layer, layer), torch.rand(1, 1, 2, 2)) == 8
    assert parameters(nn.Sequential(layer, layer)) == 1
