"""The origin of a replay: digests of the bag and of the models, and the settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from derain_ros.config import Config
from derain_ros.manifest import Manifest
from derain_ros.replay import files
from derain_ros.replay.records import ReplayError

PIECE = 1 << 22


@dataclass(frozen=True)
class Origin:
    """SHA-256 by name of the bag's files and of the manifest's models, and all settings by name; empty if unknown."""

    bag: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def origin_of(bag: Path, models: Path | None, config: Config) -> Origin:
    """Return the origin of a replay; `models` is a directory, None means that of the shipped models.

    Raises ReplayError if the bag cannot be read, ManifestError if the models cannot be read.
    """
    return Origin(
        {file.name: _digest(file) for file in files.find(bag).files},
        {model.name: model.sha256 for model in Manifest.load(models).models.values()},
        asdict(config),
    )


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while piece := stream.read(PIECE):
                digest.update(piece)
    except OSError as error:
        raise ReplayError(f"{file} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
