"""Finds the camera_info that belongs beside an image."""

from __future__ import annotations

import threading

from derain_ros.ros.messages import read_stamp

_KEPT = 64


class CameraInfos:
    """The last camera_info messages of one camera, serialized; methods may be called from any thread.

    An image gets the message of its own stamp. As the image may arrive first, a camera whose stamps are known to agree
    is waited for; a camera whose stamps do not agree gives its latest message.
    """

    def __init__(self) -> None:
        self._by_stamp: dict[int, bytes] = {}
        self._latest: bytes | None = None
        self._owed: int | None = None
        self._stamps_agree = False
        self._lock = threading.Lock()

    def add(self, info: bytes) -> bytes | None:
        """Keep a message that arrived; returns it where the image of its stamp has been published without it."""
        stamp = read_stamp(info)
        with self._lock:
            self._latest = info
            self._by_stamp.pop(stamp, None)
            self._by_stamp[stamp] = info
            if len(self._by_stamp) > _KEPT:
                del self._by_stamp[next(iter(self._by_stamp))]
            if self._owed != stamp:
                return None
            self._owed, self._stamps_agree = None, True
            return info

    def beside(self, stamp: int) -> bytes | None:
        """The message to publish with the image of this stamp, in nanoseconds; None where there is none yet."""
        with self._lock:
            info = self._by_stamp.get(stamp)
            if info is not None:
                self._owed, self._stamps_agree = None, True
                return info
            if self._owed is not None:
                self._stamps_agree = False
            self._owed = stamp
            return None if self._stamps_agree else self._latest
