from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import write_models

from derain_ros.manifest import Manifest


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """The tiny models, with an empty cache of engines."""
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "cache"))
    return Manifest.load(write_models(tmp_path / "models", with_fuser=True))
