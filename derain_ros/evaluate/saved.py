"""Writes studies as JSON, with their kind, format and origin, and reads them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from derain_ros.config import Config
from derain_ros.manifest import Manifest
from derain_ros.replay.origin import Origin, origin_of
from derain_ros.replay.record import known, number, read_json, write_json
from derain_ros.replay.typed import read_as

FORMAT = 1

T = TypeVar("T")


def save(path: Path, kind: str, study: Any) -> None:
    """Write a study, a dataclass, as JSON, with infinity and nan as text; ReplayError if it cannot be written."""
    write_json(path, {"format": FORMAT, "kind": kind, **_known(asdict(study))})


def read(path: Path, kind: str, command: str, study: type[T]) -> T:
    """Read what `save` wrote of this `kind`, by `command`, as the dataclass `study`, which has the field `machine`.

    ReplayError if it cannot be read or is not such a record.
    """

    def make(content: Mapping[str, Any]) -> T:
        found = {name: read_as(of, content[name], name) for name, of in get_type_hints(study).items()}
        return study(**found | {"machine": {name: number(value) for name, value in found["machine"].items()}})

    return read_json(path, kind, FORMAT, command, make)


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
