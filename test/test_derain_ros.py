from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from derain_ros import Config, Frame, FrameSet, Result", "onnxruntime rclpy torch cv2 yaml"),
        ("from derain_ros import Pipeline; Pipeline()", "onnxruntime rclpy torch"),
    ],
)
def test_an_import_brings_only_what_it_needs(statement: str, unwanted: str) -> None:
    code = f"import sys; {statement}; print([name for name in {unwanted.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import derain_ros

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = derain_ros.Nothing
