"""The discriminator: its shapes, and that one judgement sees 14x14 pixels, no more and no fewer."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.discriminator import RECEPTIVE_FIELD, Discriminator  # noqa: E402
from derain_ros.nets.macs import parameters  # noqa: E402


@pytest.mark.parametrize(("channels", "size"), [(1, 132_801), (3, 134_849)])
def test_shapes_and_parameters(channels: int, size: int) -> None:
    net = Discriminator(channels)
    maps = net(torch.rand(2, channels, 64, 48))
    assert [tuple(m.shape) for m in maps] == [(2, 64, 31, 23), (2, 128, 14, 10), (2, 1, 13, 9)]
    assert parameters(net) == size


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (12, 12)])
def test_one_judgement_sees_a_patch_of_14x14(place: tuple[int, int]) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    Discriminator()(image)[-1][0, 0, place[0], place[1]].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)) > 0
    top, left = 4 * place[0], 4 * place[1]
    assert seen[top : top + RECEPTIVE_FIELD, left : left + RECEPTIVE_FIELD].all()
    assert seen.sum() == RECEPTIVE_FIELD**2
