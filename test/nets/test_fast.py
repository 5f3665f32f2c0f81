"""The fast restorer: shapes, size, and that it starts as the identity."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.fast import STRIDE, FastRestorer  # noqa: E402


@pytest.mark.parametrize(("channels", "width", "blocks", "millions"), [(1, 64, 9, 0.966), (3, 64, 9, 1.040),
                                                                       (1, 32, 6, 0.197), (3, 32, 6, 0.234)])
def test_shapes_and_parameters(channels: int, width: int, blocks: int, millions: float) -> None:
    net = FastRestorer(channels, width, blocks)
    out = net(torch.rand(2, channels, 2 * STRIDE, 3 * STRIDE))
    assert out.generated.shape == out.restored.shape == (2, channels, 2 * STRIDE, 3 * STRIDE)
    assert out.mask.shape == (2, 1, 2 * STRIDE, 3 * STRIDE)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_starts_close_to_the_identity() -> None:
    image = torch.rand(1, 3, STRIDE, STRIDE)
    assert (FastRestorer(3)(image).restored - image).abs().mean() < 0.02


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = FastRestorer(1, 16, 2)
    for name, parameter in net.named_parameters():
        # Above zero, so that no rectifier is closed by chance.
        torch.nn.init.constant_(parameter, 1.0) if name.endswith("bias") else torch.nn.init.normal_(parameter, std=0.02)
    out = net(torch.rand(2, 1, 4 * STRIDE, 4 * STRIDE))
    (out.restored.square().mean() + out.mask.mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_sees_far_enough_to_fill_a_large_drop() -> None:
    net = FastRestorer(1, 16, 9)
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    image = torch.zeros(1, 1, 512, 512, requires_grad=True)
    net(image).restored[0, 0, 256, 256].backward()
    assert image.grad is not None
    columns = torch.nonzero(image.grad[0, 0].abs().sum(0)).flatten()
    assert columns.max() - columns.min() > 300
