"""What a replay leaves to be looked at: its books, the truth where that is known, and pictures, in one JSON file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from derain_ros.engine.machine import this_machine
from derain_ros.files import FileError, read_file
from derain_ros.replay.account import Account
from derain_ros.replay.measured import AtRate, Usage
from derain_ros.replay.origin import Origin
from derain_ros.replay.quality import Quality
from derain_ros.replay.records import ReplayError
from derain_ros.replay.shown import Picture
from derain_ros.replay.typed import UNKNOWN, read_as

FORMAT = 4
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Record:
    """One replay: `timed` says what its latencies are of. `wet` is the truth by camera and stamp, empty where it is not
    known, and `quality` how near the frames came to it.

    `origin` says which bag, models and settings it was. `usage` is what the node took over time and `rates` how it
    fared at other speeds, where these were measured.
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
        """All of it as JSON has it; `of` makes a record of that again."""
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
        """Write it as JSON; ReplayError where that cannot be done."""
        write_json(path, self.content())

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read what `save` wrote; ReplayError where it is none."""
        try:
            content = json.loads(read_file(path, MOST_BYTES))
            if content["kind"] != "replay" or content["format"] != FORMAT:
                raise ReplayError(
                    f"{path}: is a record of {content['kind']!r} in format {content['format']!r}, not "
                    f"of a replay in format {FORMAT}: replay the bag again with this version of the package"
                )
            return cls.of(content)
        except OSError as error:
            raise ReplayError(f"{path}: cannot be read ({error.strerror})") from error
        except (FileError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReplayError(f"{path}: is no record of `derain replay` ({error})") from error

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Record:
        """The record with this `content`; ValueError, KeyError, TypeError or AttributeError where that is none."""
        hints = get_type_hints(Account) | {"plans": list[tuple[str, str, int]]}
        books = {name: read_as(kind, content[name], name) for name, kind in hints.items()}
        books["plans"] = Counter({(plan, models): count for plan, models, count in books["plans"]})
        hints = get_type_hints(cls) | {"account": Any, "wet": dict[str, list[tuple[int, bool]]]}
        found = {name: read_as(kind, content.get(name), name) for name, kind in hints.items()}
        found["wet"] = {camera: dict(rows) for camera, rows in found["wet"].items()}
        found["machine"] = {name: number(value) for name, value in found["machine"].items()}
        return cls(**found | {"account": Account(**books)})


def kind_of(path: Path) -> str:
    """Which kind of record a file is by its own word; empty where it is none, of which its reader tells."""
    try:
        content = json.loads(read_file(path, MOST_BYTES))
    except (OSError, FileError, ValueError):
        return ""
    return str(content.get("kind", "")) if isinstance(content, dict) else ""


def write_json(path: Path, content: object) -> None:
    """Write what JSON can hold; ReplayError where that cannot be done."""
    try:
        path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise ReplayError(f"{path}: cannot be written ({error.strerror})") from error


def known(value: object) -> object:
    """A value for JSON, which has neither infinity nor what is not a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def number(value: Any) -> Any:
    """What `known` made a text of, again."""
    return float(value) if isinstance(value, str) and value in UNKNOWN else value
