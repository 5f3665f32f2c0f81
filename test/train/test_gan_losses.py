"""Losses (1) to (5) against values worked out by hand."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from torch import Tensor, nn  # noqa: E402

from derain_ros.cli.recipes import read_phases  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.nets.detector import Detector  # noqa: E402
from derain_ros.nets.fast import Restoration  # noqa: E402
from derain_ros.resources import model_dir  # noqa: E402
from derain_ros.train import gan_losses  # noqa: E402
from derain_ros.train.exported import load_detector  # noqa: E402
from derain_ros.train.gan_losses import DetectorFeatures  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402


def test_adversarial_and_discrimination() -> None:
    judgement = torch.tensor([0.0, 0.5, 1.0, 2.0])
    assert gan_losses.adversarial(judgement).item() == pytest.approx((1 + 0.25 + 0 + 1) / 4)
    real, generated = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert gan_losses.discrimination(real, generated).item() == pytest.approx(0.5 * (0.5 + 2.0))


def test_matching_weights_the_deep_maps_most() -> None:
    clean = [torch.zeros(1, 2, 4, 4) for _ in range(3)]
    for k, expected in enumerate((0.25, 0.5, 1.0)):
        restored = [torch.full((1, 2, 4, 4), -3.0 if k == n else 0.0) for n in range(3)]
        assert gan_losses.matching(clean, restored).item() == pytest.approx(3 * expected)
    with pytest.raises(ValueError):
        gan_losses.matching(clean, clean[:2])


def test_the_clean_maps_get_no_gradient() -> None:
    clean, restored = (torch.rand(1, 1, 2, 2, requires_grad=True) for _ in range(2))
    gan_losses.matching([clean], [restored]).backward()
    assert clean.grad is None and restored.grad is not None


def test_fidelity_is_the_norm_of_each_image() -> None:
    clean = torch.zeros(2, 1, 2, 2)
    restored = torch.tensor([[3.0, 0, 0, 0], [1, 1, 1, 1]]).view(2, 1, 2, 2).requires_grad_()
    loss = gan_losses.fidelity(clean, restored)
    assert loss.item() == pytest.approx((3 / 2 + 1) / 2)
    gan_losses.fidelity(clean, restored * 0).backward()
    assert restored.grad is not None and restored.grad.isfinite().all()


class Halves(nn.Module):
    """A discriminator that can be worked out: its maps are the image, half of it, and its mean."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [image, image / 2, image.mean().view(1, 1, 1, 1)]


def test_parts_are_taken_of_the_right_images() -> None:
    clean = torch.zeros(1, 3, 4, 4)
    out = Restoration(torch.full_like(clean, 0.2), torch.full_like(clean, 0.6), torch.zeros(1, 1, 4, 4))
    parts = gan_losses.generator_losses(out, clean, Halves(), lambda image: [image, 10 * image])
    values = {name: part.item() for name, part in parts.items()}
    assert values == pytest.approx({"gan": 0.64, "fm": 0.5 * 0.2 + 0.1, "fid": 0.6, "vgg": 0.5 * 0.6 + 6.0})
    assert "vgg" not in gan_losses.generator_losses(out, clean, Halves(), None)


def test_features_of_a_sequence() -> None:
    features = gan_losses.VGGFeatures(nn.Sequential(nn.Identity(), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()), (1, 2))
    first, second = features(torch.full((1, 3, 4, 4), 0.485))
    assert first.shape == (1, 3, 4, 4) and second.shape == (1, 3, 2, 2) and len(features.sequence) == 3
    expected = torch.tensor([0.0, (0.485 - 0.456) / 0.224, (0.485 - 0.406) / 0.225])
    torch.testing.assert_close(second[0, :, 0, 0], expected, atol=1e-6, rtol=0)


def test_the_log_says_where_perceptual_features_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(gan_losses.importlib.util, "find_spec", lambda name: None)
    assert gan_losses.perceptual_features() is None
    assert "torchvision is not installed" in caplog.text

    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)] * 18
    net = nn.ModuleDict({"features": nn.Sequential(*layers)})
    vgg = ModuleType("torchvision.models")
    vgg.VGG19_Weights = SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url="https://a.b/vgg19.pth"))  # type: ignore[attr-defined]
    vgg.vgg19 = lambda: SimpleNamespace(features=net["features"], load_state_dict=net.load_state_dict)  # type: ignore[attr-defined]
    monkeypatch.setattr(gan_losses.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", vgg)
    assert gan_losses.perceptual_features() is None
    assert "vgg19.pth is missing; fetch it from https://a.b" in caplog.text
    (tmp_path / "checkpoints").mkdir()
    torch.save(net.state_dict(), tmp_path / "checkpoints/vgg19.pth")
    features = gan_losses.perceptual_features()
    assert features is not None and len(features(torch.rand(1, 3, 8, 8))) == 5
    assert "VGG-19 from" in caplog.text
    assert not any(p.requires_grad for p in features.parameters())


def test_the_detector_stands_in_for_vgg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(gan_losses.importlib.util, "find_spec", lambda name: None)
    torch.save({"net": Detector().state_dict(), "recipe": {}}, tmp_path / "detector.pt")
    features = gan_losses.perceptual_features(str(tmp_path / "detector.pt"))
    assert features is not None and "the detector in" in caplog.text
    image = torch.rand(2, 3, 32, 64, requires_grad=True)
    maps = features(image)
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 32), (8, 16), (4, 8)]
    # Brightness and contrast are not what it sees.
    for a, b in zip(maps, features(image * 0.5 + 0.2), strict=True):
        torch.testing.assert_close(a, b, atol=0.05, rtol=0.05)
    torch.stack([m.mean() for m in maps]).sum().backward()
    assert image.grad is not None and image.grad.any()
    assert not any(p.requires_grad or p.grad is not None for p in features.parameters())
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(DataError, match="text.pt: not a checkpoint of `derain train`"):
        gan_losses.perceptual_features(str(tmp_path / "text.pt"))


def test_the_shipped_detector_stands_in_for_vgg_in_the_recipe_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_losses.importlib.util, "find_spec", lambda name: None)
    recipe = read_phases(Path("paper"), RestoreRecipe)[0]
    assert recipe.adversarial and recipe.detector == "detect_float"
    features = gan_losses.perceptual_features(recipe.detector)
    assert features is not None
    # The maps are those of the exported network: the first weights are its own.
    net = Detector()
    load_detector(net, model_dir() / "detect_float.onnx")
    torch.testing.assert_close(
        features(torch.ones(1, 3, 32, 64).cumsum(3) / 64)[0],
        DetectorFeatures(net)(torch.ones(1, 3, 32, 64).cumsum(3) / 64)[0],
    )
    assert features(torch.rand(1, 3, 32, 64))[0].amax() > 0
