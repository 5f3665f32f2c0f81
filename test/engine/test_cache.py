from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from waiting import PATIENCE_S

import derain_ros
from derain_ros.engine import EngineError
from derain_ros.engine import cache as engines
from derain_ros.engine.cache import Key, clear, entries, folder, obtain, store, trouble, within_folder

ROOT = Path(derain_ros.__file__).parents[1]
KEY = Key("restore", "ab" * 32, "openvino", "cpu", "2026.1", "bf16", (2, 64, 64, 1))


def built(key: Key = KEY, data: bytes = b"compiled") -> tuple[bytes, list[str]]:
    """What obtain gives, and what it told; a build shows in the latter."""
    said: list[str] = []
    return obtain(key, lambda: data, lambda found: found, said.append), said


def test_what_was_built_is_read_the_next_time(cache: Path) -> None:
    assert built() == (b"compiled", ["building restore for openvino on cpu"])
    assert built(data=b"another") == (b"compiled", [])
    assert [entry.key for entry in entries()] == [KEY]
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "cd" * 32},
        {"device": "gpu"},
        {"version": "2026.2"},
        {"precision": "int8"},
        {"shape": (1, 64, 64, 1)},
        {"settings": "threads 2"},
    ],
)
def test_any_difference_is_another_engine(changed: dict[str, object]) -> None:
    built()
    assert built(replace(KEY, **changed), b"other")[0] == b"other"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"\x00" + data,
        lambda data: data.replace(b"engine 1", b"engine 0"),
        lambda data: data[:20],
        lambda data: data.replace(b'"cpu"', b'"gpu"'),
        lambda data: data + b"x",
        lambda data: data.replace(b'"sha256"', b'"sha255"', 1),
    ],
)
def test_a_damaged_or_foreign_file_is_built_anew(damage: object) -> None:
    built()
    file = entries()[0].file
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert built(data=b"anew") == (b"anew", ["building restore for openvino on cpu"])
    assert built(data=b"third")[0] == b"anew"


def test_what_the_library_refuses_is_built_anew() -> None:
    built(data=b"of another version")

    def load(data: bytes) -> bytes:
        if data == b"of another version":
            raise EngineError("refused")
        return data

    assert obtain(KEY, lambda: b"fresh", load, lambda text: None) == b"fresh"
    with pytest.raises(EngineError, match="refused"):
        obtain(replace(KEY, shape=(1,)), lambda: b"of another version", load, lambda text: None)


def test_a_file_of_another_user_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    built()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    if entries()[0].file.stat().st_uid:
        assert entries()[0].damage == "belongs to another user"
    monkeypatch.setattr(engines, "_parse", lambda file: (_ for _ in ()).throw(ValueError("belongs to another user")))
    assert built(data=b"mine")[0] == b"mine"


SLOW_BUILD = """
import sys, time
from derain_ros.engine.cache import Key, obtain
def build():
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    return b"compiled"
key = Key("restore", "ab", "openvino", "cpu", "1", "fp32", (1,))
assert obtain(key, build, lambda data: data, lambda text: None) == b"compiled"
"""


def test_processes_that_start_together_build_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    workers = [subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(log)], cwd=ROOT) for _ in range(3)]
    assert [worker.wait(PATIENCE_S) for worker in workers] == [0, 0, 0]
    assert log.read_text() == "built\n"


def test_a_failed_build_leaves_nothing_and_the_next_one_is_not_blocked() -> None:
    def fail() -> bytes:
        raise EngineError("no memory")

    with pytest.raises(EngineError, match="no memory"):
        obtain(KEY, fail, lambda data: data, lambda text: None)
    assert entries() == []
    assert built()[0] == b"compiled"


def test_a_folder_that_cannot_be_written_costs_a_build_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "file" / "below"))
    data, said = built()
    assert data == b"compiled" and "cannot be kept in" in said[0] and "every start builds them again" in said[0]
    assert trouble() == said[0]
    with pytest.raises(EngineError, match="DERAIN_CACHE"):
        store(KEY, b"compiled")


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DERAIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert folder() == Path("/somewhere/derain_ros")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/robot")
    assert folder() == Path("/home/robot/.cache/derain_ros")


def test_clearing_removes_ours_and_nothing_else(cache: Path) -> None:
    built()
    within_folder(
        replace(KEY, engine="onnxruntime-tensorrt"),
        lambda place: (place / "library.engine").write_bytes(b"x" * 10),
        lambda text: None,
    )
    (cache / "notes.txt").write_text("mine")
    assert sorted(entry.bytes for entry in entries())[0] == 10
    assert clear() == 2
    assert [file.name for file in cache.iterdir()] == ["notes.txt"]


def test_a_library_has_another_try_where_what_it_kept_is_damaged() -> None:
    kept: list[list[str]] = []
    said: list[str] = []

    def work(place: Path) -> str:
        kept.append([file.name for file in place.iterdir()])
        if kept[-1] == ["damaged"]:
            raise EngineError("the magic tag is wrong")
        (place / "damaged").write_bytes(b"")
        return "built"

    assert within_folder(KEY, work, said.append) == "built" and not said
    assert within_folder(KEY, work, said.append) == "built" and "the magic tag is wrong" in said[0]
    assert kept == [[], ["damaged"], []]

    def fail(place: Path) -> None:
        kept.append([])
        raise EngineError("no memory")

    kept.clear()
    with pytest.raises(EngineError, match="no memory"):
        within_folder(replace(KEY, version="other"), fail, said.append)
    assert len(kept) == 1 and not list(folder().glob("*other*"))


def test_a_stored_engine_is_taken_instead_of_a_build() -> None:
    file = store(KEY, b"from trtexec")
    assert json.loads(file.read_bytes().partition(b"\n")[0])["key"]["device"] == "cpu"
    assert built()[0] == b"from trtexec"


def test_trouble_ends_once_something_can_be_kept(cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("where the folder should be")
    built()
    assert "free some space there, or name another folder in DERAIN_CACHE" in trouble()
    cache.unlink()
    built()
    assert trouble() == ""


def test_a_full_disk_is_told_and_leaves_nothing_half_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert built()[0] == b"compiled" and "No space left on device" in trouble()
    assert not [file for file in cache.iterdir() if file.suffix != ".lock"]


@pytest.mark.parametrize("suffix", [".engine", ".lock"])
def test_what_is_no_file_is_not_waited_for(cache: Path, suffix: str) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    os.mkfifo((cache / KEY.file).with_suffix(suffix))
    assert built()[0] == b"compiled"
    assert [entry.damage for entry in entries() if entry.damage] == []  # the engine has taken the place of the FIFO


def test_a_process_that_hangs_is_not_waited_for_for_ever(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("derain_ros.engine.cache.WAIT_S", 0.3)
    monkeypatch.setattr("derain_ros.engine.cache.LOOK_S", 0.01)
    with open((cache / KEY.file).with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        data, said = built()
    assert data == b"compiled" and [text for text in said if "waiting for another process" in text] == said[:1]
    assert not (cache / KEY.file).exists()
