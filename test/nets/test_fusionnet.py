"""FusionNet and its refinement: cost, shapes, ranges, that they learn, and ONNX against PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.fusionnet import DARKEST, STEPS, ContrastRefinement, FusionNet  # noqa: E402
from derain_ros.nets.macs import macs, parameters  # noqa: E402


def test_parameters_and_operations() -> None:
    with torch.device("meta"):
        net, image = FusionNet(), torch.empty(1, 1, 480, 640)
        done = macs(net, image, image)
    assert parameters(net) == 659_217 and done / 1e9 == pytest.approx(202.4, abs=0.1)


def test_shapes_and_range() -> None:
    torch.manual_seed(0)
    visible, infrared = torch.rand(2, 1, 17, 23), torch.rand(2, 1, 17, 23)
    fused = FusionNet(4)(visible, infrared)
    assert fused.shape == visible.shape and fused.min() >= 0 and fused.max() <= 1
    refined = ContrastRefinement(4)(fused, infrared)
    assert len(refined.images) == len(refined.illuminations) == STEPS
    for image, illumination in zip(*refined, strict=True):
        assert image.shape == illumination.shape == fused.shape
        assert image.min() >= 0 and image.max() <= 1 and illumination.min() >= DARKEST and illumination.max() <= 1
        assert torch.allclose(image, (fused / illumination).clamp(max=1))


def test_every_parameter_learns_from_both_images() -> None:
    torch.manual_seed(0)
    net, refinement = FusionNet(4), ContrastRefinement(4)
    visible, infrared = (torch.rand(2, 1, 16, 16, requires_grad=True) for _ in range(2))
    refined = refinement(net(visible, infrared) * 0.3, infrared)
    (refined.images[-1] - 0.5).square().mean().backward()
    named = [*net.named_parameters(), *refinement.named_parameters(), ("visible", visible), ("infrared", infrared)]
    assert [name for name, p in named if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_a_few_steps_come_near_the_maximum() -> None:
    torch.manual_seed(0)
    net = FusionNet(8)
    visible, infrared = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    errors = []
    for _ in range(25):
        error = (net(visible, infrared) - torch.maximum(visible, infrared)).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.7 * errors[0]


def test_onnx_does_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="exports need the extra `train`")
    from onnx_graph import run_as_onnx

    torch.manual_seed(0)
    net, refinement = FusionNet(8).eval(), ContrastRefinement(4).eval()
    visible, infrared = torch.rand(1, 1, 32, 48), torch.rand(1, 1, 32, 48)
    with torch.no_grad():
        fused = net(visible, infrared)
        refined = refinement(fused, infrared)
    (answer,) = run_as_onnx(net, tmp_path / "fuse.onnx", visible=visible, infrared=infrared)
    torch.testing.assert_close(torch.from_numpy(answer), fused, atol=1e-4, rtol=1e-4)
    answers = run_as_onnx(refinement, tmp_path / "refine.onnx", fused=fused, infrared=infrared)
    for ours, theirs in zip(answers, [*refined.images, *refined.illuminations], strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-4, rtol=1e-4)
