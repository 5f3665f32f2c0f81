from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_networks import BALANCED, CLEAN, LIGHT, QUALITY, World, manifest_of, pair
from tiny_models import write_models

from derain_ros import Config, Pipeline
from derain_ros.manifest import Manifest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the tests' own for what engines remember."""
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path_factory.getbasetemp() / "engines"))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The tiny models."""
    return Manifest.load(write_models(Path(tmp_path_factory.mktemp("tiny models"))))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Fake networks in the place of all others."""
    world = World()
    world.install(monkeypatch)
    return world


@pytest.fixture
def make(world: World) -> Callable[..., Pipeline]:
    """Make a pipeline in the world of fake networks whose models are loaded: quality, balanced and light, or others."""

    def make(*models: Any, background: bool = True, **settings: object) -> Pipeline:
        pipeline = Pipeline(
            Config.from_mapping(settings), manifest_of(*models or (QUALITY, BALANCED, LIGHT)), world.clock, background
        )
        pipeline.load()
        pipeline.process(pair(CLEAN, CLEAN))
        world.runs.clear()
        return pipeline

    return make
