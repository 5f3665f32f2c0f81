"""Eight-bit restorers: close to what they were made of, and entered beside it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import onnx  # noqa: E402

from derain_ros.data.layouts import pairs  # noqa: E402
from derain_ros.engine import load  # noqa: E402
from derain_ros.evaluate.restoration import luminance, similarity  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.nets.fast import FastRestorer  # noqa: E402
from derain_ros.nets.printed import PrintedRestorer  # noqa: E402
from derain_ros.publish import eight_bits, quantize  # noqa: E402
from derain_ros.publish.export import ExportError  # noqa: E402
from derain_ros.publish.export_restorer import export_restorer  # noqa: E402
from derain_ros.publish.quantize import calibration_images, publish_quantized, quantize_onnx  # noqa: E402
from derain_ros.publish.restorer import publish_restorer  # noqa: E402
from derain_ros.runtime.stages.restore import restore_image  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small grey restorer of random weights."""
    torch.manual_seed(0)
    net = FastRestorer(3, 16, 2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    directory = tmp_path_factory.mktemp("models")
    state = net.state_dict()
    torch.save(
        {"net": state, "average": state, "recipe": asdict(RestoreRecipe(width=16, blocks=2)), "step": 1},
        directory / "a.pt",
    )
    publish_restorer(directory / "a.pt", "restore_mono", directory, grey=True, data=None)
    return directory


@pytest.mark.usefixtures("quick_exports")
def test_is_close_and_entered_beside(models: Path, data_folder: Path) -> None:
    figures = publish_quantized("restore_mono", models, data_folder)
    manifest = Manifest.load(models)
    assert set(manifest.models) == {"restore_mono", "restore_mono_int8"}
    eight, full = manifest.get("restore_mono_int8"), manifest.get("restore_mono")
    manifest.verify(eight)
    assert manifest.figures(eight) == pytest.approx(figures, abs=1e-4)
    assert (eight.channels, eight.stride) == (full.channels, full.stride)
    image = calibration_images(data_folder, 1)[0]
    theirs, ours = restore_image(load(full), image)[0], restore_image(load(eight), image)[0]
    assert similarity(theirs[..., 0], image[..., 0])[0] < 30 < similarity(theirs[..., 0], ours[..., 0])[0]


def test_data_of_one_s_own_calibrates_and_lacks_only_figures(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(3):
        for side in ("wet", "dry"):
            (tmp_path / side).mkdir(exist_ok=True)
            picture = np.random.default_rng(n).integers(0, 256, (80, 90, 3), np.uint8)
            cv2.imwrite(str(tmp_path / side / f"{n}.png"), picture)
    shutil.copytree(models, tmp_path / "models")
    figures = publish_quantized("restore_mono", tmp_path / "models", tmp_path)
    assert figures["real_images"] == 1 and "clean_psnr" not in figures, "one pair is held out, no photograph is"
    (tmp_path / "photographs/bsds500").mkdir(parents=True)
    (tmp_path / "wet").rename(tmp_path / "photographs/bsds500/train")
    assert publish_quantized("restore_mono", tmp_path / "models", tmp_path / "photographs") == {}
    assert "restore_mono_int8 is added to the manifest without figures" in caplog.text
    manifest = Manifest.load(tmp_path / "models")
    manifest.verify(manifest.get("restore_mono_int8"))


@pytest.mark.usefixtures("quick_exports")
def test_one_that_serves_rain_is_calibrated_on_rain(
    models: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_restorer(models / "a.pt", "restore_mono_rain", tmp_path, True, None, ("streak",), not_for=("dirt",))
    taken = []
    monkeypatch.setattr(
        quantize,
        "quantize_onnx",
        lambda source, target, images: (taken.extend(images), target.write_bytes(source.read_bytes())),
    )
    publish_quantized("restore_mono_rain", tmp_path, data_folder)
    made = Manifest.load(tmp_path).get("restore_mono_rain_int8")
    assert (made.serves, made.not_for) == (("streak",), ("dirt",))
    rain = [luminance(path.read().wet) for path in pairs(data_folder, "train", "rain")]
    drops = [luminance(path.read().wet) for path in pairs(data_folder, "train")]
    assert np.array_equal(taken[0][..., 0], rain[0][:256, :256])
    assert {image.shape for image in taken} == {(256, 256, 1)}
    assert not any(np.array_equal(image[..., 0], drop) for image in taken for drop in drops)


def test_what_is_added_to_the_image_stays_float(models: Path, data_folder: Path, tmp_path: Path) -> None:
    quantize_onnx(models / "restore_mono.onnx", tmp_path / "q.onnx", calibration_images(data_folder, 1)[:2])
    graph = onnx.load(tmp_path / "q.onnx").graph
    maker = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions and all(maker[node.input[0]].op_type == "DequantizeLinear" for node in convolutions)
    last = maker["restored"]
    passed = []
    while last.op_type != "Add" or "pixel" in last.name:
        passed.append(last.op_type)
        last = maker[last.input[0]]
    assert "DequantizeLinear" not in passed, "the restored image is never rounded to eight bits but at the end"


def test_the_printed_network_stays_float_from_its_generated_image_on(data_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = PrintedRestorer(1).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    export_restorer(net, tmp_path / "printed.onnx")
    quantize_onnx(tmp_path / "printed.onnx", tmp_path / "q.onnx", calibration_images(data_folder, 1)[:2])
    nodes = onnx.load(tmp_path / "q.onnx").graph.node
    tangent = next(n for n, node in enumerate(nodes) if node.op_type == "Tanh")
    kinds = [node.op_type for node in nodes]
    assert "QuantizeLinear" not in kinds[tangent:] and kinds[:tangent].count("QuantizeLinear") > 20
    maker = {output: node for node in nodes for output in node.output}
    assert maker[nodes[tangent].input[0]].op_type == "Conv"


def test_other_models_are_refused(data_folder: Path, tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["image"], ["restored"])
    value = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 32, 32, 1])
        for name in ("image", "restored")
    ]
    path = tmp_path / "other.onnx"
    graph = onnx.helper.make_graph([node], "other", value[:1], value[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), path)
    with pytest.raises(ExportError, match="is not a model that can be quantised"):
        quantize_onnx(path, tmp_path / "q.onnx", [np.zeros((32, 32, 1), np.uint8)])


def test_activations_without_a_range_are_told_of(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise ValueError("Too many bins for data range. Cannot create 2048 finite-sized bins.")

    monkeypatch.setattr(eight_bits, "quantize_static", fail)
    with pytest.raises(ExportError, match="activations hardly vary.*Too many bins.*train it longer"):
        quantize_onnx(models / "restore_mono.onnx", tmp_path / "q.onnx", [np.zeros((32, 32, 1), np.uint8)])
