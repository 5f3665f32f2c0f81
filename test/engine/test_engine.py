from __future__ import annotations

import sys

import numpy as np
import pytest

from derain_ros.engine import EngineError, load_first
from derain_ros.manifest import Manifest


def test_the_next_engine_is_taken_where_one_is_missing(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    engine, failures = load_first(manifest.get("restore_mono"), ("tensorrt", "openvino", "auto"), (1, 16, 16))
    assert engine.name == "onnxruntime"
    assert (engine.run(np.full((1, 16, 16, 1), 20, np.uint8))["restored"] == 30).all()
    assert [failure.split(":")[0] for failure in failures] == ["tensorrt", "openvino"]
    assert "pip install 'derain_ros[openvino]'" in failures[1]
    with pytest.raises(EngineError, match="no engine runs restore_mono: openvino: .*; tensorrt: "):
        load_first(manifest.get("restore_mono"), ("openvino", "tensorrt"), (1, 16, 16))


def test_one_that_does_not_take_the_shape_is_passed_over(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="onnxruntime: detect: takes images of 96x128, not 16x16"):
        load_first(manifest.get("detect"), ("onnxruntime",), (1, 16, 16))
