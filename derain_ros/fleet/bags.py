"""Finds the bags of a fleet, and the robot of each bag."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from derain_ros.fleet import FleetError
from derain_ros.replay.files import PACKED, SUFFIXES
from derain_ros.replay.topics import COMPRESSED, IMAGE, INFO

OF_ALL = {"clock", "diagnostics", "parameter_events", "rosout", "tf", "tf_static"}
"""Topics without a namespace on any robot."""
METADATA = "metadata.yaml"


@dataclass(frozen=True)
class FoundBag:
    """A bag at `path`, which is its directory or its only file, and its `name`.

    The name is the bag's path below the fixed part of the pattern that found it, with slashes and without the ending of
    a file.
    """

    path: Path
    name: str


def find_bags(patterns: Iterable[str], output: Path) -> list[FoundBag]:
    """The bags that the patterns match, sorted by name, each once; bags below `output` are left out.

    A folder with metadata.yaml, or with files that are named for it as rosbag2 names them, is one bag. Any other
    recording is a bag by itself. FleetError if there is no bag, if two bags would have the same name, or if one would
    be restored into the folder of another.
    """
    patterns, names = list(patterns), dict[Path, str]()
    for pattern in patterns:
        root = _fixed(pattern)
        own = None if root.resolve().is_relative_to(output.resolve()) else output.resolve()
        for match in sorted(map(Path, glob.glob(pattern, recursive=True))):
            for bag in _bags_at(match):
                if own is None or not bag.resolve().is_relative_to(own):
                    place = bag.relative_to(root) if bag.is_relative_to(root) and bag != root else Path(bag.name)
                    place = place if bag.is_dir() else place.with_name(_stem(bag.name))
                    names.setdefault(bag.resolve(), place.as_posix())
    if not names:
        raise FleetError(f"{' '.join(patterns)}: no bag found; 'FOLDER/**' means every bag below a folder")
    found: dict[str, Path] = {}
    for path, name in names.items():
        if found.setdefault(name, path) != path:
            raise FleetError(f"{found[name]} and {path} would both be restored as {name}; rename one of them")
    for name, path in found.items():
        above = next((found[str(p)] for p in PurePosixPath(name).parents if str(p) in found), None)
        if above is not None:
            raise FleetError(f"{path} would be restored into the bag that is restored from {above}; move one of them")
    return [FoundBag(path, name) for name, path in sorted(found.items())]


def robot_of(name: str, topics: Iterable[tuple[str, str]]) -> str:
    """The robot of the bag called `name`; `topics` are the names and types of the bag's topics.

    It is the first folder of the name. Without a folder it is the namespace that all topics share, if these are more
    than camera topics; else the name itself.
    """
    folder, *below = name.split("/")
    if below:
        return folder
    parts = [(topic.strip("/").split("/"), msgtype) for topic, msgtype in topics]
    own = [(names, msgtype) for names, msgtype in parts if names[0] not in OF_ALL]
    spaces = {names[0] if len(names) > 1 else "" for names, _ in own}
    more = any(msgtype not in (IMAGE, COMPRESSED, INFO) for _, msgtype in own)
    return spaces.pop() or name if len(spaces) == 1 and more else name


def _bags_at(match: Path) -> Iterator[Path]:
    """The bags of a path: for a folder those directly in it, for a file the one that it is part of."""
    for file in sorted(match.iterdir()) if match.is_dir() else [match]:
        folder = file.parent
        if file.is_dir() or not (file.name == METADATA or _is_recording(file)):
            continue
        named = file.name == METADATA or (folder / METADATA).exists() or _stem(file.name).startswith(f"{folder.name}_")
        yield folder if named else file


def _is_recording(file: Path) -> bool:
    return not file.name.startswith(".") and file.name != _stem(file.name)


def _stem(name: str) -> str:
    """A name without the endings of a recording."""
    plain = next((name[: -len(packed)] for packed in PACKED if name.lower().endswith(packed)), name)
    return next((plain[: -len(suffix)] for suffix in SUFFIXES if plain.lower().endswith(suffix)), name)


def _fixed(pattern: str) -> Path:
    """The fixed part of a pattern: the folder before its first part with wildcards, or before its last part."""
    parts = Path(pattern).parts
    wild = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:wild])
