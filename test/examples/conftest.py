from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
# As Python does for a script that is run from there; and what the tests share.
sys.path[:0] = [str(EXAMPLES), str(Path(__file__).parent)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a node of an example beside a DerainNode with tiny models; gives the bench around both."""
    for name in ("rclpy", "onnx", "onnxruntime"):
        pytest.importorskip(name)
    import rclpy
    from ros_bench import Bench, Spinning
    from tiny_models import write_models

    context = rclpy.Context()
    rclpy.init(context=context)
    running: list[Any] = []

    def start(example: Callable[..., Any], **parameters: Any) -> Bench:
        bench = Bench(context, write_models(tmp_path / "models"), parameters)
        running.append(bench)
        running.append(Spinning(example(context=context), context))
        return bench

    yield start
    for one in reversed(running):
        one.close() if isinstance(one, Bench) else one.stop()
    rclpy.try_shutdown(context=context)
