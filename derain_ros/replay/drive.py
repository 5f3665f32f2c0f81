"""Records the procedural drive as a bag: dry at first, then drops on one lens, then on both, then dry again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.frame import Frame
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.scene import Scene, pose, rig
from derain_ros.rain.style import DropStyle
from derain_ros.replay.bag import BagWriter
from derain_ros.replay.images import camera_info, header_of, image_of

EPOCH_NS = 1_700_000_000_000_000_000
PHASES = ((0.2, ()), (0.5, ("left",)), (0.8, ("left", "right")), (1.0, ()))
"""For each phase the share of the drive at which it ends, and the cameras with drops on the lens."""
COVERAGE = 0.16
THERMAL_RATE = 10.0


@dataclass(frozen=True)
class Drive:
    """What to record: `rate` stereo pairs per second, images of `width` x `height` pixels.

    There are about THERMAL_RATE thermal frames per second, or one for each pair if pairs are fewer.
    """

    seconds: float = 10.0
    rate: float = 20.0
    width: int = 720
    height: int = 540
    seed: int = 7

    @property
    def frames(self) -> int:
        """Number of stereo pairs."""
        return max(1, round(self.seconds * self.rate))

    def stamp_ns(self, index: int) -> int:
        """Return the stamp of a pair in nanoseconds."""
        return EPOCH_NS + round(index * 1e9 / self.rate)

    def wet(self, index: int) -> tuple[str, ...]:
        """Return the cameras with drops on the lens at a pair."""
        return next(cameras for end, cameras in PHASES if index < end * self.frames or end == 1.0)

    def truth(self, camera: str) -> dict[int, bool]:
        """Return by stamp whether a camera is wet."""
        return {self.stamp_ns(k): camera in self.wet(k) for k in range(self.frames)}


def record(drive: Drive, bag: Path, truth: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the bag of the drive, and a second one with the dry view of every wet frame.

    Dry views are on `/truth/<camera>/image_raw`. The same drive gives the same images. `progress` is called with the
    number of pairs done and in total.
    """
    with BagWriter(bag) as out, BagWriter(truth) as dry_out:
        for index, pictures in enumerate(_pictures(drive)):
            stamp_ns = drive.stamp_ns(index)
            for camera, (seen, dry) in pictures.items():
                encoding = "mono16" if camera == "thermal" else "mono8"
                out.put(f"/{camera}/image_raw", stamp_ns, image_of(out.types, Frame(seen, encoding, stamp_ns, camera)))
                out.put(f"/{camera}/camera_info", stamp_ns, _info(out, drive, camera, stamp_ns))
                if dry is not None:
                    frame = Frame(dry, encoding, stamp_ns, camera)
                    dry_out.put(f"/truth/{camera}/image_raw", stamp_ns, image_of(dry_out.types, frame))
            out.put("/vehicle/pose", stamp_ns, _pose(out, drive, index))
            if progress is not None:
                progress(index + 1, drive.frames)


Pictures = dict[str, tuple[np.ndarray, "np.ndarray | None"]]
"""By camera the image that it sees, and the dry view if that differs."""


def _pictures(drive: Drive) -> Iterator[Pictures]:
    """Yield the images of every pair in order, rendered by one process per core, at most 8."""
    workers = min(drive.frames, os.cpu_count() or 1, 8)
    # Spawned, not forked, because the parent may already run threads of ROS.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _Renderer.start, (drive,))
    try:
        waiting: list[Future[Pictures]] = []
        for index in range(drive.frames):
            # One pair per task, because after Ctrl-C the running tasks are waited for.
            waiting.append(pool.submit(_Renderer.work, index))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        for done in waiting:
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Renderer:
    """The renderer of one process; it keeps its scene between tasks."""

    one: _Renderer

    def __init__(self, drive: Drive) -> None:
        self.drive, self.rig, self.scene = drive, rig(drive.width, drive.height), Scene(drive.seed)
        self.drops = {}
        for k, camera in enumerate(("left", "right")):
            rng = np.random.default_rng([drive.seed, k])
            self.drops[camera] = LensDrops(drive.height, drive.width, rng, COVERAGE, DropStyle.draw(rng, "heavy"))

    @staticmethod
    def start(drive: Drive) -> None:
        """Make this process's renderer."""
        import cv2

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
        threading.Thread(target=_end_with_parent, name="derain parent", daemon=True).start()
        cv2.setNumThreads(1)
        _Renderer.one = _Renderer(drive)

    @staticmethod
    def work(index: int) -> Pictures:
        """Return the images of one pair, by this process's renderer."""
        return _Renderer.one.pictures(index)

    def pictures(self, index: int) -> Pictures:
        """Render the images of one pair, and the thermal image if it has one."""
        seconds, wet = index / self.drive.rate, self.drive.wet(index)
        made: Pictures = {}
        if index % max(1, round(self.drive.rate / THERMAL_RATE)) == 0:
            # Before the others, so that it is there when their pair is complete: no pair waits for it.
            made["thermal"] = self.scene.render(self.rig["thermal"], seconds)[0], None
        for camera in ("left", "right"):
            dry = self.scene.render(self.rig[camera], seconds)[0]
            made[camera] = (self.drops[camera].apply(dry)[0], dry) if camera in wet else (dry, None)
        return made


def _end_with_parent() -> None:
    """End this process once its parent has ended: a killed parent cannot end its pool, which would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def thermal_place(drive: Drive) -> list[float]:
    """Return the parameter thermal_extrinsic: the thermal camera's pose in the left camera's optical frame."""
    cameras = rig(drive.width, drive.height)
    ahead, left, up = (float(n) for n in np.subtract(cameras["thermal"].offset, cameras["left"].offset))
    return [-left, -up, ahead, 0.0, 0.0, 0.0]


def _info(out: BagWriter, drive: Drive, name: str, stamp_ns: int) -> Any:
    cameras = rig(drive.width, drive.height)
    camera = cameras[name]
    baseline = cameras["left"].offset[1] - cameras["right"].offset[1] if name == "right" else 0.0
    return camera_info(out.types, stamp_ns, name, camera.width, camera.height, camera.matrix, baseline)


def _pose(out: BagWriter, drive: Drive, index: int) -> Any:
    """Return the vehicle's pose as geometry_msgs/PoseStamped; the heading is a rotation about the vertical axis."""
    make = out.types.types
    place, turn = pose(index / drive.rate)
    half = float(np.arctan2(turn[2, 1], turn[2, 0])) / 2
    where = make["geometry_msgs/msg/Pose"](
        position=make["geometry_msgs/msg/Point"](x=float(place[0]), y=float(place[1]), z=float(place[2])),
        orientation=make["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=float(np.sin(half)), w=float(np.cos(half))),
    )
    header = header_of(out.types, drive.stamp_ns(index), "street")
    return make["geometry_msgs/msg/PoseStamped"](header=header, pose=where)
