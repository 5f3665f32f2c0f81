"""The peers have the shapes, parameters and operations that make their times comparable."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.macs import macs, parameters  # noqa: E402
from derain_ros.nets.peers import DeRaindrop, NAFNet, Porav, PReNet  # noqa: E402


@pytest.mark.parametrize(
    ("peer", "height", "width", "millions", "cost"),
    [
        (DeRaindrop, 360, 540, 6.2, 227),
        (Porav, 360, 540, 11.4, 147),
        (PReNet, 360, 540, 0.17, 197),
        (NAFNet, 368, 544, 1.5, 4.9),
    ],
)
def test_parameters_and_operations(peer: type, height: int, width: int, millions: float, cost: float) -> None:
    with torch.device("meta"):
        net = peer()
        done = macs(net, torch.empty(1, 3, height, width))
    assert parameters(net) / 1e6 == pytest.approx(millions, rel=0.01)
    assert done / 1e9 == pytest.approx(cost, rel=0.006)


@pytest.mark.parametrize("peer", [DeRaindrop, Porav, PReNet, NAFNet])
@torch.no_grad()
def test_an_image_comes_out(peer: type) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 48)
    out = peer()(image)
    assert out.shape == image.shape and out.isfinite().all() and out.std() > 0
