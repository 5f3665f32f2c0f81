"""The generator: what its stages give, and that its skips and its folding do what they say."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.generator import Generator, GeneratorStage  # noqa: E402


@pytest.mark.parametrize(("resize", "size"), [(1, (8, 12)), (-2, (4, 6)), (2, (16, 24))])
def test_stage_resizes_and_folds_to_the_same(resize: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    stage = GeneratorStage(3, 5, resize)
    for _ in range(3):
        stage(torch.randn(4, 3, 8, 12) * 2 + 1)
    stage.eval()
    image = torch.randn(2, 3, 8, 12)
    expected = stage(image)
    assert expected.shape == (2, 5, *size) and (expected >= 0).all() and expected.any()
    stage.fold()
    assert isinstance(stage.norm, torch.nn.Identity)
    torch.testing.assert_close(stage(image), expected, atol=1e-5, rtol=1e-5)
    stage.fold()
    torch.testing.assert_close(stage(image), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("aggregation", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_range(channels: int, aggregation: bool) -> None:
    generated, features = Generator(channels, aggregation)(torch.rand(2, channels, 36, 52) * 2 - 1)
    assert generated.shape == (2, channels, 36, 52) and features.shape == (2, 16, 36, 52)
    assert generated.abs().max() <= 1


def reach(net: Generator, *closed: GeneratorStage) -> bool:
    """Whether the output depends on the image when these stages let nothing through, nor does the trunk."""
    with torch.no_grad():
        for stage in (*closed, net.trunk[0], *(block.second for block in net.trunk[1:])):
            stage.norm.weight.zero_()
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    net.eval()(image)[0].sum().backward()
    assert image.grad is not None
    return bool(image.grad.abs().sum() > 0)


def test_only_aggregation_carries_the_image_past_the_trunk() -> None:
    torch.manual_seed(0)
    assert not reach(Generator(1, aggregation=False))
    assert reach(Generator(1))


def test_image_and_features_are_skips_of_their_own() -> None:
    torch.manual_seed(0)
    net = Generator(1)
    assert reach(net, net.join_up_half), "the image comes in at full size"
    net = Generator(1)
    with torch.no_grad():
        net.join_up_full.conv.weight[:, -1] = 0
    assert reach(net), "the encoder's features come in at half"
    assert not reach(net, net.join_up_half)
