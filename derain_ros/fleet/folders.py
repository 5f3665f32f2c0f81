"""The folders of a fleet's bags: what in them was made here, and whether a bag is whole."""

from __future__ import annotations

import os
import re
from pathlib import Path
from shutil import rmtree

import yaml
from mcap.writer import MCAP0_MAGIC

from derain_ros.fleet import FleetError
from derain_ros.fleet.bags import METADATA

KEY, RECORD, PAGE = ".fleet", "record.json", "report.html"
"""Files of a bag that was made here; KEY is the digest of all that it was made of."""
WORKERS = re.compile(r"\d+\.\w{8}")
"""Folder of a worker, which stays where that was killed."""


def key_in(folder: Path) -> str:
    """The key of what was made in a folder; empty where there is none."""
    try:
        return (folder / KEY).read_text(encoding="utf-8")
    except OSError:
        return ""


def check_ours(folder: Path) -> None:
    """FleetError where something is there that is no folder of a fleet: one that has a key, or nothing in it."""
    if folder.is_dir() and ((folder / KEY).exists() or not any(folder.iterdir())):
        return
    if folder.exists() or folder.is_symlink():
        raise FleetError(f"{folder} exists already, and is no bag of a fleet; name another output or remove it")


def tidy(folder: Path, name: str) -> None:
    """Delete in the folder of a bag of this name what is there only while it is made."""
    segment = re.compile(rf"{re.escape(name)}_\d+\.json")
    for path in list(folder.iterdir()):
        if path.is_dir() and WORKERS.fullmatch(path.name):
            rmtree(path)
        elif segment.fullmatch(path.name):
            path.unlink()


def clear(folder: Path, name: str) -> None:
    """Delete all that was made here in the folder of a bag of this name, and nothing else. The key goes last, so that
    what is left is known as ours where this is cut off."""
    tidy(folder, name)
    recording = re.compile(rf"{re.escape(name)}_\d+\.mcap")
    made = [path for path in folder.iterdir() if recording.fullmatch(path.name)]
    for path in (*made, *(folder / other for other in (RECORD, PAGE, METADATA, KEY))):
        path.unlink(missing_ok=True)


def replace(work: Path, output: Path) -> None:
    """Give a whole bag its name, in the place of one that was made before; what somebody laid beside that stays."""
    if output.exists():
        clear(output, output.name)
        for path in output.iterdir():
            os.replace(path, work / path.name)
    os.replace(work, output)


def is_whole(folder: Path, key: str) -> bool:
    """Whether a folder has the bag of this key: its record, its page, and every recording that its metadata.yaml names,
    each with the end that is written last."""
    if key_in(folder) != key or not all((folder / name).is_file() for name in (RECORD, PAGE)):
        return False
    try:
        metadata = yaml.safe_load((folder / METADATA).read_text(encoding="utf-8"))
        files = metadata["rosbag2_bagfile_information"]["relative_file_paths"]
        return bool(files) and all(map(_is_complete, (folder / name for name in files)))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return False


def _is_complete(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-len(MCAP0_MAGIC), 2)
        return stream.read() == MCAP0_MAGIC
