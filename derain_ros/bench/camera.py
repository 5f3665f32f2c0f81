"""A stereo camera in a process of its own: wet frames over DDS at a steady rate, until its standard input ends."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from contextlib import suppress
from types import TracebackType

from derain_ros.bench import BenchError
from derain_ros.replay.child import BOOTSTRAP, transport_environment

CAMERAS = ("left", "right")
IMAGE = "sensor_msgs/msg/Image"
READY = "ready\n"
PAIRS = 4
"""Different pairs, sent in turn."""
CODE = "import sys; from derain_ros.bench.camera import main; main(*map(float, sys.argv[1:]))"


class CameraProcess:
    """The camera while the context is open, sending pairs of `height` x `width` at `rate` a second."""

    def __init__(self, rate: float, height: int, width: int) -> None:
        environment = {**os.environ, **transport_environment()}
        environment.pop(BOOTSTRAP, None)  # the wheels of ROS 2 set up each process anew
        self._process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(rate), str(height), str(width)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )

    def await_sending(self) -> None:
        """Wait until it has rendered its frames and sends them; BenchError where it ends instead."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != READY:
            raise BenchError(f"the camera's process ended with exit code {self._process.wait()}")

    def end(self) -> list[int]:
        """End it; the stamps in nanoseconds of the monotonic clock at which pairs were sent."""
        try:
            sent, _ = self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            raise BenchError("the camera's process does not end") from None
        if self._process.returncode:
            raise BenchError(f"the camera's process ended with exit code {self._process.returncode}")
        return list(json.loads(sent.splitlines()[-1]))

    def __enter__(self) -> CameraProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


def main(rate: float, height: float, width: float) -> None:
    """Send until standard input ends, then write the stamps of all pairs to standard output."""
    import select

    from rosbags.typesys import Stores, get_typestore

    from derain_ros.bench.frames import wet_views
    from derain_ros.frame import Frame
    from derain_ros.replay.images import image_of
    from derain_ros.replay.link import Link

    types = get_typestore(Stores.ROS2_JAZZY)
    inputs = {name: (f"/{name}/image_raw", IMAGE) for name in CAMERAS}
    with Link([], inputs) as link:
        views = list(wet_views(2 * PAIRS, int(height), int(width)))
        frames = [
            bytearray(types.serialize_cdr(image_of(types, Frame(view, "mono8", 0, CAMERAS[k % 2])), IMAGE))
            for k, view in enumerate(views)
        ]
        sent: list[int] = []
        sys.stdout.write(READY)
        sys.stdout.flush()
        due = time.monotonic_ns()
        while not select.select([sys.stdin], [], [], max(0.0, (due - time.monotonic_ns()) / 1e9))[0]:
            stamp = time.monotonic_ns()
            for k, camera in enumerate(CAMERAS):
                frame = frames[(2 * len(sent) + k) % len(frames)]
                # Behind the encapsulation of four bytes comes the header's stamp.
                struct.pack_into("<iI", frame, 4, *divmod(stamp, 1_000_000_000))
                link.send(camera, bytes(frame))
            sent.append(stamp)
            due = next_due(due, stamp, round(1e9 / rate))
    # Nobody reads it where the benchmark has failed.
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(sent) + "\n")
        sys.stdout.flush()


def next_due(due: int, now: int, period: int) -> int:
    """When a camera that was to send at `due`, and did at `now`, sends again; all three in the same unit of time.

    A camera that is held up drops what it could not send, and keeps its beat.
    """
    return due + period * (1 + max(0, now - due) // period)
