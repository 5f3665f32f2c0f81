"""Compiled engines on the disk: written whole, checked when read, built once however many processes ask."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from derain_ros.engine import EngineError, Tell
from derain_ros.files import read_file

FOLDER_VARIABLE = "DERAIN_CACHE"
SUFFIX = ".engine"
LIBRARY_SUFFIX = ".engines"
MAGIC = "derain engine 1"
MOST_ENGINE_BYTES = 1 << 32
WAIT_S, LOOK_S = 900.0, 0.2
"""How long it is waited for another process that builds the same engine, and how often it is looked: it may hang."""
_trouble = ""
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Key:
    """What a compiled engine depends on; any difference is another file.

    `model` is the name, for people only; `sha256` that of the ONNX file; `device` its name; `version` that of the
    library; `shape` the padded input (N, H, W, C); `settings` what else the engine was compiled with.
    """

    model: str
    sha256: str
    engine: str
    device: str
    version: str
    precision: str
    shape: tuple[int, ...]
    settings: str = ""

    @property
    def file(self) -> str:
        """Name of the file, readable and distinct."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
        return f"{self.model}-{self.engine}-{self.precision}-{'x'.join(map(str, self.shape))}-{digest}{SUFFIX}"


@dataclass(frozen=True)
class Entry:
    """A file of the cache: its key, or in `damage` why it cannot be used; neither for a folder that a library keeps."""

    file: Path
    bytes: int
    key: Key | None
    damage: str = ""


def folder() -> Path:
    """Where compiled engines lie: $DERAIN_CACHE, else derain_ros in the user's cache folder."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "derain_ros"


def trouble() -> str:
    """Why nothing can be kept in the folder just now, in words; empty where the last engine or choice was kept."""
    return _trouble


def obtain(key: Key, build: Callable[[], bytes], load: Callable[[bytes], Loaded], tell: Tell) -> Loaded:
    """What `load` makes of the compiled engine of `key`, which is built where the cache has none that can be used.

    Where another process builds it just now, that is waited for. `load` raises EngineError for an engine that its
    library refuses; such a file is built anew. A folder that cannot be written costs the next start a build, no more.
    """
    file = folder() / key.file
    loaded = _read(file, key, load)
    if loaded is not None:
        return loaded
    with _locked(file, tell) as writable:
        loaded = _read(file, key, load) if writable else None
        if loaded is not None:
            return loaded
        tell(f"building {key.model} for {key.engine} on {key.device}")
        data = build()
        if writable:
            _write(file, key, data)
    return load(data)


def store(key: Key, data: bytes) -> Path:
    """Put an engine compiled elsewhere under `key`; returns its file. EngineError where it cannot be written."""
    file = folder() / key.file
    if not _write(file, key, data):
        raise EngineError(f"{file}: cannot be written; free some room, or name another folder in {FOLDER_VARIABLE}")
    return file


def within_folder(key: Key, work: Callable[[Path], Loaded], tell: Tell) -> Loaded:
    """What `work` gives in a folder where a library keeps engines of `key` itself, this process alone in it.

    The folder is emptied where that fails, and what it kept may be why: `work` has another try then.
    """
    place = (folder() / key.file).with_suffix(LIBRARY_SUFFIX)
    with _locked(place, tell) as writable:
        tries = [True, False] if place.is_dir() and any(place.iterdir()) else [False]
        for again in tries:
            try:
                if writable:
                    place.mkdir(exist_ok=True)
                return work(place)
            except Exception as error:
                shutil.rmtree(place, ignore_errors=True)
                if not again:
                    raise
                tell(f"{key.model}: what {key.engine} kept cannot be used ({error}); it is built anew")
    raise AssertionError("the last try returns or raises")


def entries() -> list[Entry]:
    """Every compiled engine that the folder holds, damaged ones too, by name."""
    found = []
    for file in sorted(folder().glob(f"*{SUFFIX}")):
        try:
            key, _ = _parse(file)
            found.append(Entry(file, file.stat().st_size, key))
        except (OSError, ValueError) as error:
            found.append(Entry(file, file.stat().st_size if file.exists() else 0, None, str(error)))
    for place in sorted(folder().glob(f"*{LIBRARY_SUFFIX}")):
        found.append(Entry(place, sum(f.stat().st_size for f in place.rglob("*") if f.is_file()), None))
    return found


def clear() -> int:
    """Remove everything this package put into the folder; how many engines it were."""
    found = entries()
    for pattern in (f"*{SUFFIX}", "*.lock", "*.part", "choice-*.json"):
        for file in folder().glob(pattern):
            file.unlink(missing_ok=True)
    for place in folder().glob(f"*{LIBRARY_SUFFIX}"):
        shutil.rmtree(place)
    return len(found)


def write_whole(file: Path, data: bytes) -> bool:
    """Write `data` so that `file` is never seen half written; whether it could be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(suffix=".part", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, file)
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        _note(file, error)
        return False
    _note(file, None)
    return True


def _note(file: Path, error: OSError | None) -> None:
    """Remember whether a file could be written."""
    global _trouble
    _trouble = (
        ""
        if error is None
        else (
            f"compiled engines cannot be kept in {file.parent} ({error.strerror}), so that every start builds them "
            f"anew: free some room there, or name another folder in {FOLDER_VARIABLE}"
        )
    )


def _read(file: Path, key: Key, load: Callable[[bytes], Loaded]) -> Loaded | None:
    """The loaded engine, or None where there is none, or it is damaged, foreign, or refused by its library."""
    try:
        found, data = _parse(file)
        return load(data) if found == key else None
    except (OSError, ValueError, EngineError):
        return None


def _write(file: Path, key: Key, data: bytes) -> bool:
    head = {"magic": MAGIC, "sha256": hashlib.sha256(data).hexdigest(), "key": asdict(key)}
    return write_whole(file, json.dumps(head).encode() + b"\n" + data)


def _parse(file: Path) -> tuple[Key, bytes]:
    """Key and engine of a file; ValueError where it is damaged, OSError where it cannot be read."""
    # What a compiled engine holds is executed: one that another user put there is none of ours.
    if file.stat().st_uid not in (os.getuid(), 0):
        raise ValueError("belongs to another user")
    head, _, data = read_file(file, MOST_ENGINE_BYTES).partition(b"\n")
    try:
        content = json.loads(head)
        if content["magic"] != MAGIC:
            raise ValueError("is of another version of this package")
        key, digest = Key(**{**content["key"], "shape": tuple(content["key"]["shape"])}), content["sha256"]
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError("has no readable head") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError("is damaged: its digest is another")
    return key, data


@contextmanager
def _locked(file: Path, tell: Tell) -> Iterator[bool]:
    """Hold the lock of this file, which ends with the process that holds it; False where none can be made."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(file.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _note(file, error)
        tell(trouble())
        yield False
        return
    try:
        yield _flock(lock, file.stem, tell)
    finally:
        os.close(lock)


def _flock(lock: int, name: str, tell: Tell) -> bool:
    """Whether the lock was had within WAIT_S."""
    until = time.monotonic() + WAIT_S
    told = False
    while time.monotonic() < until:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not told:
                tell(f"waiting for another process that builds {name}")
            told = True
            time.sleep(LOOK_S)
    return False
