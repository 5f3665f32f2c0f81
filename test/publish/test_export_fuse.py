"""Exported fusers do what the network does, at any size; in eight bits nearly so, and only their convolutions are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_fusion import write_pairs

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx  # noqa: E402

from derain_ros.data.fusion import FusionSource, fusion_pairs  # noqa: E402
from derain_ros.nets.fuse import STRIDE, Fuser  # noqa: E402
from derain_ros.publish.export import ExportError  # noqa: E402
from derain_ros.publish.export_fuse import INPUTS, export_fuser, load_fuser, quantize_fuser  # noqa: E402
from derain_ros.tasks import TASKS  # noqa: E402


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fuser, Path, Path]:
    """A fuser with random weights, and its ONNX files in floating point and in eight bits."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    net = Fuser(16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    export_fuser(net, folder / "fuse_float.onnx")
    source = FusionSource(fusion_pairs(write_pairs(folder / "data"), "train"), 96, 0)
    quantize_fuser(folder / "fuse_float.onnx", folder / "fuse.onnx", [source.sample(0, n) for n in range(8)])
    return net.eval(), folder / "fuse_float.onnx", folder / "fuse.onnx"


def images(batch: int, rows: int, columns: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    coarse = {name: torch.from_numpy(rng.uniform(0, 255, (batch, 1, 2 * rows, 2 * columns))) for name in INPUTS}
    coarse["mask"] = (coarse["mask"] > 180) * 255.0
    return {
        name: torch.nn.functional.interpolate(image, (rows * STRIDE, columns * STRIDE))
        .round()
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .numpy()
        for name, image in coarse.items()
    }


def run(path: Path, given: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(INPUTS) == list(TASKS["fuse"].inputs)
    assert all(i.shape == ["batch", "height", "width", 1] and i.type == "tensor(uint8)" for i in session.get_inputs())
    fused: np.ndarray = session.run(list(TASKS["fuse"].outputs), given)[0]
    return fused


@pytest.mark.parametrize(("batch", "rows", "columns"), [(1, 2, 3), (2, 4, 3), (3, 1, 1)])
def test_agrees_with_the_network(exported: tuple[Fuser, Path, Path], batch: int, rows: int, columns: int) -> None:
    net, path, eight = exported
    given = images(batch, rows, columns)
    fused = run(path, given)
    assert fused.shape == (batch, rows * STRIDE, columns * STRIDE, 1) and fused.dtype == np.uint8
    with torch.no_grad():
        expected = net(*(torch.from_numpy(given[name]).permute(0, 3, 1, 2).float() / 255 for name in INPUTS)).fused
    expected = expected.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(fused - expected).max() < 0.51
    error = np.mean((run(eight, given).astype(float) - expected) ** 2)
    assert 10 * np.log10(255**2 / error) > 38, "hard squares and random weights; the shipped one is nearer"


def test_an_even_image_goes_through_eight_bits_exactly(exported: tuple[Fuser, Path, Path]) -> None:
    """Bases and details are floats: where both sources are equally flat, weights cannot matter."""
    for value in (0, 77, 255):
        given = {name: np.full((1, 32, 32, 1), value, np.uint8) for name in INPUTS}
        assert np.array_equal(run(exported[2], given), given["visible"])


def test_all_convolutions_but_the_smoothings_are_in_eight_bits(exported: tuple[Fuser, Path, Path]) -> None:
    model = onnx.load(exported[2])
    maker = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    eight = [node for node in convolutions if maker.get(node.input[1], node).op_type == "DequantizeLinear"]
    assert len(convolutions) - len(eight) == 2 and len(eight) == 15
    assert all(maker[node.input[0]].op_type == "Conv" for node in model.graph.node if node.op_type == "Sigmoid")
    assert exported[2].stat().st_size < exported[1].stat().st_size / 2


def test_a_file_that_is_no_fuser_is_told(tmp_path: Path) -> None:
    torch.save({"net": {}, "recipe": {"width": 16}}, tmp_path / "other.pt")
    with pytest.raises(ExportError, match="other.pt: not a checkpoint of `derain train fuse`"):
        load_fuser(tmp_path / "other.pt")
