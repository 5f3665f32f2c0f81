"""The detector network: shapes, size, and what it must not depend on."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from derain_ros.frame import ANOMALY_KINDS  # noqa: E402
from derain_ros.nets.detector import CELL, CELLS, CLASSES, SIZE, Detector, standardised  # noqa: E402


@pytest.fixture
def net() -> Detector:
    torch.manual_seed(0)
    return Detector().eval()


def test_classes_are_the_kinds_of_anomaly_in_their_order() -> None:
    assert ANOMALY_KINDS == CLASSES


def test_a_cell_is_eight_pixels_of_the_camera() -> None:
    assert (2 * SIZE[0], 2 * SIZE[1]) == (540, 720)
    assert 2 * CELL == 8 and CELLS == (68, 90)


@pytest.mark.parametrize("count", [1, 3])
def test_shapes(net: Detector, count: int) -> None:
    out = net(torch.rand(count, 1, *SIZE) * 255)
    assert out.classes.shape == (count, len(CLASSES))
    assert out.mask.shape == (count, *CELLS)
    assert out.severity.shape == (count,)


def test_a_cell_sees_its_own_place(net: Detector) -> None:
    image = torch.rand(1, 1, *SIZE) * 255
    changed = image.clone()
    changed[0, 0, 200:216, 300:316] = 255 - changed[0, 0, 200:216, 300:316]
    difference = (net(image).mask - net(changed).mask)[0].abs()
    row, column = divmod(int(difference.argmax()), CELLS[1])
    assert abs(row - 208 / CELL) <= 4 and abs(column - 308 / CELL) <= 4


def test_is_as_small_as_it_says(net: Detector) -> None:
    macs = 0

    def count(layer: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += output[0].numel() * layer.weight[0].numel()

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 1, *SIZE))
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(0.15, abs=0.005)
    assert macs / 1e9 == pytest.approx(0.115, abs=0.005)


def test_brightness_and_contrast_hardly_matter(net: Detector) -> None:
    image = torch.rand(1, 1, *SIZE) * 250
    brighter = 0.5 * image + 90
    assert torch.allclose(net(image).classes, net(brighter).classes, atol=0.03)
    assert not torch.allclose(net(image).classes, net(image.flip(2)).classes, atol=1e-4)


def test_standardised_pictures_have_mean_0_and_about_unit_spread() -> None:
    image = torch.rand(2, 1, *SIZE) * torch.tensor([200.0, 100.0]).view(2, 1, 1, 1) + 20
    out = standardised(image)
    assert out.mean((1, 2, 3)).abs().max() < 0.05
    assert torch.allclose(out.std((1, 2, 3)), torch.tensor([0.88, 0.78]), atol=0.03)


def test_an_empty_picture_gives_finite_results(net: Detector) -> None:
    for level in (0.0, 255.0):
        out = net(torch.full((1, 1, *SIZE), level))
        assert all(torch.isfinite(part).all() for part in out)


def test_each_image_is_judged_alone(net: Detector) -> None:
    images = torch.rand(2, 1, *SIZE) * 255
    both = net(images)
    assert torch.allclose(both.classes[:1], net(images[:1]).classes, atol=1e-4)
    assert torch.allclose(both.mask[1:], net(images[1:]).mask, atol=1e-4)
    assert torch.allclose(both.severity[1:], net(images[1:]).severity, atol=1e-4)
