"""What all tests share: no ROS traffic leaves the process, output fits no terminal, what a machine lacks is said."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

# Shared test modules, such as tiny_models, lie beside this file.
sys.path.insert(0, str(Path(__file__).parent))

# Before anything imports rclpy, which reads them once.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "OFF"
os.environ.pop("RMW_IMPLEMENTATION", None)
# Tests that run side by side must not hear each other's processes.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["ROS_DOMAIN_ID"] = str(40 + int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")))
_log_directory = tempfile.mkdtemp(prefix="derain_test_log_")
os.environ["ROS_LOG_DIR"] = _log_directory
# What engines compile is no business of the user's own cache.
_cache_directory = tempfile.mkdtemp(prefix="derain_test_cache_")
os.environ["DERAIN_CACHE"] = _cache_directory
# Tiny networks are fastest on one thread; on a busy machine, several would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# In the background of a script Ctrl-C is ignored, also by the processes that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SETS_LAYOUT = (
    "DERAIN_DEBUG",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "PY_COLORS",
    "TERMINAL_WIDTH",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)
"""What a machine may have set that changes what commands print: of ours, of rich and of typer."""
COLUMNS = 10_000
"""Wider than any path may be long: what tests look for is not broken into lines."""

# `make test` installs all of these. On a robot, `colcon test` runs the tests of what is there.
NEEDS = {
    "bench": ("onnx", "onnxruntime"),
    "cli": ("onnx", "onnxruntime"),
    "config": ("onnx", "onnxruntime", "rclpy"),
    "engine": ("onnx", "onnxruntime"),
    "evaluate": ("lightning_fabric", "onnx", "onnxruntime", "pywt", "skimage", "tensorboard"),
    "examples": ("onnx", "onnxruntime", "rclpy"),
    "fleet": ("onnx", "onnxruntime", "rosbags"),
    "fuzz": ("hypothesis", "onnx", "onnxruntime", "rclpy", "rosbags"),
    "nets": ("torch",),
    "replay": ("onnx", "onnxruntime", "rclpy", "rosbags"),
    "ros": ("onnx", "onnxruntime", "rclpy"),
    "runtime": ("onnx", "onnxruntime"),
    "train": ("lightning_fabric", "onnx", "onnxruntime", "tensorboard", "torch"),
    "test_manifest.py": ("onnx",),
    "test_readme.py": ("onnx", "onnxruntime"),
}
_lacking = {place: [name for name in names if find_spec(name) is None] for place, names in NEEDS.items()}


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let commands print the same on every machine, here and in other processes; pytest keeps what it has found."""
    if config.pluginmanager.has_plugin("terminalreporter"):
        terminal = config.get_terminal_writer()
        terminal.fullwidth = terminal.fullwidth
    for name in SETS_LAYOUT:
        os.environ.pop(name, None)
    # Read by some libraries once, as they are imported.
    os.environ["COLUMNS"] = str(COLUMNS)


@pytest.fixture(autouse=True)
def no_trouble_with_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test made of the engines' cache is not told in the next one's diagnostics."""
    from derain_ros.engine import cache

    monkeypatch.setattr(cache, "_trouble", "")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out tests whose libraries are not installed."""
    if collection_path.parent == Path(__file__).parent and _lacking.get(collection_path.name):
        return True
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which were left out, and why."""
    for place, names in _lacking.items():
        if names:
            terminalreporter.write_line(f"NOT RUN test/{place}: needs {', '.join(names)}", yellow=True)


def pytest_unconfigure() -> None:
    """Remove the logs of ROS and what engines compiled."""
    shutil.rmtree(_log_directory, ignore_errors=True)
    shutil.rmtree(_cache_directory, ignore_errors=True)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that training reads, with few images in each."""
    from tiny_data import write_data

    return write_data(tmp_path_factory.mktemp("training images"))


@pytest.fixture
def of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restorers are exported for images of one size, which takes a fifth of the time; weights are the same."""
    from derain_ros.publish import export_restorer

    export = export_restorer.export_onnx
    monkeypatch.setattr(
        export_restorer, "export_onnx", lambda graph, inputs, outputs, _, path: export(graph, inputs, outputs, {}, path)
    )


@pytest.fixture
def quick_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are exported by PyTorch's older exporter, which takes a tenth of the time.

    For tests of what is made of an export. Those of the exports themselves, and of what is read of them again, go
    without.
    """
    from torch.onnx import export

    class Program:
        def __init__(self, graph: Any, inputs: Any, _: None, **options: Any) -> None:
            axes = [{axis: f"axis{axis}" for axis in free} for free in options["dynamic_shapes"]]
            self._written = BytesIO()
            export(
                graph,
                inputs,
                self._written,
                dynamo=False,
                opset_version=options["opset_version"],
                input_names=options["input_names"],
                output_names=options["output_names"],
                dynamic_axes=dict(zip(options["input_names"], axes, strict=True)),
            )

        def optimize(self) -> None:
            """The older exporter does that by itself."""

        def save(self, path: str) -> None:
            Path(path).write_bytes(self._written.getvalue())

    monkeypatch.setattr("torch.onnx.export", Program)
