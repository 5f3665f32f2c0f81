"""Two cameras that send wet frames from threads of this process, and do what faults want of them."""

from __future__ import annotations

import random
import struct
import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from derain_ros.bench.camera import CAMERAS, IMAGE, PAIRS, next_due
from derain_ros.bench.frames import TINTS, wet_views
from derain_ros.frame import Frame
from derain_ros.replay.images import image_of
from derain_ros.replay.link import Link

SIZES = ((240, 320), (180, 240))
"""Height and width of the frames, the usual ones first; they are small, so that a slow machine restores them."""
ENCODINGS = ("mono8", "rgb8")
ODD = "odd"
"""Images in an encoding that no node knows."""
DAMAGED = "damaged"
"""Images whose fields contradict each other, or are not to be believed."""
ID_AT, ID_BYTES = 16, 15
"""Where the frame_id is in a serialized message that begins with a header, and its length, alike for all frames."""


@dataclass(frozen=True)
class Sent:
    """A message of a camera: its number, when it was sent, its stamp, both in nanoseconds, and by how much the sender
    was late itself; `good` where it is an image that can be restored."""

    camera: str
    number: int
    sent_ns: int
    stamp_ns: int
    late_ns: int
    good: bool


@dataclass
class Sending:
    """What one camera sends: an image of a size of SIZES in an encoding, or nothing while it is silent; each so often.

    `ahead_ns` is by how much its clock is ahead, `still_ns` the stamp of all its frames where that is not 0. With
    `garbage` each frame is followed by a message that is none, made by that.
    """

    size: int = 0
    encoding: str = ENCODINGS[0]
    silent: bool = False
    copies: int = 1
    ahead_ns: int = 0
    still_ns: int = 0
    garbage: random.Random | None = None


class Senders:
    """The left and the right camera while the context is open, at `rate` frames a second each; both in one thread.

    `sending` says by camera what it sends, and may be changed at any time; `sent` is what was sent, in order;
    `restarts` how often each camera was ended and started anew.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.sending = {camera: Sending() for camera in CAMERAS}
        self.sent: list[Sent] = []
        self.restarts = dict.fromkeys(CAMERAS, 0)
        self._messages = _messages()
        self._numbers = dict.fromkeys(CAMERAS, 0)
        self._lock = threading.Lock()
        self._links: dict[str, Link] = {}
        self._paused, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="derain cameras")

    def pause(self) -> None:
        """Send nothing more until `resume`; when this returns the last frames are out."""
        with self._lock:
            self._paused.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused.clear()

    def restart(self, camera: str, seconds: float) -> None:
        """End a camera as its process would, and start it anew after so many seconds."""
        self.restarts[camera] += 1
        with self._lock:
            link = self._links.pop(camera)
        link.__exit__(None, None, None)
        time.sleep(seconds)
        new = _link(camera)
        with self._lock:
            self._links[camera] = new

    def matched(self) -> bool:
        """Whether the node listens to all cameras."""
        with self._lock:
            return len(self._links) == len(CAMERAS) and all(link.matched() for link in self._links.values())

    def _run(self) -> None:
        period_ns = round(1e9 / self.rate)
        due, turn = time.monotonic_ns(), 0
        while not self._ending.wait(max(0.0, (due - time.monotonic_ns()) / 1e9)):
            now = time.monotonic_ns()
            with self._lock:
                if not self._paused.is_set():
                    self._send(turn, max(0, now - due))
            turn += 1
            due = next_due(due, now, period_ns)

    def _send(self, turn: int, late_ns: int) -> None:
        taken_ns = time.time_ns()
        for k, (camera, what) in enumerate(self.sending.items()):
            if what.silent or camera not in self._links:
                continue
            stamp_ns = what.still_ns or max(0, taken_ns + what.ahead_ns)
            images = self._messages[what.size, what.encoding]
            message = images[(2 * turn + k) % len(images)]
            good = what.encoding != ODD
            number = self._next(camera)
            for _ in range(what.copies):
                self._put(camera, number, message, stamp_ns, late_ns, good)
            if what.garbage is not None:
                damaged = self._damaged(message, what.size, what.garbage)
                self._put(camera, self._next(camera), damaged, stamp_ns, late_ns, False)

    def _next(self, camera: str) -> int:
        self._numbers[camera] += 1
        return self._numbers[camera]

    def _put(self, camera: str, number: int, message: bytearray, stamp_ns: int, late_ns: int, good: bool) -> None:
        if len(message) >= ID_AT + ID_BYTES:
            struct.pack_into("<iI", message, 4, *divmod(stamp_ns, 1_000_000_000))
            message[ID_AT : ID_AT + ID_BYTES] = frame_id(camera, number).encode()
        self.sent.append(Sent(camera, number, time.monotonic_ns(), stamp_ns, late_ns, good))
        self._links[camera].send(camera, bytes(message))

    def _damaged(self, message: bytearray, size: int, chance: random.Random) -> bytearray:
        """What a broken driver may send: noise, an image that is cut off, or one whose fields are wrong."""
        kind = chance.choice(("noise", "cut", DAMAGED))
        if kind == "noise":
            return bytearray(chance.randbytes(chance.choice((4, 7, 20, 300, 5000))))
        if kind == "cut":
            return message[: chance.randrange(4, len(message))]
        return chance.choice(self._messages[size, DAMAGED])

    def __enter__(self) -> Senders:
        self._links = {camera: _link(camera) for camera in CAMERAS}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        for link in self._links.values():
            link.__exit__(None, None, None)


def frame_id(camera: str, number: int) -> str:
    """The frame_id of a camera's frame of this number."""
    return f"{camera:_<5} {number:09d}"


def identity(message: bytes) -> tuple[str, int] | None:
    """Camera and number of the frame in a serialized message that begins with a header; None where it has no such."""
    return identity_of(message[ID_AT : ID_AT + ID_BYTES].decode("utf-8", "replace"))


def identity_of(text: str) -> tuple[str, int] | None:
    """Camera and number of the frame with this frame_id; None where it is none of `frame_id`."""
    camera, number = text[:5].rstrip("_"), text[6:]
    return (camera, int(number)) if camera in CAMERAS and number.isdecimal() else None


def _link(camera: str) -> Link:
    return Link([], {camera: (f"/{camera}/image_raw", IMAGE)}, name=f"derain_camera_{camera}")


def _messages() -> dict[tuple[int, str], list[bytearray]]:
    """By size and encoding, ODD and DAMAGED among these: serialized images, left and right eye in turn."""
    types = get_typestore(Stores.ROS2_JAZZY)
    made: dict[tuple[int, str], list[Any]] = {}
    views = list(wet_views(2 * PAIRS, *SIZES[0]))
    for size, (height, width) in enumerate(SIZES):
        for view in (cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA) for view in views):
            colour = (view[..., None] * np.array(TINTS, np.float32)).astype(np.uint8)
            for encoding, image in zip(ENCODINGS, (view, colour), strict=True):
                plain = image_of(types, Frame(image, encoding, 0, frame_id(CAMERAS[0], 0)))
                made.setdefault((size, encoding), []).append(plain)
            made.setdefault((size, ODD), []).append(replace(plain, encoding="of_the_soak"))
        made[size, DAMAGED] = [
            replace(plain, height=2**31),
            replace(plain, step=1),
            replace(plain, data=plain.data[:100]),
            replace(plain, width=0),
        ]
    return {key: [bytearray(types.serialize_cdr(m, IMAGE)) for m in images] for key, images in made.items()}
