"""Reads files made by others, in bounded time and memory, whatever they contain."""

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
"""Limits of a YAML file; real files stay far below them."""


class FileError(ValueError):
    """A file is not as required; the message says what is wrong with it, not which file it is."""


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a regular file; OSError if it cannot be read.

    FileError for anything else and for more than `most_bytes`. It never blocks: opening a FIFO or a device as a file
    may take forever.
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
    """Return the content of a YAML file; OSError if it cannot be read.

    FileError if it is not valid, or if its size, depth or number of values is beyond the limits. `most_bytes` limits
    the file, `most_characters` one value.
    """
    try:
        text = read_file(path, most_bytes).decode("utf-8")
        _measure(text, most_characters)
        return yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise FileError(f"is no text in UTF-8: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an impossible number or date
        raise error if isinstance(error, FileError) else FileError(f"is not valid YAML: {error}") from error


def parse_json(text: str | bytes) -> Any:
    """Return the values in a JSON text; FileError if it is not valid or too deeply nested to be parsed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"is not valid JSON: {error}") from error


def _measure(text: str, most_characters: int) -> None:
    """Raise FileError for YAML with more than MOST_VALUES values, MOST_LEVELS levels or `most_characters` in a value.

    It runs before anything is constructed, and an alias counts as all that it refers to. In memory an alias takes no
    space, but a message that shows it could fill the memory. Deep nesting exhausts Python's stack.
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
