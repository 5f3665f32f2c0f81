"""The exported detector does what the network does, for any batch; in eight bits nearly so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from derain_ros.nets.detector import CELLS, CLASSES, SIZE, Detector  # noqa: E402
from derain_ros.publish.export import ExportError  # noqa: E402
from derain_ros.publish.export_detector import OUTPUTS, export_detector, quantize_detector  # noqa: E402

CALIBRATION = {"scale": [0.5, 1.0, 1.5, 2.0, 1.0], "shift": [0.75, 0.0, -0.5, 0.0, 0.25]}


def _images(count: int, seed: int) -> np.ndarray:
    """Smooth random pictures (count, *SIZE, 1)."""
    coarse = torch.rand(count, 1, 27, 36, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")[:, 0, ..., None].to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Path]:
    """A detector with random weights and statistics, and its ONNX file."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    net = Detector()
    for seed in range(3):
        net(torch.from_numpy(_images(4, seed)).permute(0, 3, 1, 2).float())  # statistics that differ from their start
    torch.save({"net": net.state_dict(), "calibration": CALIBRATION}, folder / "detector.pt")
    export_detector(folder / "detector.pt", folder / "detect.onnx")
    return net.eval(), folder / "detect.onnx"


def _run(path: Path, image: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", *SIZE, 1]
    return session.run(OUTPUTS, {"image": image})


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_agrees_with_the_network(exported: tuple[Detector, Path], batch: int) -> None:
    net, path = exported
    image = _images(batch, 10 + batch)
    probabilities, mask, severity = _run(path, image)
    assert probabilities.shape == (batch, len(CLASSES)) and probabilities.dtype == np.float32
    assert mask.shape == (batch, *CELLS) and mask.dtype == np.float32
    assert severity.shape == (batch,) and severity.dtype == np.float32
    with torch.no_grad():
        out = net(torch.from_numpy(image).permute(0, 3, 1, 2).float())
    expected = (out.classes * torch.tensor(CALIBRATION["scale"]) + torch.tensor(CALIBRATION["shift"])).sigmoid()
    assert np.allclose(probabilities, expected.numpy(), atol=1e-4)
    assert np.allclose(mask, out.mask.sigmoid().numpy(), atol=1e-4)
    assert np.allclose(severity, out.severity.sigmoid().numpy(), atol=1e-4)


def test_eight_bits_say_nearly_the_same(exported: tuple[Detector, Path], tmp_path: Path) -> None:
    quantize_detector(exported[1], tmp_path / "int8.onnx", _images(8, 30)[..., 0])
    image = _images(3, 40)
    for full, eight in zip(_run(exported[1], image), _run(tmp_path / "int8.onnx", image), strict=True):
        assert full.shape == eight.shape
        assert 0 < np.abs(full - eight).max() < 0.1
    assert (tmp_path / "int8.onnx").stat().st_size < 0.6 * exported[1].stat().st_size


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"other": 1}, tmp_path / "other.pt")
    torch.save({"net": Detector().state_dict(), "calibration": {"scale": [1.0], "shift": [0.0]}}, tmp_path / "old.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name in ("other.pt", "old.pt", "text.pt", "missing.pt"):
        with pytest.raises(ExportError, match=name):
            export_detector(tmp_path / name, tmp_path / "detect.onnx")
