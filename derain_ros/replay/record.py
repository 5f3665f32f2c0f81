"""The record of a replay in one JSON file: its account, the ground truth if known, and pictures."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from derain_ros.engine.machine import this_machine
from derain_ros.files import FileError, parse_json, read_file
from derain_ros.replay.account import Account
from derain_ros.replay.measured import AtRate, Usage
from derain_ros.replay.origin import Origin
from derain_ros.replay.quality import Quality
from derain_ros.replay.records import ReplayError
from derain_ros.replay.shown import Picture
from derain_ros.replay.typed import UNKNOWN, read_as

FORMAT = 4
MOST_BYTES = 1 << 30

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """The record of one replay.

    `timed` says what its latencies measure. `wet` is the ground truth by camera and stamp, empty if it is not known;
    `quality` compares the frames with the dry views. `origin` identifies bag, models and settings. `usage` is the
    node's use of resources over time, `rates` are the results at other speeds; both are empty if not measured.
    """

    title: str
    timed: str
    account: Account
    pictures: list[Picture]
    wet: Mapping[str, Mapping[int, bool]] = field(default_factory=dict)
    quality: Quality | None = None
    machine: Mapping[str, Any] = field(default_factory=this_machine)
    origin: Origin = field(default_factory=Origin)
    usage: list[Usage] = field(default_factory=list)
    rates: list[AtRate] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """Return the record as JSON values; `of` turns them into a record again."""
        account = self.account
        return {
            "format": FORMAT,
            "kind": "replay",
            "title": self.title,
            "timed": self.timed,
            "machine": {key: known(value) for key, value in self.machine.items()},
            "origin": asdict(self.origin),
            "usage": [[known(value) for value in astuple(usage)] for usage in self.usage],
            "rates": [[known(value) for value in astuple(rate)] for rate in self.rates],
            "causes": account.causes,
            "recorded_s": known(account.recorded_s),
            "played_s": known(account.played_s),
            "frames_in": account.frames_in,
            "broken": account.broken,
            "damage": account.damage,
            "notes": account.notes,
            "engines": account.engines,
            "fusion": account.fusion,
            "plans": [[*key, count] for key, count in account.plans.items()],
            "outputs": [[known(value) for value in astuple(output)] for output in account.outputs],
            "wet": {camera: [[stamp, wet] for stamp, wet in truth.items()] for camera, truth in self.wet.items()},
            "quality": None
            if self.quality is None
            else {**asdict(self.quality), "psnr": [[known(value) for value in pair] for pair in self.quality.psnr]},
            "pictures": [asdict(picture) for picture in self.pictures],
        }

    def save(self, path: Path) -> None:
        """Write the record as JSON; ReplayError if it cannot be written."""
        write_json(path, self.content())

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read what `save` wrote; ReplayError if it cannot be read or is not a record of this format."""
        return read_json(path, "replay", FORMAT, "derain replay", cls.of)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Record:
        """Make the record of this `content`; ValueError, KeyError, TypeError or AttributeError if it is not valid."""
        hints = get_type_hints(Account) | {"plans": list[tuple[str, str, int]]}
        books = {name: read_as(kind, content[name], name) for name, kind in hints.items()}
        books["plans"] = Counter({(plan, models): count for plan, models, count in books["plans"]})
        hints = get_type_hints(cls) | {"account": Any, "wet": dict[str, list[tuple[int, bool]]]}
        found = {name: read_as(kind, content.get(name), name) for name, kind in hints.items()}
        found["wet"] = {camera: dict(rows) for camera, rows in found["wet"].items()}
        found["machine"] = {name: number(value) for name, value in found["machine"].items()}
        return cls(**found | {"account": Account(**books)})


def kind_of(path: Path) -> str:
    """Return the kind of record that a file states; empty if it is not a record, which reading it will report."""
    try:
        content = parse_json(read_file(path, MOST_BYTES))
    except (OSError, FileError, ValueError):
        return ""
    return str(content.get("kind", "")) if isinstance(content, dict) else ""


def read_json(path: Path, kind: str, form: int, command: str, make: Callable[[Mapping[str, Any]], T]) -> T:
    """Return what `make` makes of the record of this `kind` in the format `form`, which `command` wrote to a file.

    ReplayError if the file cannot be read or is not such a record, which `make` reports by a ValueError, KeyError,
    TypeError or AttributeError.
    """
    try:
        content = parse_json(read_file(path, MOST_BYTES))
        if (content["kind"], content["format"]) != (kind, form):
            again = f": run `{command}` again with this version of the package" if content["kind"] == kind else ""
            raise ReplayError(
                f"{path}: is a record of {content['kind']!r} in format {content['format']!r}, not of `{command}` in "
                f"format {form}{again}"
            )
        return make(content)
    except OSError as error:
        raise ReplayError(f"{path}: cannot be read ({error.strerror})") from error
    except (FileError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReplayError(f"{path}: is not a record of `{command}` ({error})") from error


def write_json(path: Path, content: object) -> None:
    """Write JSON values to a file; ReplayError if it cannot be written."""
    try:
        path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise ReplayError(f"{path}: cannot be written ({error.strerror})") from error


def known(value: object) -> object:
    """Return a value for JSON: infinity and NaN, which JSON does not have, become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def number(value: Any) -> Any:
    """Turn texts that `known` made back into numbers; other values stay as they are."""
    return float(value) if isinstance(value, str) and value in UNKNOWN else value
