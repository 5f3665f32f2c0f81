from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models

from derain_ros.engine import EngineError, load
from derain_ros.engine.cache import entries
from derain_ros.manifest import Manifest

pytest.importorskip("openvino")


@pytest.mark.parametrize(("name", "channels"), [("restore_mono", 1), ("restore_rgb", 3)])
@pytest.mark.parametrize("size", [(16, 24), (13, 17)])
@pytest.mark.parametrize("streams", [1, 2])
def test_any_size_goes_in_and_comes_out(
    manifest: Manifest, name: str, channels: int, size: tuple[int, int], streams: int
) -> None:
    image = np.random.default_rng(1).integers(0, 128, (3, *size, channels), np.uint8)
    image[:, ::3] += 100
    outputs = load(manifest.get(name), "openvino", 2, streams).run(image=image)
    # In bf16 a level above 128 is rounded to even.
    assert np.abs(outputs["restored"].astype(int) - np.minimum(image.astype(int) + 10, 255)).max() <= 1
    assert np.array_equal(outputs["mask"], np.where(image.max(3) > 200, 255, 0))
    assert outputs["restored"].dtype == outputs["mask"].dtype == np.uint8


@pytest.mark.parametrize("streams", [1, 2])
def test_outputs_are_the_callers(manifest: Manifest, streams: int) -> None:
    engine = load(manifest.get("restore_mono"), "openvino", 2, streams)
    first = engine.run(image=np.full((2, 16, 16, 1), 20, np.uint8))
    engine.run(image=np.full((2, 16, 16, 1), 90, np.uint8))
    assert (first["restored"] == 30).all()


def test_the_detector_is_that_of_the_reference(manifest: Manifest) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, *tiny_models.DETECTOR_SIZE, 1), np.uint8)
    images[0] //= 3
    engine, reference = (load(manifest.get("detect"), name).run(image=images) for name in ("openvino", "onnxruntime"))
    assert np.allclose(engine["probabilities"], reference["probabilities"], atol=1e-5)
    assert np.array_equal(engine["mask"], reference["mask"])


def test_it_is_compiled_once(manifest: Manifest) -> None:
    said: list[str] = []
    load(manifest.get("restore_mono"), "openvino", tell=said.append).prepare((2, 16, 16))
    assert said == [s for s in said if s.startswith("building restore_mono for openvino")] and len(said) == 1
    engine = load(manifest.get("restore_mono"), "openvino", tell=said.append)
    engine.prepare((2, 9, 9))  # padded, it is the same shape
    assert len(said) == 1
    assert (engine.run(image=np.full((2, 16, 16, 1), 20, np.uint8))["restored"] == 30).all()


def test_a_compiled_engine_that_is_damaged_within_is_built_anew(manifest: Manifest) -> None:
    load(manifest.get("restore_mono"), "openvino").prepare((1, 16, 16))
    file = entries()[0].file
    file.write_bytes(file.read_bytes()[:-100])
    said: list[str] = []
    engine = load(manifest.get("restore_mono"), "openvino", tell=said.append)
    assert (engine.run(image=np.full((1, 16, 16, 1), 20, np.uint8))["restored"] == 30).all()
    assert len(said) == 1


def test_what_does_not_fit_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="detect: takes images of 96x128, not 96x120"):
        load(manifest.get("detect"), "openvino").prepare((1, 96, 120))
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"broken\.onnx: model detect cannot be loaded"):
        load(dataclasses.replace(manifest.get("detect"), file=file), "openvino")
    with pytest.raises(EngineError, match=r"restore_mono\.onnx: inputs are .*'image', 'uint8', 1"):
        load(dataclasses.replace(manifest.get("restore_rgb"), file=manifest.get("restore_mono").file), "openvino")


def test_a_missing_device_or_library_is_told_with_its_remedy(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    if "GPU" not in openvino.Core().available_devices:
        with pytest.raises(EngineError, match="finds no GPU here, only CPU"):
            load(manifest.get("detect"), "openvino-gpu")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"pip install 'derain_ros\[cpu\]'"):
        load(manifest.get("detect"), "openvino")
