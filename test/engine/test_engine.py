from __future__ import annotations

import sys

import numpy as np
import pytest

from derain_ros.engine import EngineError, load
from derain_ros.manifest import Manifest


def test_an_engine_that_is_missing_says_how_to_get_it(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"pip install 'derain_ros\[cpu\]'"):
        load(manifest.get("restore_mono"), "openvino")
    engine = load(manifest.get("restore_mono"))
    assert engine.name == "onnxruntime"
    assert (engine.run(image=np.full((1, 16, 16, 1), 20, np.uint8))["restored"] == 30).all()


def test_one_that_does_not_take_the_shape_says_so(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="detect: takes images of 96x128, not 16x16"):
        load(manifest.get("detect")).prepare((1, 16, 16))
