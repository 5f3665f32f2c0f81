"""Finds the files of a bag, their order, kind and compression, and the QoS profiles in metadata.yaml."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.rosbag2.metadata import parse_qos

from derain_ros.files import FileError, read_yaml
from derain_ros.replay.records import ReplayError

SUFFIXES = (".mcap", ".db3")
MOST_METADATA_BYTES = 1 << 22
PACKED = (".zstd", ".zst")
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MCAP_MAGIC, SQLITE_MAGIC = b"\x89MCAP0\r\n", b"SQLite format 3\0"
NO_RECORDING = {
    b"version https://git-lfs": "is a Git LFS pointer, not the recording; run `git lfs pull` in its folder",
    b"#ROSBAG": "is a bag of ROS 1; convert it with rosbags-convert",
    b"\x1f\x8b": "is compressed; unpack it with `gzip -d`",
    b"\xfd7zXZ": "is compressed; unpack it with `xz -d`",
    b"BZh": "is compressed; unpack it with `bzip2 -d`",
    b"\x04\x22\x4d\x18": "is compressed; unpack it with `lz4 -d`",
    b"PK\x03\x04": "is an archive; unpack it with `unzip`",
}
"""By its first bytes, what a file is instead of a recording."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BagFiles:
    """The `files` of a bag in the order of recording.

    `missing` are names in metadata.yaml without a file, `beside` the names of recordings that it does not list. `qos`
    are its QoS profiles by topic, in the form of rosbags.
    """

    files: list[Path]
    missing: list[str]
    beside: list[str]
    qos: Mapping[str, tuple[Any, ...]]


def find(path: Path) -> BagFiles:
    """Find the files of a bag; `path` is its directory or one of its files. Raises ReplayError if there is none.

    Only the list of files and the QoS are taken from metadata.yaml, if it has them: it may be missing, of any version,
    edited by hand, or older than the names of the files.
    """
    if path.name == "metadata.yaml":
        path = path.parent
    if not (path.is_dir() or path.is_file()):
        what = "is a pipe or a device, not a folder or a regular file" if path.exists() else "does not exist"
        raise ReplayError(f"{path} {what}; name a bag's directory or one of its .mcap or .db3 files")
    folder = path if path.is_dir() else path.parent
    information = _information(folder / "metadata.yaml")
    listed = information.get("relative_file_paths")
    qos = _qos_by_topic(information)
    # If a file is there both compressed and decompressed, the decompressed one is taken.
    there = {
        plain(f.name): f
        for f in sorted(folder.iterdir(), key=lambda f: not f.name.lower().endswith(PACKED))
        if plain(f.name).lower().endswith(SUFFIXES) and not f.name.startswith(".") and f.is_file()
    }
    named = {str(name): _named(folder, str(name), there) for name in (listed if isinstance(listed, list) else [])}
    if path.is_file():
        known = any(file is not None and plain(file.name) == plain(path.name) for file in named.values())
        return BagFiles([path], [], [], qos if known else {})
    found = list(dict.fromkeys(file for file in named.values() if file is not None))
    in_order = [there[name] for name in sorted(there, key=_natural)]
    if not there and not found:
        bags = sorted(below.parent.name for below in path.glob("*/metadata.yaml"))
        raise ReplayError(
            f"{path} is not a ROS 2 bag: it contains neither .mcap nor .db3 files"
            + (f", and its metadata.yaml names {', '.join(named)}" if named else "")
            + (f"; there are bags in it: {', '.join(bags[:5])}" if bags else "")
        )
    lacking = [name for name, file in named.items() if file is None]
    rest = [file for file in in_order if file not in found]
    if not found or lacking:
        # There is no metadata, or files were renamed. Files are missing if there are fewer than were recorded.
        some = [file for file in found if file not in in_order]
        return BagFiles([*in_order, *some], lacking if len(there) + len(some) < len(named) else [], [], qos)
    # An interrupted recording has started files that metadata.yaml does not list yet.
    forms = {_alike(plain(file.name)) for file in found}
    begun = [file for file in rest if _alike(plain(file.name)) in forms]
    return BagFiles([*found, *begun], [], [file.name for file in rest if file not in begun], qos)


def _named(folder: Path, name: str, there: Mapping[str, Path]) -> Path | None:
    """Find the file of a name in metadata.yaml, below `folder` or among those `there`; None if there is none.

    The name may be an outdated path, lack its suffix, or differ in upper and lower case.
    """
    *folders, last = re.split(r"[\\/]", name)
    below = folder.joinpath(*filter(None, folders)) if ".." not in folders else folder
    for wanted in (plain(last) + ending for ending in ("", *SUFFIXES)):
        for file in (below / (wanted + packed) for packed in ("", *PACKED)):
            if _is_file(file):
                return file
        for known, file in there.items():
            if known.lower() == wanted.lower():
                return file
    return None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # not a valid file name
        return False


def is_packed(file: Path) -> bool:
    """Whether a file is compressed with Zstandard, by its content; ReplayError if it cannot be read."""
    return _head(file).startswith(ZSTD_MAGIC)


def is_mcap(file: Path) -> bool:
    """Whether a file is MCAP (true) or sqlite3 (false), by its content; ReplayError if it is neither."""
    head = _head(file)
    if head.startswith((MCAP_MAGIC, SQLITE_MAGIC)):
        return head.startswith(MCAP_MAGIC)
    if not head:
        raise ReplayError(f"{file.name} is empty; check that it was copied completely")
    for begin, what in NO_RECORDING.items():
        if head.startswith(begin):
            raise ReplayError(f"{file.name} {what}")
    raise ReplayError(
        f"{file.name} is not a recording: it is neither MCAP nor sqlite3; check that it was copied completely"
    )


def qos_of(profiles: Any) -> tuple[Any, ...]:
    """Parse QoS profiles, given as text or as parsed YAML; empty if they cannot be parsed."""
    try:
        return tuple(parse_qos(profiles))
    except Exception as error:  # edited by hand, they may be anything
        logger.debug("QoS profiles cannot be understood: %s (%r)", profiles, error)
        return ()


def _information(file: Path) -> dict[str, Any]:
    try:
        return dict(read_yaml(file, MOST_METADATA_BYTES, MOST_METADATA_BYTES)["rosbag2_bagfile_information"])
    except (OSError, FileError, TypeError, KeyError, ValueError) as error:
        logger.debug("%s: %r", file, error)
        return {}


def _qos_by_topic(information: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    found = {}
    topics = information.get("topics_with_message_count")
    for entry in topics if isinstance(topics, list) else []:
        try:
            topic = entry["topic_metadata"]
            found[str(topic["name"])] = qos_of(topic["offered_qos_profiles"])
        except (TypeError, KeyError) as error:
            logger.debug("metadata.yaml has a topic without name or QoS: %r", error)
    return found


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(64)
    except OSError as error:
        raise ReplayError(f"{file.name} cannot be read: {error.strerror}") from error


def plain(name: str) -> str:
    """Return the name without the suffix of a compression."""
    packed = next((ending for ending in PACKED if name.lower().endswith(ending)), "")
    return name[: len(name) - len(packed)]


def _alike(name: str) -> str:
    """Return what the names of files of one recording have in common: the name with its numbers replaced."""
    return re.sub(r"\d+", "0", name)


def _natural(name: str) -> list[int | str]:
    """Return a sort key that orders numbers in names by value: bag_10 after bag_9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
