"""Compiled engines on disk: written atomically, checked when read, built once even if several processes ask."""

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
from derain_ros.files import FileError, parse_json, read_file

FOLDER_VARIABLE = "DERAIN_CACHE"
SUFFIX = ".engine"
LIBRARY_SUFFIX = ".engines"
MAGIC = "derain engine 1"
MOST_ENGINE_BYTES = 1 << 32
WAIT_S, LOOK_S = 900.0, 0.2
"""How long to wait for another process that builds the same engine, as it may hang, and the interval of the checks."""
_trouble = ""
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Key:
    """What a compiled engine depends on; any difference gives another file.

    `model` is the model's name, `sha256` the digest of the ONNX file, `device` the device's name, `version` that of
    the library, `shape` the padded input (N, H, W, C), `settings` the other settings of the compilation.
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
        """File name: readable and unique to this key."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
        return f"{self.model}-{self.engine}-{self.precision}-{'x'.join(map(str, self.shape))}-{digest}{SUFFIX}"


@dataclass(frozen=True)
class Entry:
    """A file of the cache: its key, or in `damage` why it is unusable. A library's own folder has neither."""

    file: Path
    bytes: int
    key: Key | None
    damage: str = ""


def folder() -> Path:
    """Return the cache folder: $DERAIN_CACHE, else derain_ros in the user's cache folder."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "derain_ros"


def trouble() -> str:
    """Say why the cache folder could not be written the last time; empty if the last write succeeded."""
    return _trouble


def obtain(key: Key, build: Callable[[], bytes], load: Callable[[bytes], Loaded], tell: Tell) -> Loaded:
    """Return what `load` makes of the compiled engine of `key`; call `build` first if the cache has no usable one.

    If another process is building it, this waits up to WAIT_S. `load` raises EngineError for an engine that its
    library refuses; that file is built again. If the folder cannot be written, the next start builds again.
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
    """Store an engine compiled elsewhere under `key`, and return its file; EngineError if it cannot be written."""
    file = folder() / key.file
    if not _write(file, key, data):
        raise EngineError(f"{file}: cannot be written; free some space, or name another folder in {FOLDER_VARIABLE}")
    return file


def within_folder(key: Key, work: Callable[[Path], Loaded], tell: Tell) -> Loaded:
    """Run `work` in a folder where a library keeps engines of `key` itself, and return its result.

    The folder is locked against other processes where possible. If `work` fails, the folder is deleted. If it was not
    empty, its content may be the cause, and `work` is tried once more.
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
                tell(f"{key.model}: the engine that {key.engine} stored cannot be used ({error}); it is built again")
    raise AssertionError("the last try returns or raises")


def entries() -> list[Entry]:
    """List the compiled engines in the folder, damaged ones too: files by name, then libraries' folders by name."""
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
    """Remove engines, stored choices, locks and partial files from the folder; return the number of engines."""
    found = entries()
    for pattern in (f"*{SUFFIX}", "*.lock", "*.part", "choice-*.json"):
        for file in folder().glob(pattern):
            file.unlink(missing_ok=True)
    for place in folder().glob(f"*{LIBRARY_SUFFIX}"):
        shutil.rmtree(place)
    return len(found)


def write_whole(file: Path, data: bytes) -> bool:
    """Write `data` to `file` atomically; return whether it could be written."""
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
    """Store for `trouble` whether a file could be written."""
    global _trouble
    _trouble = (
        ""
        if error is None
        else (
            f"compiled engines cannot be kept in {file.parent} ({error.strerror}), so every start builds them "
            f"again: free some space there, or name another folder in {FOLDER_VARIABLE}"
        )
    )


def _read(file: Path, key: Key, load: Callable[[bytes], Loaded]) -> Loaded | None:
    """Load an engine; None if there is none, it is damaged, foreign, or refused by its library."""
    try:
        found, data = _parse(file)
        return load(data) if found == key else None
    except (OSError, ValueError, EngineError):
        return None


def _write(file: Path, key: Key, data: bytes) -> bool:
    head = {"magic": MAGIC, "sha256": hashlib.sha256(data).hexdigest(), "key": asdict(key)}
    return write_whole(file, json.dumps(head).encode() + b"\n" + data)


def _parse(file: Path) -> tuple[Key, bytes]:
    """Return key and engine of a file.

    Raises ValueError if it is damaged or belongs to another user or version, OSError if it cannot be read.
    """
    # A compiled engine is executed, so files of other users are refused.
    if file.stat().st_uid not in (os.getuid(), 0):
        raise ValueError("belongs to another user")
    head, _, data = read_file(file, MOST_ENGINE_BYTES).partition(b"\n")
    try:
        content = parse_json(head)
        if content["magic"] != MAGIC:
            raise ValueError("is of another version of this package")
        key, digest = Key(**{**content["key"], "shape": tuple(content["key"]["shape"])}), content["sha256"]
    except (KeyError, TypeError, FileError) as error:
        raise ValueError("has no readable header") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError("is damaged: its digest does not match")
    return key, data


@contextmanager
def _locked(file: Path, tell: Tell) -> Iterator[bool]:
    """Hold the lock of this file, which the system frees when the process ends; False if it cannot be taken."""
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
    """Take the lock; return whether this succeeded within WAIT_S."""
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
