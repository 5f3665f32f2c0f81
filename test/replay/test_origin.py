"""Digests of bags and models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import write_models

from derain_ros.config import Config
from derain_ros.manifest import Manifest, ManifestError
from derain_ros.replay.origin import origin_of
from derain_ros.replay.records import ReplayError


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_is_known_by_its_files(write_bag: Callable[..., Path], tmp_path: Path, storage: str) -> None:
    bag, models = write_bag(frames=3, storage=storage), write_models(tmp_path / "models")
    found = origin_of(bag, models, Config(budget_ms=70.0))
    [file] = [file for file in bag.iterdir() if file.name != "metadata.yaml"]
    assert found.bag == {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
    assert origin_of(file, models, Config()).bag == found.bag
    detect = Manifest.load(models).get("detect")
    assert found.models["detect"] == detect.sha256 == hashlib.sha256(detect.file.read_bytes()).hexdigest()
    assert found.config["budget_ms"] == 70.0


def test_what_is_not_there_is_told(write_bag: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="does not exist"):
        origin_of(tmp_path / "none", None, Config())
    with pytest.raises(ManifestError, match="cannot be read"):
        origin_of(write_bag(frames=1), tmp_path / "none", Config())
