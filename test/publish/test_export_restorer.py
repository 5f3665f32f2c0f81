"""Exported restorers do what the network does; the grey one does what the colour one does to grey images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import onnx  # noqa: E402

from derain_ros.engine import load  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.nets.fast import RECONSTRUCTED, STRIDE, FastRestorer  # noqa: E402
from derain_ros.nets.printed import PrintedRestorer  # noqa: E402
from derain_ros.publish.export import ExportError  # noqa: E402
from derain_ros.publish.export_restorer import RestorerGraph, load_restorer, to_grey  # noqa: E402
from derain_ros.publish.restorer import network_of, plan_of, publish_restorer  # noqa: E402
from derain_ros.runtime.stages import RECONSTRUCTED as RECONSTRUCTED_255  # noqa: E402
from derain_ros.runtime.stages.restore import restore_image  # noqa: E402
from derain_ros.train import checkpoint as checkpoints  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small restorer with random weights, as training leaves one."""
    torch.manual_seed(0)
    net = FastRestorer(3, 16, 2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    torch.nn.init.constant_(net.mask.bias, RECONSTRUCTED)  # so that there are pixels on either side
    path = tmp_path_factory.mktemp("runs") / "last.pt"
    return written(net, RestoreRecipe(width=16, blocks=2), path)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The printed network, its normalisations used to some images, as training leaves one."""
    torch.manual_seed(0)
    net = PrintedRestorer(3)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)
    torch.nn.init.constant_(net.mask.bias, RECONSTRUCTED)
    for _ in range(5):
        net(torch.rand(2, 3, 64, 64))
    return written(net, RestoreRecipe(network="printed"), tmp_path_factory.mktemp("runs") / "last.pt")


def written(net: torch.nn.Module, recipe: RestoreRecipe, path: Path) -> Path:
    """A checkpoint as training writes it."""
    state = net.state_dict()
    torch.save({"net": state, "average": state, "recipe": asdict(recipe), "step": 7}, path)
    return path


def test_the_model_of_the_manifest_does_what_the_network_does(checkpoint: Path, tmp_path: Path) -> None:
    assert publish_restorer(checkpoint, "restore_rgb", tmp_path, grey=False, data=None) == {}
    manifest = Manifest.load(tmp_path)
    model = manifest.get("restore_rgb")
    manifest.verify(model)
    assert (model.channels, model.stride, model.scale, model.network) == (3, STRIDE, 1, "balanced")
    assert b".py" not in model.file.read_bytes(), "no paths of the machine that exported it"
    engine, graph = load(model), RestorerGraph(load_restorer(checkpoint)[0])
    for size in ((2 * STRIDE, 3 * STRIDE), (STRIDE + 5, 2 * STRIDE - 3)):
        image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
        restored, mask = restore_image(engine, image)
        padded = np.pad(image, ((0, -size[0] % STRIDE), (0, -size[1] % STRIDE), (0, 0)), mode="edge")
        expected, expected_mask = (
            part[0, : size[0], : size[1]].numpy() for part in graph(torch.from_numpy(padded[None]))
        )
        difference = np.abs(restored.astype(int) - expected)
        assert restored.shape == image.shape and difference.max() <= 1
        assert np.abs(restored.astype(int) - image).max() > 5, "the network does something"
        assert np.mean((mask > 0) == (expected_mask > RECONSTRUCTED_255)) > 0.999
        assert set(np.unique(mask)) == {0, 255}


@pytest.mark.usefixtures("quick_exports")
@pytest.mark.parametrize(("grey", "size"), [(False, (128, 192)), (True, (192, 128))])
def test_a_network_for_reduced_images_does_on_the_robot_what_it_did_in_training(
    tmp_path: Path, grey: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    net = FastRestorer(3, 16, 2, scale=2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    path = written(net, RestoreRecipe(width=16, blocks=2, scale=2), tmp_path / "last.pt")
    publish_restorer(path, "restore_light", tmp_path, grey, data=None)
    model = Manifest.load(tmp_path).get("restore_light")
    assert (model.plan, model.network, model.scale) == ("light", "light", 2)
    # In the middle of the range: where a change leaves it, the robot clips before it brings the change back.
    image = np.random.default_rng(1).integers(90, 160, size if grey else (*size, 3), dtype=np.uint8)
    restored, mask = restore_image(load(model), image)
    net = to_grey(load_restorer(path)[0]) if grey else load_restorer(path)[0]
    padded = np.pad(image.reshape(*size, -1), ((0, -size[0] % 64), (0, -size[1] % 64), (0, 0)), mode="edge")
    with torch.no_grad():
        out = net(torch.from_numpy(padded[None]).permute(0, 3, 1, 2) / 255)
    expected = (out.restored[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()[: size[0], : size[1]].reshape(image.shape)
    # What is beyond the edge is repeated by the robot after reducing, in training before: the last columns differ.
    inner = (slice(0, size[0] - 3), slice(0, size[1] - 3))
    assert np.mean(np.abs(restored.astype(float) - expected)[inner] > 2) < 0.01
    assert np.abs(restored.astype(int) - image).max() > 5 and mask.shape == size
    if not grey:
        again = checkpoints.load_network(model.file)
        assert isinstance(again, FastRestorer) and again.scale == 2, "an exported one is trained on as what it was"


def test_grey_is_folded_from_colour(checkpoint: Path) -> None:
    net, _ = load_restorer(checkpoint)
    grey = to_grey(net)
    image = torch.rand(1, 1, 2 * STRIDE, 2 * STRIDE)
    colour, folded = net(image.expand(-1, 3, -1, -1)), grey(image)
    torch.testing.assert_close(folded.generated[:, 0], colour.generated.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(folded.mask, colour.mask, atol=1e-5, rtol=0)
    # The enhancer sees three generated channels that differ a little; on average they are the grey one.
    assert (folded.restored[:, 0] - colour.restored.mean(1)).abs().mean() < 0.1 * colour.restored.std()


@pytest.mark.usefixtures("quick_exports")
def test_figures_are_measured_on_held_out_images(checkpoint: Path, data_folder: Path, tmp_path: Path) -> None:
    figures = publish_restorer(checkpoint, "restore_mono", tmp_path, grey=True, data=data_folder)
    assert figures["real_images"] == 2 and "real_psnr_luma" not in figures, "grey images have one protocol"
    card = (tmp_path / "restore_mono.md").read_text()
    assert f"{figures['real_psnr_gain']:.2f} (" in card and "above 0.3" in card and "Phase 1, 7 steps" in card
    assert figures["real_psnr_gain"] == pytest.approx(figures["real_psnr"] - figures["real_input_psnr"], abs=1e-3)
    assert 0 <= figures["synthetic_mask_iou"] <= 1 and figures["clean_psnr"] > 5
    manifest = Manifest.load(tmp_path)
    assert manifest.figures(manifest.get("restore_mono")) == pytest.approx(figures, abs=1e-4)
    # Entered again without figures, it has none.
    publish_restorer(checkpoint, "restore_mono", tmp_path, grey=True, data=None)
    assert manifest.figures(manifest.get("restore_mono")) == {}


@pytest.mark.usefixtures("quick_exports")
def test_one_for_rain_is_measured_on_rain(checkpoint: Path, data_folder: Path, tmp_path: Path) -> None:
    figures = publish_restorer(checkpoint, "restore_mono_rain", tmp_path, True, data_folder, ("night_rain",), "light")
    manifest = Manifest.load(tmp_path)
    model = manifest.get("restore_mono_rain")
    assert (model.plan, model.network, model.serves) == ("light", "rain", ("night_rain",))
    assert manifest.figures(model) == pytest.approx(figures, abs=1e-4)
    assert figures["real_rain_images"] == 2 and "real_images" not in figures
    assert {"streak_psnr_gain", "night_rain_mask_iou", "clean_psnr"} <= figures.keys()


def test_the_printed_network_is_folded(printed: Path, tmp_path: Path) -> None:
    publish_restorer(printed, "restore_mono_quality", tmp_path, True, None, serves=("dirt",), not_for=("raindrop",))
    model = Manifest.load(tmp_path).get("restore_mono_quality")
    assert (model.channels, model.stride, model.plan, model.precision) == (1, 32, "quality", "float32")
    assert (model.serves, model.not_for) == (("dirt",), ("raindrop",))
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(model.file).graph.node}
    net = load_restorer(printed)[0]
    image = np.random.default_rng(1).integers(0, 256, (64, 96), dtype=np.uint8)
    with torch.no_grad():
        # Not folded: what training has seen.
        out = to_grey(net)(torch.from_numpy(image[None, None]) / 255)
    expected = (out.restored[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy().reshape(image.shape)
    restored, mask = restore_image(load(model), image)
    assert np.mean(np.abs(restored.astype(int) - expected) > 1) < 1e-3 and np.ptp(restored) > 5
    assert np.mean((mask > 0) == (out.mask[0, 0].numpy() > RECONSTRUCTED)) > 0.99, "but for rounding to eight bits"


def test_grey_is_folded_from_colour_of_the_printed_network(printed: Path) -> None:
    net, _ = load_restorer(printed)
    with torch.no_grad():
        # The three generated channels alike, as a network that knows grey images gives them: then folding is exact.
        for part in (net.generator.image.weight, net.generator.image.bias):
            part.copy_(part.mean(0, keepdim=True).expand_as(part))
        image = torch.rand(1, 1, 64, 64)
        colour, folded = net(image.expand(-1, 3, -1, -1)), to_grey(net)(image)
    for ours, theirs in (
        (folded.generated[:, 0], colour.generated.mean(1)),
        (folded.mask, colour.mask),
        (folded.restored[:, 0], colour.restored.mean(1)),
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_the_plan_stands_in_the_name() -> None:
    names = ("restore_mono", "restore_rgb_light", "restore_mono_quality", "restore_rgb_rain")
    assert [plan_of(n) for n in names] == ["balanced", "light", "quality", "balanced"]
    assert [network_of(n) for n in names] == ["balanced", "light", "quality", "rain"]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"weights": 1}, path)
    with pytest.raises(ExportError, match="not a checkpoint"):
        load_restorer(path)
    with pytest.raises(ExportError, match="missing.pt"):
        load_restorer(tmp_path / "missing.pt")
