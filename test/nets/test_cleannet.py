"""CleanNet: its cost, its shapes, what its parts keep, that it learns, and ONNX against PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.cleannet import KEPT, CleanNet, Experts, FeedForward, PixelNorm, TopAttention  # noqa: E402
from derain_ros.nets.macs import macs, parameters  # noqa: E402

SMALL = {"width": 8, "blocks": (1, 1, 1, 2)}


@pytest.mark.parametrize(
    ("width", "blocks", "size", "cost"), [(48, (4, 6, 6, 8), 32_429_040, 657.2), (16, (1, 1, 1, 2), 1_299_790, 36.5)]
)
def test_parameters_and_operations(width: int, blocks: tuple[int, ...], size: int, cost: float) -> None:
    with torch.device("meta"):
        net = CleanNet(3, width, blocks).eval()
        done = macs(net, torch.empty(1, 3, 480, 640))
    assert parameters(net) == size
    assert done / 1e9 == pytest.approx(cost, abs=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(channels: int) -> None:
    image = torch.rand(2, channels, 40, 24)
    assert CleanNet(channels, **SMALL)(image).shape == image.shape
    assert CleanNet(channels, 8, (1, 1))(image).shape == image.shape, "of any depth"


def test_the_image_is_what_it_adds_to() -> None:
    net = CleanNet(3, **SMALL)
    torch.nn.init.zeros_(net.image.weight)
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(net(image), image)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = CleanNet(1, **SMALL)
    (net(torch.rand(2, 1, 32, 32)) - 0.3).square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_a_few_steps_lower_the_error() -> None:
    torch.manual_seed(0)
    net = CleanNet(1, **SMALL)
    wet = torch.rand(2, 1, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    errors = []
    for _ in range(12):
        error = (net(wet) - wet.mean()).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.7 * errors[0]


def test_normalisation_is_of_each_pixel() -> None:
    x = torch.randn(1, 16, 3, 5) * 7 + 2
    normal = PixelNorm(16)(x)
    assert normal.mean(1).abs().max() < 1e-5 and (normal.var(1, correction=0) - 1).abs().max() < 1e-3


def test_attention_keeps_the_largest_entries() -> None:
    torch.manual_seed(0)
    attention = TopAttention(60, 1)
    torch.nn.init.dirac_(attention.out.weight)
    x = torch.randn(1, 60, 8, 8)
    query, key, value = attention.spread(attention.project(x)).reshape(3, 60, 64)
    scores = torch.nn.functional.normalize(query, dim=1) @ torch.nn.functional.normalize(key, dim=1).T
    expected = torch.zeros(60, 60)
    for share in KEPT:
        kept = torch.zeros(60, 60)
        places = scores.topk(round(60 * share), dim=1).indices
        kept.scatter_(1, places, scores.gather(1, places).softmax(1))
        assert torch.equal((kept > 0).sum(1), torch.full((60,), round(60 * share)))
        expected += kept / 4
    torch.testing.assert_close(attention(x).reshape(60, 64), expected @ value)


def test_both_paths_of_the_feed_forward_part_count() -> None:
    torch.manual_seed(0)
    part = FeedForward(8)
    x = torch.randn(1, 8, 9, 9)
    whole = part(x)
    assert whole.shape == x.shape
    for path in (part.small, part.large):
        weight = path.weight.detach().clone()
        torch.nn.init.zeros_(path.weight)
        assert not torch.allclose(part(x), whole)
        path.weight.data.copy_(weight)


def test_experts_are_weighted_by_the_whole_image() -> None:
    torch.manual_seed(0)
    experts = Experts(8)
    x = torch.rand(1, 8, 12, 12)
    weights = []
    for step in experts.steps:
        step.register_forward_hook(lambda module, inputs, output: weights.append(inputs[1].detach()))
    near = experts(x)[:, :, :2, :2]
    changed = x.clone()
    changed[:, :, 11, 11] += 50
    far = experts(changed)[:, :, :2, :2]
    assert len(weights) == 8 and all(torch.allclose(w.sum(1), torch.ones(1)) and w.shape == (1, 8) for w in weights)
    assert not torch.allclose(weights[0], weights[4]) and not torch.allclose(near, far)


def test_onnx_does_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="exports need the extra `train`")
    from onnx_graph import run_as_onnx

    torch.manual_seed(0)
    net = CleanNet(3, 8, (1, 1)).eval()
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = net(image)
    (answer,) = run_as_onnx(net, tmp_path / "clean.onnx", image=image)
    torch.testing.assert_close(torch.from_numpy(answer), expected, atol=1e-4, rtol=1e-4)
