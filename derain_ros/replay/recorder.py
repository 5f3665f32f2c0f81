"""Writes the messages of a live replay while it plays."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from types import TracebackType

from derain_ros.replay.bag import BagWriter
from derain_ros.replay.records import Message, ReplayError

WAITING_BYTES = 1 << 30
"""Largest size of the messages that wait for the disk."""


class Recorder:
    """Writes a bag in a separate thread, so that neither playing nor receiving waits for the disk.

    `check` raises the error of a message that could not be written, and so does the end of the context.
    """

    def __init__(self, output: Path) -> None:
        self.writer = BagWriter(output)
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="derain recorder")
        self._thread.start()

    def put(self, message: Message) -> None:
        """Queue a message; it is dropped after an error."""
        with self._lock:
            self._waiting_bytes += len(message.data)
            if self._waiting_bytes > WAITING_BYTES and self._error is None:
                self._error = ReplayError(
                    f"{self.writer.path}: the disk is too slow for this bag: {WAITING_BYTES >> 20} MiB wait; "
                    "write to a faster disk, or play slower with --rate"
                )
        if self._error is None:
            self._queue.put(message)

    def check(self) -> None:
        """Raise the error of an earlier message: ReplayError if the disk refused it or is too slow."""
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        # After an error the messages that still wait are not written.
        while (message := self._queue.get()) is not None and self._error is None:
            try:
                self.writer.write(message)
                with self._lock:
                    self._waiting_bytes -= len(message.data)
            except Exception as error:  # the player reports it, by `check`
                self._error = error
                return

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        self.writer.close()
        if kind is None:
            self.check()
