"""Runs a bag through the pipeline without ROS, as fast as possible."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from derain_ros.engine import Tell
from derain_ros.engine.auto import label
from derain_ros.frame import Action, Frame, FrameSet, Result
from derain_ros.replay.account import Account, output_of
from derain_ros.replay.bag import BagReader, BagWriter
from derain_ros.replay.images import header_of, image_of
from derain_ros.replay.records import Message, ReplayError, Topic
from derain_ros.replay.topics import INFO, Cameras
from derain_ros.runtime.input.geometry import is_rectified
from derain_ros.runtime.input.messages import ImageError, Received, frame_of, frame_unread
from derain_ros.runtime.input.synchronize import THERMAL, Synchronizer
from derain_ros.runtime.pipeline import Pipeline
from derain_ros.runtime.status import Status, statuses_of

OURS = ("/derained/", "/derain/")
"""Prefixes of the node's topics."""
OFFLINE = "Time of the pipeline"
STATIC = "/tf_static"
LOOKS_S = 0.2
"""Interval of the checks of what is being loaded."""
Progress = Callable[[int, int], None]
"""A function that is called with the number of messages done and in total."""


def replay(
    reader: BagReader,
    output: Path,
    cameras: Cameras,
    pipeline: Pipeline,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Account:
    """Write a bag with all topics of `reader` and those of the node: derained images, masks, status.

    `pipeline` is loaded and has the names of `cameras`. As in the node, a frame without one of the other camera is
    passed on, and so is an image of an encoding that cannot be processed. Images that cannot be read are counted and
    left out. `tell` is called when engines are built and measured; the first pair waits for that. Returns the account
    of all frames. Raises ReplayError if the output cannot be written.
    """
    with BagWriter(output) as writer, _told_of_loading(pipeline, tell):
        run = OfflineRun(reader, writer, cameras, pipeline)
        total = sum(t.count for t in reader.topics.values())
        kept = keep(reader, writer, run.account)
        for done, message in enumerate(reader.messages(), 1):
            if message.topic in kept:
                writer.write(message)
            run.take(message)
            if progress is not None:
                progress(done, max(total, done))
        run.end()
    run.account.damage = reader.damage
    return run.account


@contextmanager
def _told_of_loading(pipeline: Pipeline, tell: Tell | None) -> Iterator[None]:
    """While the context is open, call `tell` whenever the pipeline starts to load something else."""
    ending = threading.Event()

    def watch(tell: Tell) -> None:
        said = ""
        while not ending.wait(LOOKS_S):
            loading = pipeline.loading
            if loading and loading != said:
                tell(loading)
            said = loading

    thread = threading.Thread(target=watch, args=(tell,), name="derain loading") if tell is not None else None
    if thread is not None:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        if thread is not None:
            thread.join()


def keep(reader: BagReader, writer: BagWriter, account: Account) -> set[str]:
    """Add the bag's topics to the writer and return their names, without those that an earlier replay has made.

    The account notes what is not read of the bag.
    """
    account.notes += reader.notes
    made = {name for name in reader.topics if name.startswith(OURS)}
    if made:
        account.notes.append(f"topics of an earlier replay are replaced: {', '.join(sorted(made))}")
    for name, topic in reader.topics.items():
        if name not in made:
            writer.add(topic)
    return set(reader.topics) - made


class OfflineRun:
    """One running replay.

    While it is `silent` it processes messages as usual, but writes and counts nothing. Without `timed` it keeps
    nothing that depends on the speed of the machine.
    """

    def __init__(
        self, reader: BagReader, writer: BagWriter, cameras: Cameras, pipeline: Pipeline, timed: bool = True
    ) -> None:
        self.reader, self.writer, self.pipeline = reader, writer, pipeline
        self.silent, self._timed = False, timed
        self.account = Account(frames_in=Counter(dict.fromkeys(cameras.images, 0)))
        self._thermal = cameras.thermal
        self._first, first = next(iter(cameras.images.items()))
        self._rectified = {self._first: is_rectified(first.name), THERMAL: is_rectified(cameras.thermal)}
        self._geometry = pipeline.fusion.thermal.geometry
        if pipeline.config.thermal and self._geometry.fault and not self._geometry.needs_transform:
            self.account.notes.append(f"fusion is off: {self._geometry.fault}")
        self._camera_of = {topic.name: camera for camera, topic in cameras.images.items()}
        self._info_of = {topic: camera for camera, topic in cameras.info.items()}
        config = pipeline.config
        self._synchronizer = Synchronizer(
            list(cameras.images),
            round(config.pair_tolerance_ms * 1e6),
            round(config.thermal_tolerance_ms * 1e6),
            self._unpaired,
        )
        self._now_ns = 0
        self._noted: set[tuple[str, str]] = set()

    def take(self, message: Message) -> None:
        """Process one message of the bag."""
        self._now_ns = message.stamp_ns
        if message.topic in self._info_of:
            self._take_info(message)
        elif message.topic == STATIC and self._geometry.needs_transform:
            with suppress(ReplayError):
                self._geometry.take_transforms(self.reader.decode(message).transforms)
        elif message.topic == self._thermal:
            frame = self._frame(THERMAL, message)
            if frame is not None:
                self._synchronizer.add_thermal(frame)
        elif message.topic in self._camera_of:
            camera = self._camera_of[message.topic]
            self.account.frames_in[camera] += not self.silent
            frame = self._frame(camera, message)
            frames = None if frame is None else self._synchronizer.add(camera, frame)
            if frames is not None:
                started = time.monotonic_ns()
                result = self.pipeline.process(frames)
                self._write(frames.frames, result, (time.monotonic_ns() - started) / 1e6)

    def end(self) -> None:
        """Pass on the frames that still wait for their counterpart."""
        self._synchronizer.clear()
        self.account.engines = ", ".join(map(label, self.pipeline.engines))

    def _frame(self, camera: str, message: Message) -> Frame | None:
        """Return the frame of a message; None if it cannot be processed: a complete image is then passed on."""
        image = None
        try:
            image = self.reader.decode(message)
            # Offline the recording says when an image arrived.
            return frame_of(image, message.stamp_ns)
        except (ImageError, ReplayError) as error:
            if (
                camera in self.account.frames_in
                and isinstance(error, ImageError)
                and error.usable
                and hasattr(image, "encoding")
            ):  # the node's topics of compressed images are not recorded
                self._pass_on(camera, frame_unread(image, message.stamp_ns), Action.PASSED_ERROR, str(error))
                self._note(camera, error.reason, f"{message.topic}: {error}; such images are passed on as they are")
            else:
                self.account.broken[camera] += not self.silent
                self._note(camera, "broken", f"{message.topic}: {error}")
            return None

    def _note(self, camera: str, reason: str, note: str) -> None:
        if (camera, reason) not in self._noted:
            self._noted.add((camera, reason))
            self.account.notes.append(note)

    def _take_info(self, message: Message) -> None:
        """Copy a camera_info beside its camera's output images, and read the camera's geometry from it."""
        camera = self._info_of[message.topic]
        fuses = self.pipeline.config.thermal
        beside = [*([camera] if camera != THERMAL else []), *(["fused"] if fuses and camera == self._first else [])]
        for name in () if self.silent else beside:
            topic = f"/derained/{name}/camera_info"
            self.writer.add(Topic(topic, INFO, 0))
            self.writer.write(Message(topic, message.stamp_ns, message.data))
        if fuses and self._geometry.needs_info and camera in self._rectified:
            with suppress(ReplayError):
                self._geometry.take_info(
                    "left" if camera == self._first else THERMAL, self.reader.decode(message), self._rectified[camera]
                )

    def _unpaired(self, camera: str, frame: Frame) -> None:
        self._pass_on(camera, frame, Action.PASSED_UNPAIRED, "no frame of another camera at that time")

    def _pass_on(self, camera: str, frame: Frame, action: Action, detail: str) -> None:
        frames = {camera: frame}
        self._write(frames, self.pipeline.pass_on(FrameSet(frames), action, detail), float("nan"))

    def _write(self, frames: Mapping[str, Frame], result: Result, elapsed_ms: float) -> None:
        if self.silent:
            return
        types, stamp_ns = self.writer.types, self._now_ns
        elapsed_ms = elapsed_ms if self._timed else float("nan")
        if result.models:
            self.account.plans[result.plan, result.models] += 1
        statuses = statuses_of(result) if self._timed else list(map(_untimed, statuses_of(result)))
        told = {status.name: status.values for status in statuses}
        for camera, done in result.cameras.items():
            frame = done.frame
            # As in the node, a pass-through frame is published as the message in which it came.
            message = frame.message if isinstance(frame, Received) and frame is frames[camera] else None
            self.writer.put(f"/derained/{camera}/image_raw", stamp_ns, message or image_of(types, frame))
            mask = Frame(done.mask, "mono8", frame.stamp_ns, frame.frame_id)
            self.writer.put(f"/derained/{camera}/anomaly_mask", stamp_ns, image_of(types, mask))
            self.account.outputs.append(output_of(camera, frame.stamp_ns, told[camera], elapsed_ms, float("nan")))
        if result.fusion:
            self.account.fusion[result.fusion] += 1
        if result.fused is not None:
            self.writer.put("/derained/fused/image_raw", stamp_ns, image_of(types, result.fused))
        self.writer.put("/derain/status", stamp_ns, self._status(result, statuses))
        self.writer.put("/derain/anomaly", stamp_ns, types.types["std_msgs/msg/Bool"](data=result.affected))

    def _status(self, result: Result, statuses: Sequence[Status]) -> Any:
        """Make the message that the node would publish on ~/status."""
        make = self.writer.types.types
        said = [
            make["diagnostic_msgs/msg/DiagnosticStatus"](
                level=told.level,
                name=told.name,
                message=told.message,
                hardware_id=told.hardware_id,
                values=[make["diagnostic_msgs/msg/KeyValue"](key=k, value=v) for k, v in told.values.items()],
            )
            for told in statuses
        ]
        stamp_ns = next(iter(result.cameras.values())).frame.stamp_ns
        return make["diagnostic_msgs/msg/DiagnosticArray"](
            header=header_of(self.writer.types, stamp_ns, ""), status=said
        )


def _untimed(status: Status) -> Status:
    """Return a status without its times in milliseconds."""
    return replace(status, values={key: value for key, value in status.values.items() if not key.endswith("_ms")})
