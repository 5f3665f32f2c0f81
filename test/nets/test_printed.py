"""The printed network: its four forms, their cost, and that it learns and folds."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.macs import macs, parameters  # noqa: E402
from derain_ros.nets.printed import PrintedRestorer  # noqa: E402


@pytest.mark.parametrize(
    ("enhancer", "aggregation", "size", "cost"),
    [
        (False, False, 713_140, 8.9),
        (True, False, 718_595, 9.9),
        (False, True, 769_492, 12.2),
        (True, True, 774_947, 13.2),
    ],
)
def test_parameters_and_operations(enhancer: bool, aggregation: bool, size: int, cost: float) -> None:
    with torch.device("meta"):
        net = PrintedRestorer(3, enhancer, aggregation).eval()
        done = macs(net, torch.empty(1, 3, 360, 540))
    assert parameters(net) == size
    assert done / 1e9 == pytest.approx(cost, abs=0.05)


@pytest.mark.parametrize(
    ("channels", "enhancer", "aggregation"),
    [
        (channels, enhancer, aggregation)
        for channels in (1, 3)
        for enhancer in (False, True)
        for aggregation in (False, True)
    ],
)
def test_shapes(channels: int, enhancer: bool, aggregation: bool) -> None:
    image = torch.rand(2, channels, 64, 96)
    out = PrintedRestorer(channels, enhancer, aggregation)(image)
    assert out.generated.shape == out.restored.shape == image.shape and out.mask.shape == (2, 1, 64, 96)
    assert torch.equal(out.generated, out.restored) != enhancer
    assert out.generated.min() >= 0 and out.generated.max() <= 1


def test_weights_are_drawn_as_printed() -> None:
    torch.manual_seed(0)
    for module in PrintedRestorer(3).modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 5000:
            assert module.weight.mean().abs() < 2e-3 and module.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = PrintedRestorer(1)
    out = net(torch.rand(2, 1, 64, 64))
    # A square: the mean alone is blind to what comes before a normalisation.
    (out.restored - 0.3).square().mean().add(out.mask.square().mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_folded_does_the_same_with_fewer_layers() -> None:
    torch.manual_seed(0)
    net = PrintedRestorer(3)
    for _ in range(20):
        net(torch.rand(4, 3, 32, 32))
    folded = net.folded()
    assert net.training and not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    net.eval()
    image = torch.rand(1, 3, 32, 64)
    for ours, theirs in zip(net(image), folded(image), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
