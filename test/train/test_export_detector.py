"""The exported detector does what the network does, for any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from derain_ros.nets.detector import CELL, CLASSES, SIZE, Detector  # noqa: E402
from derain_ros.train.export import ExportError  # noqa: E402
from derain_ros.train.export_detector import export_detector  # noqa: E402


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Path]:
    """A detector with random weights and statistics, and its ONNX file."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    net = Detector()
    for _ in range(3):
        net(torch.rand(4, 1, *SIZE) * 255)  # running statistics that differ from their start
    torch.save({"net": net.state_dict(), "clean_bias": 0.75}, folder / "detector.pt")
    export_detector(folder / "detector.pt", folder / "detect.onnx")
    return net.eval(), folder / "detect.onnx"


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_agrees_with_the_network(exported: tuple[Detector, Path], batch: int) -> None:
    net, path = exported
    image = np.random.default_rng(batch).integers(0, 256, (batch, *SIZE, 1), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", *SIZE, 1]
    probabilities, mask = session.run(["probabilities", "mask"], {"image": image})
    assert probabilities.shape == (batch, len(CLASSES)) and probabilities.dtype == np.float32
    assert mask.shape == (batch, SIZE[0] // CELL, SIZE[1] // CELL) and mask.dtype == np.float32
    assert np.allclose(probabilities.sum(1), 1.0, atol=1e-5)
    with torch.no_grad():
        out = net(torch.from_numpy(image).permute(0, 3, 1, 2).float())
    expected = (out.classes + torch.tensor([0.75, 0.0, 0.0, 0.0])).softmax(1)
    assert np.allclose(probabilities, expected.numpy(), atol=1e-4)
    assert np.allclose(mask, out.mask.sigmoid().numpy(), atol=1e-4)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"other": 1}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name in ("other.pt", "text.pt", "missing.pt"):
        with pytest.raises(ExportError, match=name):
            export_detector(tmp_path / name, tmp_path / "detect.onnx")
