from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import write_models


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the tests' own for what engines remember."""
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path_factory.getbasetemp() / "engines"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny models: wet is what is brighter than 100, restored is brighter by 10."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def context() -> Iterator[Any]:
    """A context of its own for each test."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def start(context: Any, models: Path) -> Iterator[Callable[..., Any]]:
    """Start a node with these parameters, and arguments behind --ros-args, and the bench around it."""
    from ros_bench import Bench

    benches: list[Bench] = []

    def start(reliable: bool = True, arguments: tuple[str, ...] = (), outputs: bool = True, **parameters: Any) -> Bench:
        benches.append(Bench(context, models, parameters, reliable, arguments, outputs))
        return benches[-1]

    yield start
    for bench in benches:
        bench.close()
