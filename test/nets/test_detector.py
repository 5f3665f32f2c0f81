"""The detector network: shapes, size, and what it must not depend on."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from derain_ros.frame import ANOMALY_KINDS  # noqa: E402
from derain_ros.nets.detector import CELL, CLASSES, SIZE, Detector  # noqa: E402


@pytest.fixture
def net() -> Detector:
    torch.manual_seed(0)
    return Detector().eval()


def test_classes_are_kinds_of_anomaly_in_their_order() -> None:
    assert ANOMALY_KINDS[: len(CLASSES)] == CLASSES and CLASSES[0] == "clean"


@pytest.mark.parametrize("size", [SIZE, (64, 96)])
def test_shapes(net: Detector, size: tuple[int, int]) -> None:
    out = net(torch.rand(3, 1, *size) * 255)
    assert out.classes.shape == (3, len(CLASSES))
    assert out.mask.shape == (3, size[0] // CELL, size[1] // CELL)


def test_is_as_small_as_it_says(net: Detector) -> None:
    macs = 0

    def count(layer: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += output[0].numel() * layer.weight[0].numel()

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 1, *SIZE))
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(0.20, abs=0.01)
    assert macs / 1e9 == pytest.approx(0.10, abs=0.01)


def test_brightness_and_contrast_hardly_matter(net: Detector) -> None:
    image = torch.rand(1, 1, *SIZE) * 250
    brighter = 0.5 * image + 90
    assert torch.allclose(net(image).classes, net(brighter).classes, atol=0.015)
    assert not torch.allclose(net(image).classes, net(image.flip(2)).classes, atol=1e-4)


def test_an_empty_picture_gives_finite_results(net: Detector) -> None:
    for level in (0.0, 255.0):
        out = net(torch.full((1, 1, *SIZE), level))
        assert torch.isfinite(out.classes).all() and torch.isfinite(out.mask).all()


def test_each_image_is_judged_alone(net: Detector) -> None:
    images = torch.rand(2, 1, *SIZE) * 255
    both = net(images)
    assert torch.allclose(both.classes[:1], net(images[:1]).classes, atol=1e-4)
    assert torch.allclose(both.mask[1:], net(images[1:]).mask, atol=1e-4)
