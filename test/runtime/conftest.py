from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import write_models

from derain_ros.manifest import Manifest


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The tiny models."""
    return Manifest.load(write_models(Path(tmp_path_factory.mktemp("tiny models"))))
