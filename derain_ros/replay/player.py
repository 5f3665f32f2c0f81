"""Plays a bag in real time through the node in another process, over DDS, and records what it publishes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from derain_ros.config import Config
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader
from derain_ros.replay.child import NodeProcess, transport_environment
from derain_ros.replay.offline import Progress, keep
from derain_ros.replay.recorder import Recorder
from derain_ros.replay.records import ReplayError, Topic
from derain_ros.replay.session import Session
from derain_ros.replay.topics import COMPRESSED, INFO, Cameras

READY_S = 60.0
LIVE = "Latency, from camera to receiver"


def play(
    reader: BagReader,
    output: Path | None,
    cameras: Cameras,
    config: Config,
    models: Path | None = None,
    rate: float = 1.0,
    progress: Progress | None = None,
    watch: Callable[[int], AbstractContextManager[object]] = lambda process: nullcontext(),
) -> Account:
    """Play `reader` at `rate` times the recorded speed; write its topics and the node's outputs to the bag `output`.

    Nothing is written if `output` is None. `config.cameras` are the names of `cameras`; the transport is that of the
    bag. Latency is the time from publishing an image to receiving its result. `watch` gets the node's process id; its
    context is open while the bag plays. Raises ReplayError if the node cannot load its models, does not get ready or
    fails, or if the disk is too slow.
    """
    os.environ.update(transport_environment())  # read when this process joins DDS
    if os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "OFF":
        raise ReplayError("ROS_AUTOMATIC_DISCOVERY_RANGE is OFF, so processes cannot find each other; unset it")
    from derain_ros.replay.link import Link

    inputs = _inputs(cameras, reader.topics)
    packed = any(msgtype == COMPRESSED for _, msgtype in inputs.values())
    config = replace(config, transport="compressed" if packed else "raw")
    with NodeProcess(config, models) as node, Link(list(cameras.images), inputs, config.thermal) as link:
        _await_ready(node, link)
        account = Account(frames_in=Counter(dict.fromkeys(cameras.images, 0)))
        with nullcontext() if output is None else Recorder(output) as recorder:
            kept: set[str] = set()
            if recorder is None:
                account.notes += reader.notes
            else:
                kept = keep(reader, recorder.writer, account)
                for topic, msgtype in link.outputs.items():
                    recorder.writer.add(Topic(topic, msgtype, 0))
            session = Session(reader, cameras, link, recorder, rate)
            with watch(node.pid):
                session.run(node, kept, progress)
            session.finish(node)
            node.end()
        session.fill(account)
    account.damage = reader.damage
    return account


def _inputs(cameras: Cameras, topics: Mapping[str, Topic]) -> dict[str, tuple[str, str]]:
    """Return by topic of the bag the topic that the node subscribes to, and its type."""
    kinds = {t.msgtype for t in cameras.images.values()} | (
        {topics[cameras.thermal].msgtype} if cameras.thermal else set()
    )
    if len(kinds) > 1:
        raise ReplayError("some cameras are raw and some compressed; name topics of one kind, or replay offline")
    suffix = "/compressed" if kinds == {COMPRESSED} else ""
    inputs = {t.name: (f"/{camera}/image_raw{suffix}", t.msgtype) for camera, t in cameras.images.items()}
    inputs |= {name: (f"/{camera}/camera_info", INFO) for camera, name in cameras.info.items()}
    if cameras.thermal:
        inputs[cameras.thermal] = (f"/thermal/image_raw{suffix}", topics[cameras.thermal].msgtype)
    return inputs


def _await_ready(node: NodeProcess, link: Any) -> None:
    deadline = time.monotonic() + READY_S
    while not (link.matched() and link.engine not in ("", "loading")):
        node.check()
        if time.monotonic() > deadline:
            topics = "all" if link.matched() else "not all"
            raise ReplayError(
                f"the node was not ready within {READY_S:.0f} s: {topics} of its topics are there, and its engine is "
                f"{link.engine or 'silent'}; try `derain node` alone"
            )
        time.sleep(0.02)
    # On a robot the images must go on even then; here unprocessed images would pass for a result.
    if link.engine.startswith("failed"):
        raise ReplayError(f"the node's engine {link.engine}")
