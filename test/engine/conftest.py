from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import write_models

from derain_ros.manifest import Manifest


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The tiny models."""
    return Manifest.load(write_models(Path(tmp_path_factory.mktemp("tiny models")), with_fuser=True))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of compiled engines, empty for every test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DERAIN_CACHE", str(folder))
    return folder
