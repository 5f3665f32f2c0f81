"""Takes image messages in: counts them, pairs them, and hands frame sets on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger

from derain_ros.config import Config
from derain_ros.frame import Action, Frame, FrameSet
from derain_ros.ros.diagnostics import Statistics
from derain_ros.ros.log import CameraLog
from derain_ros.ros.mailbox import Job
from derain_ros.ros.messages import CompressedImage, RawImage, read_compressed, read_image
from derain_ros.runtime.input.messages import ImageError, Received, frame_of, frame_unread
from derain_ros.runtime.input.synchronize import Synchronizer
from derain_ros.runtime.plan.budget import Cadence

ARRIVALS = 64
"""The last frames whose stamps are compared where cameras do not pair."""
SAMPLED = 1024
"""Bytes of an image, spread evenly, that are compared with the image before: noise changes some of them."""


class Intake:
    """Makes jobs of the messages of all cameras and hands them to `put`; for one thread at a time.

    `now_ns` gives the time of the clock that stamps are of; `arrivals` are camera and stamp of the last frames.
    """

    def __init__(
        self,
        config: Config,
        statistics: Statistics,
        put: Callable[[Job], None],
        now_ns: Callable[[], int],
        logger: RcutilsLogger,
    ) -> None:
        self._statistics, self._put, self._now_ns, self._log = statistics, put, now_ns, CameraLog(logger)
        self.arrivals: deque[tuple[str, int]] = deque(maxlen=ARRIVALS)
        self._samples: dict[str, bytes] = {}
        self._cadence = Cadence()
        self.synchronizer = Synchronizer(config.cameras, 0, 0, self._on_unpaired)
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Take over changed settings."""
        self._config = config
        self._read = read_compressed if config.transport == "compressed" else read_image
        self.synchronizer.pair_tolerance_ns = int(config.pair_tolerance_ms * 1e6)
        self.synchronizer.thermal_tolerance_ns = int(config.thermal_tolerance_ms * 1e6)

    def take(self, camera: str, cdr: bytes, lost: int) -> None:
        """Take in a serialized image of a camera, and that the middleware lost so many before it."""
        self._statistics.count(camera, "received", *["lost"] * lost)
        received_ns = time.monotonic_ns()
        message = None
        try:
            message = self._read(cdr)
            frame = frame_of(message, received_ns)
        except ImageError as error:
            self._refuse(camera, message, error, received_ns)
            return
        if isinstance(message, RawImage) and message.is_bigendian:
            # Bytes have no order, so the image is good; its driver should be looked at.
            self._statistics.count(camera, "bad_big_endian")
        self._note(camera, frame, message)
        frames = self.synchronizer.add(camera, frame)
        if frames is not None:
            stamp_ns = next(iter(frames.frames.values())).stamp_ns
            # What a compressed image took to decode is part of its latency.
            self._put(
                Job(
                    replace(
                        frames,
                        received_ns=self._begun_ns(frames, received_ns),
                        period_ms=self._cadence.period_ms(time.monotonic_ns(), stamp_ns),
                    )
                )
            )

    def take_thermal(self, camera: str, cdr: bytes, lost: int) -> None:
        """Take in a serialized thermal image."""
        self._statistics.count(camera, "received", *["lost"] * lost)
        try:
            message = self._read(cdr)
            frame = frame_of(message, time.monotonic_ns())
        except ImageError as error:
            self._log.warning(camera, str(error))
            self._statistics.count(camera, f"bad_{error.reason}", "unusable")
            return
        self._note(camera, frame, message)
        self.synchronizer.add_thermal(frame)

    def _note(self, camera: str, frame: Frame, message: RawImage | CompressedImage) -> None:
        """Note the stamp of a frame, and count it where it repeats the image before."""
        self.arrivals.append((camera, frame.stamp_ns))
        sample = np.frombuffer(message.data, np.uint8)[:: max(1, len(message.data) // SAMPLED)].tobytes()
        if sample == self._samples.get(camera):
            self._statistics.count(camera, "repeated")
        self._samples[camera] = sample

    def _begun_ns(self, frames: FrameSet, received_ns: int) -> int:
        """From when on the budget counts, on the monotonic clock."""
        if self._config.budget_from == "arrival":
            return received_ns
        stamp_ns = min(frame.stamp_ns for frame in frames.frames.values())
        now_ns = time.monotonic_ns()
        # A stamp of the future is that of a clock that runs ahead.
        return max(1, min(received_ns, now_ns - (self._now_ns() - stamp_ns)))

    def _refuse(
        self, camera: str, message: RawImage | CompressedImage | None, error: ImageError, received_ns: int
    ) -> None:
        """Count an image that cannot be processed, and pass it on if it is one that others may understand."""
        self._log.warning(camera, str(error))
        if error.usable and message is not None:
            self._statistics.count(camera, f"bad_{error.reason}")
            frames = FrameSet({camera: frame_unread(message, received_ns)}, None, received_ns)
            self._put(Job(frames, Action.PASSED_ERROR, str(error)))
        else:
            self._statistics.count(camera, f"bad_{error.reason}", "unusable")

    def _on_unpaired(self, camera: str, frame: Frame) -> None:
        assert isinstance(frame, Received)
        self._statistics.count(camera, "unpaired")
        self._put(
            Job(
                FrameSet({camera: frame}, None, frame.received_ns),
                Action.PASSED_UNPAIRED,
                f"no frame of another camera within {self._config.pair_tolerance_ms:g} ms",
            )
        )
