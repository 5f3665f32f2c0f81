"""Paper 2's cascade: its cost, its parts, that they learn, and ONNX against PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.macs import macs, parameters  # noqa: E402
from derain_ros.nets.srrn import AttentionNetwork, RefinementBlock, TaskDriven, UNet  # noqa: E402

SMALL = (6, 4, 4, (1, 1, 1, 1))


@pytest.mark.parametrize(
    ("widths", "size", "cost"),
    [((48, 64, 64, (3, 4, 2, 2)), 75_444_704, 222.2), ((12, 16, 16, (1, 1, 1, 1)), 4_154_244, 12.8)],
)
def test_parameters_and_operations(widths: tuple, size: int, cost: float) -> None:
    with torch.device("meta"):
        net = TaskDriven(*widths).eval()
        done = macs(net, torch.empty(1, 3, 256, 256))
    assert parameters(net) == size
    assert done / 1e9 == pytest.approx(cost, abs=0.05)


def test_shapes() -> None:
    image = torch.rand(2, 3, 48, 32)
    out = TaskDriven(*SMALL)(image)
    assert out.attention.shape == (2, 1, 48, 32) and out.coarse.shape == image.shape
    assert [refined.shape for refined in out.refined] == [image.shape] * 2 and out.image is out.refined[-1]
    alone = TaskDriven(6, 4, 0, (1, 1, 1, 1))(image)
    assert alone.refined == () and alone.image is alone.coarse


def test_the_coarse_network_sees_image_and_attention() -> None:
    torch.manual_seed(0)
    net = TaskDriven(*SMALL).eval()
    seen = []
    net.coarse.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        out = net(image)
    assert torch.equal(seen[0], torch.cat([image, out.attention], 1))


def test_refinement_adds_what_both_branches_find() -> None:
    torch.manual_seed(0)
    block = RefinementBlock(4).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        whole, wide, near = block(image), block.wide(image), block.near_last(block.near(image))
        torch.testing.assert_close(whole, image + wide + near)
        assert wide.abs().max() > 0 and near.abs().max() > 0
        for last in (block.wide.last, block.near_last):
            torch.nn.init.zeros_(last.weight)
        assert torch.equal(block(image), image), "it adds to the image"


def test_the_streams_of_the_attention_network_exchange() -> None:
    torch.manual_seed(0)
    net = AttentionNetwork(6, (1, 1, 1, 1)).eval()
    assert [unit.level for unit in net.units] == [1, 2, 3, 4, 3, 2, 1]
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = net(image)
        torch.nn.init.zeros_(net.units[3].to_lane.weight)
        assert not torch.allclose(net(image), before), "what the deepest unit tells the lane counts"
    with pytest.raises(ValueError, match="units must be 4 numbers"):
        AttentionNetwork(6, (1, 1))


def test_the_u_keeps_what_only_full_size_shows() -> None:
    torch.manual_seed(0)
    net = UNet(3, 3, 4).eval()
    image = torch.rand(1, 3, 32, 32)
    changed = image.clone()
    changed[..., 5, 7] = 0
    with torch.no_grad():
        difference = (net(changed) - net(image)).abs().sum(1)[0]
    assert difference[5, 7] > 4 * difference.mean()


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = TaskDriven(*SMALL)
    out = net(torch.rand(2, 3, 32, 32))
    (out.image.square().mean() + out.attention.square().mean()).backward()
    # The convolution's bias before a normalisation has none to learn, and there is none.
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_onnx_does_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="exports need the extra `train`")
    from onnx_graph import run_as_onnx

    torch.manual_seed(0)
    net = TaskDriven(*SMALL).eval()
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = net(image)
    answers = run_as_onnx(net, tmp_path / "task.onnx", image=image)
    for answer, value in zip(answers, (expected.attention, expected.coarse, *expected.refined), strict=True):
        torch.testing.assert_close(torch.from_numpy(answer), value, atol=1e-4, rtol=1e-4)
