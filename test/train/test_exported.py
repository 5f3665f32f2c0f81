"""Exported models are networks to train on and to learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")


from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.nets.detector import SIZE, Detector  # noqa: E402
from derain_ros.nets.fast import FastRestorer  # noqa: E402
from derain_ros.nets.printed import PrintedRestorer  # noqa: E402
from derain_ros.publish.export_detector import export_detector  # noqa: E402
from derain_ros.publish.export_restorer import export_restorer, to_grey  # noqa: E402
from derain_ros.resources import model_dir  # noqa: E402
from derain_ros.train import checkpoint, exported  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402


def trained(net: FastRestorer | PrintedRestorer) -> FastRestorer | PrintedRestorer:
    """The network with normalisations that have seen something."""
    torch.manual_seed(3)
    for _ in range(3):
        net(torch.rand(2, 3, 32, 64))
    return net.eval()


@pytest.mark.usefixtures("of_one_size")
@pytest.mark.parametrize(
    "net",
    [
        FastRestorer(3, 16, 2),
        FastRestorer(3, 16, 2, deep=2),
        PrintedRestorer(),
        PrintedRestorer(enhancer=False),
        PrintedRestorer(aggregation=False),
    ],
    ids=["fast", "deep", "G+E+A", "G+A", "G+E"],
)
def test_an_exported_network_comes_back_as_it_was(net: FastRestorer | PrintedRestorer, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_restorer(trained(net), path)
    recipe = checkpoint.read(path)["recipe"]
    back, image = checkpoint.load_network(path), torch.rand(1, 3, 32, 64)
    assert isinstance(back, type(net)) and not back.training
    for ours, theirs in zip(back(image), net(image), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    grey = torch.rand(1, 1, 32, 64)
    assert torch.allclose(to_grey(back)(grey).restored, to_grey(net)(grey).restored, atol=1e-5)
    # What is trained on from there is one to begin with as well.
    checkpoint.write({"net": back.state_dict(), "recipe": recipe}, tmp_path / "last.pt")
    again = checkpoint.load_network(tmp_path / "last.pt")
    assert torch.allclose(again(image).restored, net(image).restored, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("restore_rgb", {"network": "fast", "width": 32, "blocks": 6, "deep": 0, "scale": 1}),
        ("restore_rgb_light", {"network": "fast", "width": 32, "blocks": 6, "deep": 0, "scale": 2}),
        ("restore_rgb_quality", {"network": "fast", "width": 64, "blocks": 9, "deep": 6, "scale": 1}),
    ],
)
def test_the_shipped_restorers_are_known_by_their_names(name: str, network: dict[str, object]) -> None:
    recipe = checkpoint.with_network_of(RestoreRecipe(width=16, steps=7), name)
    assert (recipe.start_from, recipe.steps) == (name, 7)
    assert {key: getattr(recipe, key) for key in network} == network
    assert sum(p.numel() for p in checkpoint.load_network(Path(name)).parameters()) > 1e5


@pytest.mark.usefixtures("of_one_size")
def test_what_cannot_be_trained_on_is_told(tmp_path: Path) -> None:
    export_restorer(to_grey(trained(FastRestorer(3, 16, 1))), tmp_path / "grey.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    for name, told in (
        (tmp_path / "grey.onnx", "is for grey images; take the one for colour"),
        (tmp_path / "text.onnx", "not an ONNX model"),
        (model_dir() / "restore_rgb_int8.onnx", "eight bits; take the model in floating point"),
        (model_dir() / "detect_float.onnx", "not a restorer that `derain export` has written"),
        (Path("detect"), "no such checkpoint, nor a shipped restorer of that name"),
    ):
        with pytest.raises(DataError, match=told):
            checkpoint.load_network(name)
    net = FastRestorer(3, 16, 1)
    with pytest.raises(DataError, match="restore_rgb: has not the parts of the network to be trained"):
        checkpoint.begin_with(net, Path("restore_rgb"))


def test_an_exported_detector_comes_back_with_its_normalisations(tmp_path: Path) -> None:
    torch.manual_seed(4)
    net, images = Detector(), 255 * torch.rand(24, 1, *SIZE) ** torch.rand(24, 1, 1, 1)
    for part in images.split(8):
        net(part)
    checkpoint.write(
        {"net": net.state_dict(), "calibration": {"scale": [1.0] * 5, "shift": [0.0] * 5}}, tmp_path / "detector.pt"
    )
    export_detector(tmp_path / "detector.pt", tmp_path / "detect.onnx")
    back = Detector()
    exported.begin_detector(back, tmp_path / "detect.onnx", images[:16])
    assert back.training
    for ours, theirs in zip(back.eval()(images[16:]), net.eval()(images[16:]), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    # Where training normalises by the batch, it is this function that is trained on, not another one.
    with torch.no_grad():
        for ours, theirs in zip(back.train()(images[:16]), back.eval()(images[:16]), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-3)


def test_what_is_no_exported_detector_is_told(tmp_path: Path) -> None:
    for name, told in (("detect", "eight bits"), ("restore_mono", "not a detector that `derain export` has")):
        with pytest.raises(DataError, match=told):
            exported.begin_detector(Detector(), model_dir() / f"{name}.onnx", torch.zeros(1, 1, *SIZE))
    assert checkpoint.find(Path("detect_float"), "detect") == model_dir() / "detect_float.onnx"
    with pytest.raises(DataError, match="restore_rgb: there is no such checkpoint, nor a shipped detector"):
        checkpoint.find(Path("restore_rgb"), "detect")


def test_a_damaged_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("models.yaml", "restore_rgb.onnx"):
        (tmp_path / name).write_bytes((model_dir() / name).read_bytes())
    manifest = exported.Manifest.load(tmp_path)
    monkeypatch.setattr(exported.Manifest, "load", lambda: manifest)
    assert exported.shipped("restore_rgb") == tmp_path / "restore_rgb.onnx"
    (tmp_path / "restore_rgb.onnx").write_bytes(b"cut")
    with pytest.raises(DataError, match="restore_rgb.onnx"):
        exported.shipped("restore_rgb")
