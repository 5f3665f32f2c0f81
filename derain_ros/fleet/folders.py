"""The folders of a fleet's restored bags: which files this command made, and whether a bag is complete."""

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
"""Files of a restored bag; KEY has the digest of everything that it was made from."""
WORKERS = re.compile(r"\d+\.\w{8}")
"""Name of a worker's temporary folder, which remains if the worker is killed."""


def key_in(folder: Path) -> str:
    """The key in a folder; empty if there is none."""
    try:
        return (folder / KEY).read_text(encoding="utf-8")
    except OSError:
        return ""


def check_ours(folder: Path) -> None:
    """FleetError if `folder` exists, unless it is a folder that has a key or is empty."""
    if folder.is_dir() and ((folder / KEY).exists() or not any(folder.iterdir())):
        return
    if folder.exists() or folder.is_symlink():
        raise FleetError(f"{folder} exists already, and is not a bag of a fleet; name another output, or remove it")


def tidy(folder: Path, name: str) -> None:
    """Delete the temporary files in the folder of the bag called `name`: workers' folders and segments' records."""
    segment = re.compile(rf"{re.escape(name)}_\d+\.json")
    for path in list(folder.iterdir()):
        if path.is_dir() and WORKERS.fullmatch(path.name):
            rmtree(path)
        elif segment.fullmatch(path.name):
            path.unlink()


def clear(folder: Path, name: str) -> None:
    """Delete everything that this command made in the folder of the bag called `name`, and nothing else.

    The key is deleted last: if this is interrupted, the folder can still be recognized.
    """
    tidy(folder, name)
    recording = re.compile(rf"{re.escape(name)}_\d+\.mcap")
    made = [path for path in folder.iterdir() if recording.fullmatch(path.name)]
    for path in (*made, *(folder / other for other in (RECORD, PAGE, METADATA, KEY))):
        path.unlink(missing_ok=True)


def replace(work: Path, output: Path) -> None:
    """Move the complete bag in `work` to `output`, in place of an earlier one; other files in `output` are kept."""
    if output.exists():
        clear(output, output.name)
        for path in output.iterdir():
            os.replace(path, work / path.name)
    os.replace(work, output)


def is_whole(folder: Path, key: str) -> bool:
    """Whether a folder has the complete bag of this key.

    It must have its record, its page, and every recording that its metadata.yaml names, each with the end that is
    written last.
    """
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
