"""Reads files that others have made, in bounded time and memory, whatever lies there."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

MOST_YAML_BYTES = 1 << 18
MOST_SCALAR_CHARACTERS = 4096
MOST_VALUES, MOST_LEVELS = 1 << 16, 16
"""Of a YAML file: none that anybody writes comes near."""


class FileError(ValueError):
    """A file is not what it should be; the message says what it is, not where."""


def read_file(path: Path, most_bytes: int) -> bytes:
    """The bytes of a regular file; FileError for anything else and for more than `most_bytes`, OSError where it cannot
    be read.

    It never waits: opening a FIFO or a device as a file may take for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileError("is no regular file")
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise FileError(f"has {status.st_size} bytes, more than {most_bytes}")
    return data


def read_yaml(path: Path, most_bytes: int = MOST_YAML_BYTES, most_characters: int = MOST_SCALAR_CHARACTERS) -> Any:
    """The content of a YAML file; FileError for one that is not valid, or too large, deep or entangled to be what
    anybody wrote, OSError where it cannot be read. `most_characters` are those of one value."""
    try:
        text = read_file(path, most_bytes).decode("utf-8")
        _measure(text, most_characters)
        return yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise FileError(f"is no text in UTF-8: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number or a date that there is not
        raise error if isinstance(error, FileError) else FileError(f"is not valid YAML: {error}") from error


def parse_json(text: str | bytes) -> Any:
    """The values in a JSON text; FileError for one that is not valid, also if it is nested too deeply to be parsed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"is not valid JSON: {error}") from error


def _measure(text: str, most_characters: int) -> None:
    """FileError for YAML with more than MOST_VALUES values, MOST_LEVELS levels or `most_characters` in a value.

    References count as what they refer to, before anything is made of it: in memory they take nothing, and in a
    message all there is; and what lies deep ends Python's stack.
    """
    known: dict[str, tuple[int, int]] = {}
    open_nodes: list[tuple[str | None, int, int]] = [(None, 0, 0)]  # Anchor, values and levels so far.
    for event in yaml.parse(text, yaml.SafeLoader):
        anchor, values, levels = getattr(event, "anchor", None), 1, 0
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, 1, 0))
            anchor, values = None, 0
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, values, levels = open_nodes.pop()
            levels += 1
        elif isinstance(event, yaml.AliasEvent):
            if anchor not in known:
                raise FileError(f"refers to &{anchor:.40}, which is not complete there")
            (values, levels), anchor = known[anchor], None
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        elif len(event.value) > most_characters:
            raise FileError(f"has a value of {len(event.value)} characters")
        if anchor is not None:
            known[anchor] = values, levels
        outer, so_far, deepest = open_nodes[-1]
        open_nodes[-1] = outer, so_far + values, max(deepest, levels)
        if so_far + values > MOST_VALUES:
            raise FileError(f"has more than {MOST_VALUES} values, what it refers to counted each time")
        if len(open_nodes) - 1 + levels > MOST_LEVELS:
            raise FileError(f"has more than {MOST_LEVELS} levels")
