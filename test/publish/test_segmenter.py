"""A checkpoint becomes two segmenters of the manifest, measured and with a card, and can be read again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tiny_streets import write_streets

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("onnxscript")
pytest.importorskip("efficientnet_lite_pytorch", reason="the backbone needs the extra `train`")

from lightning_fabric import Fabric  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from derain_ros.cli.main import app  # noqa: E402
from derain_ros.data.labelled import CAMVID, labelled_scenes  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.engine import load  # noqa: E402
from derain_ros.evaluate.segmentation import segmented_by  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.nets.segmentation import Segmenter  # noqa: E402
from derain_ros.train.segmentation import SegmentLearner, SegmentRecipe, load_segmenter, segment  # noqa: E402


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of random weights, data, and the models that `derain export` made."""
    folder = tmp_path_factory.mktemp("published")
    write_streets(folder / "data", held_out=4)
    torch.manual_seed(0)
    net = Segmenter(len(CAMVID), width=16, pretrained=True)
    torch.nn.init.normal_(net.classify.weight, std=2.0)
    state = net.state_dict()
    torch.save(
        {
            "task": "segment",
            "net": state,
            "average": state,
            "step": 7,
            "data": ["4 labelled scenes"],
            "origin": "lite0, trained on ImageNet",
            "recipe": asdict(SegmentRecipe(width=16, steps=7)),
            "classes": list(CAMVID),
        },
        folder / "last.pt",
    )
    arguments = ["export", str(folder / "last.pt"), "segment", "--models", str(folder / "models")]
    done = CliRunner().invoke(app, [*arguments, "--data", str(folder / "data")])
    assert done.exit_code == 0, done.output
    assert "colour_miou: " in done.output and "grey_miou: " in done.output
    return folder


def test_both_models_are_entered(published: Path) -> None:
    manifest = Manifest.load(published / "models")
    eight, full = manifest.get("segment"), manifest.get("segment_float")
    assert (eight.precision, full.precision, eight.network, full.network) == ("int8", "float32", "segment", "segment")
    assert eight.classes == full.classes == CAMVID and eight.channels == 3 and eight.stride == 16
    for model in (eight, full):
        manifest.verify(model)
        assert set(manifest.figures(model)) == {"colour_miou", "colour_accuracy", "grey_miou", "grey_accuracy"}
    card = (published / "models/segment.md").read_text()
    assert "5 tree" in card and "steps: 7" in card and "4 labelled scenes" in card and "| segment_float, grey |" in card


def test_engines_say_what_the_network_says(published: Path) -> None:
    manifest = Manifest.load(published / "models")
    net, _ = load_segmenter(published / "last.pt")
    image, _ = labelled_scenes(published / "data", "test")[0].read()
    image = np.ascontiguousarray(image[:91, :120])  # to be padded
    expected = segment(net, image)
    assert len(np.unique(expected)) > 1, "else anything would agree"
    for name, share in (("segment_float", 0.002), ("segment", 0.15)):
        found = segmented_by(load(manifest.get(name)))(image)
        assert found.shape == expected.shape and found.dtype == np.uint8
        assert np.mean(found != expected) < share, name


def test_an_exported_segmenter_is_a_judge_of_trainings(published: Path) -> None:
    net, names = load_segmenter(published / "models/segment_float.onnx")
    before, _ = load_segmenter(published / "last.pt")
    image = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(image), before(image), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(net.maps(image).last, before.maps(image).last, atol=1e-3, rtol=1e-3)
    assert tuple(names) == CAMVID
    with pytest.raises(DataError, match="its weights have eight bits"):
        load_segmenter(published / "models/segment.onnx")
    begun = SegmentRecipe(width=16, crop=64, start_from=str(published / "models/segment_float.onnx"))
    with pytest.raises(DataError, match="segment_float.onnx: has not the parts of the network to be trained"):
        SegmentLearner(begun, published / "data", Fabric(accelerator="cpu"), 0)


def test_there_is_none_for_grey_alone(published: Path) -> None:
    arguments = ["export", str(published / "last.pt"), "segment", "--grey", "--models", str(published / "other")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and "remove --grey" in done.output


@pytest.mark.parametrize(
    ("option", "known"), [("--purpose", "must be one of segmentation"), ("--plan", "must be one of quality")]
)
def test_what_no_manifest_may_hold_is_refused(option: str, known: str, tmp_path: Path) -> None:
    arguments = ["export", str(tmp_path / "last.pt"), "restore_rgb", option, "fishing", "--models", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and f"fishing: {known}" in done.output and not (tmp_path / "models.yaml").exists()
