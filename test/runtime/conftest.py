from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import write_models

from derain_ros.manifest import Manifest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the tests' own for what engines remember."""
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path_factory.getbasetemp() / "engines"))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The tiny models."""
    return Manifest.load(write_models(Path(tmp_path_factory.mktemp("tiny models"))))
