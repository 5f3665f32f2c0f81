"""Writes studies as JSON, as replay writes its records, with their kind and format and what they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from derain_ros.config import Config
from derain_ros.manifest import Manifest
from derain_ros.replay.origin import Origin, origin_of
from derain_ros.replay.record import known, write_json

FORMAT = 1


def save(path: Path, kind: str, study: Any) -> None:
    """Write a study, a dataclass, as JSON, with infinity and nan as text; ReplayError if it cannot be written."""
    write_json(path, {"format": FORMAT, "kind": kind, **_known(asdict(study))})


def made_of(models: Path | None, bag: Path | None = None) -> Origin:
    """The digests of the models, and of the files of a bag if there is one; no settings, as a study has several.

    ReplayError if the bag cannot be read, ManifestError if the models cannot be.
    """
    if bag is not None:
        return replace(origin_of(bag, models, Config()), config={})
    return Origin(models={model.name: model.sha256 for model in Manifest.load(models).models.values()})


def _known(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_known(each) for each in value]
    return known(value)
