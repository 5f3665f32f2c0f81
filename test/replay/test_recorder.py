"""What is recorded while a bag plays, and a disk that does not keep up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from derain_ros.replay import recorder as module
from derain_ros.replay.recorder import Recorder
from derain_ros.replay.records import Message, ReplayError, Topic


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("anything")])
def test_what_could_not_be_recorded_is_told_at_the_latest_at_the_end(tmp_path: Path, error: Exception) -> None:
    def write(*arguments: object) -> None:
        raise error

    with pytest.raises((ReplayError, ValueError), match="No space left|anything"), Recorder(tmp_path / "out") as made:
        made.writer.add(Topic("/flag", "std_msgs/msg/Bool", 0))
        made.writer._writer.add_message = write
        for _ in range(3):
            made.put(Message("/flag", 1, b"\0\1\0\0\1"))


def recorder(output: Path, write: Callable[..., None]) -> Recorder:
    """A recorder of flags whose disk is this function."""
    made = Recorder(output)
    made.writer.add(Topic("/flag", "std_msgs/msg/Bool", 0))
    made.writer.write = write
    return made


def test_a_disk_that_is_too_slow_ends_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 1 << 20)
    written: list[Message] = []
    free = threading.Event()

    def write(message: Message) -> None:
        free.wait()
        written.append(message)

    with (
        pytest.raises(ReplayError, match=r"out: the disk is too slow.*1 MiB.*--rate"),
        recorder(tmp_path / "out", write) as made,
    ):
        for k in range(8):
            made.put(Message("/flag", k, bytes(1 << 17)))
        made.check()
        made.put(Message("/flag", 8, b"\0"))
        free.set()
    assert len(written) <= 1


def test_a_disk_that_keeps_up_may_be_given_any_amount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 1000)
    turn = threading.Semaphore(0)
    with recorder(tmp_path / "out", lambda message: turn.release()) as made:
        for k in range(10):
            # The one before is written, but may still be counted.
            made.put(Message("/flag", k, bytes(400)))
            assert turn.acquire(timeout=PATIENCE_S)
