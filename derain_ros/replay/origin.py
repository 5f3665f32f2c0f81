"""What a replay was made of: digests of the bag and of the models, and the settings."""

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
    """SHA-256 by name of each file of the bag and of each model of the manifest, and every setting by its name; empty
    where they are not known."""

    bag: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def origin_of(bag: Path, models: Path | None, config: Config) -> Origin:
    """The origin of a replay; `models` is a directory, the shipped one where it is None.

    ReplayError where the bag cannot be read, ManifestError where the models cannot be.
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
