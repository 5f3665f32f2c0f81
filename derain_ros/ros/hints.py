"""Hints on what a user should change, found once a second: cameras that do not pair, are frozen or whose stamps do not
advance, lost images, topics with two publishers, engines that the cache cannot keep.

Each hint is a sentence that says what is wrong and which parameter, variable or node to look at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from statistics import median

import numpy as np
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from derain_ros.engine import cache
from derain_ros.resources import default_file
from derain_ros.ros.transport import PROFILE
from derain_ros.runtime.input.instants import STILL_NS

WINDOW_S, FRAMES = 2.9, 6
"""Counts are judged over this time, and over as many frames of the fastest camera at the least."""
MOST, LOST = 0.5, 0.05
"""Shares of a camera's frames above which it matters that they stay unpaired, and that they get lost."""
STANDING = 0.1
"""Share of a camera's frames with stamps that do not advance above which a hint is given."""
FROZEN, MOVING = 0.9, 0.5
"""Shares of a camera's images that repeat the one before: a camera is frozen at FROZEN or more while another one is
below MOVING. Where no camera's images change, the scene may be a simulation that stands still."""
LOSSES = 3
"""Images that must be lost in that time: a single one may be an accident."""
REPEATED_S = 60.0
"""How often a hint is logged while it holds."""

Arrivals = Sequence[tuple[str, int]]
"""The last frames in the order of their arrival: camera and stamp in nanoseconds."""


class Hints:
    """Keeps the hints that hold; for one thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before: Mapping[str, Counter[str]] = {}
        self._since_s = 0.0
        self._judged: dict[str, str] = {}
        self._logged_s: dict[str, float] = {}

    def look(
        self,
        now_s: float,
        counts: Mapping[str, Counter[str]],
        arrivals: Arrivals,
        tolerance_ms: float,
        inputs: Mapping[str, str],
        outputs: Sequence[str],
    ) -> list[str]:
        """The hints that hold now; those not logged lately are logged.

        `counts` are those of each camera since the start, `inputs` the topic of each, thermal among them, `outputs` the
        topics that the node publishes.
        """
        self._judge(now_s, counts, arrivals, tolerance_ms, inputs)
        return self._told(now_s, self._judged | shared_topics(self._node, list(inputs.values()), outputs))

    def look_aside(self, now_s: float) -> list[str]:
        """The hints that hold while no frames are taken; those not logged lately are logged."""
        return self._told(now_s, {})

    def _told(self, now_s: float, hints: dict[str, str]) -> list[str]:
        hints |= {"cache": cache.trouble()} if cache.trouble() else {}
        for about, hint in hints.items():
            if now_s - self._logged_s.get(about, -math.inf) >= REPEATED_S:
                self._logged_s[about] = now_s
                self._node.get_logger().warning(hint)
        return list(hints.values())

    def _judge(
        self,
        now_s: float,
        counts: Mapping[str, Counter[str]],
        arrivals: Arrivals,
        tolerance_ms: float,
        inputs: Mapping[str, str],
    ) -> None:
        """Judge the counts of the last window as soon as it is over."""
        seconds = now_s - self._since_s
        recent = {camera: count - self._before.get(camera, Counter()) for camera, count in counts.items()}
        most = max(count["received"] for count in recent.values())
        if self._before and (seconds < WINDOW_S or 0 < most < FRAMES):
            return
        self._judged = {}
        if self._before and most:
            self._judged = {f"lost {camera}": hint for camera, hint in lost(recent, inputs).items()}
            cameras = {camera: count for camera, count in recent.items() if camera != "thermal"}
            hint = unpaired(cameras, seconds, arrivals, tolerance_ms, inputs, bool(self._judged))
            self._judged |= {"unpaired": hint} if hint else {}
            self._judged |= {f"stamps {camera}": hint for camera, hint in standing(arrivals, inputs).items()}
            self._judged |= {f"frozen {camera}": hint for camera, hint in frozen(recent, inputs).items()}
        self._before, self._since_s = counts, now_s


def lost(counts: Mapping[str, Counter[str]], topics: Mapping[str, str]) -> dict[str, str]:
    """By camera, what to do where the middleware loses images."""
    shares = {
        camera: count["lost"] / (count["lost"] + count["received"])
        for camera, count in counts.items()
        if count["lost"] >= LOSSES
    }
    return {
        camera: f"{share:.0%} of the images on {topics[camera]} get lost on the way: {_transport()}; if it "
        "has that already, this machine is too busy"
        for camera, share in shares.items()
        if share > LOST
    }


def _transport() -> str:
    if "fastrtps" in get_rmw_implementation_identifier():
        return f"start the camera driver with the transport profile, {PROFILE}={default_file('fastdds.xml')}"
    return "give the camera driver's middleware larger buffers"


def standing(arrivals: Arrivals, topics: Mapping[str, str]) -> dict[str, str]:
    """By camera, what to do where its stamps stand still, repeat or step back."""
    hints = {}
    for camera, topic in topics.items():
        stamps = [stamp for name, stamp in arrivals if name == camera]
        stood = sum(later - earlier < STILL_NS for earlier, later in pairwise(stamps))
        if stood > max(1, STANDING * (len(stamps) - 1)):
            hints[camera] = (
                f"stamps do not advance on {topic}, in {stood} of the last {len(stamps)} frames: they "
                "are timed by their arrival; let the driver stamp each frame when it is taken"
            )
    return hints


def frozen(counts: Mapping[str, Counter[str]], topics: Mapping[str, str]) -> dict[str, str]:
    """By camera, what to do where it repeats one image while another camera's images change."""
    shares = {camera: count["repeated"] / count["received"] for camera, count in counts.items() if count["received"]}
    if min(shares.values(), default=1.0) >= MOVING:
        return {}
    return {
        camera: f"{topics[camera]} repeats the same image: its camera or driver hangs, or the lens is covered; "
        "check the lens, and restart the driver"
        for camera, share in shares.items()
        if share >= FROZEN and counts[camera]["repeated"] >= LOSSES
    }


def unpaired(
    counts: Mapping[str, Counter[str]],
    seconds: float,
    arrivals: Arrivals,
    tolerance_ms: float,
    topics: Mapping[str, str],
    losing: bool = False,
) -> str:
    """Why most frames of a camera found no counterpart in these seconds, and what to do; empty where they did.

    Where images are `losing` themselves on the way, their counterparts are not to blame.
    """
    alone = [camera for camera, count in counts.items() if 0 < MOST * count["received"] < count["unpaired"]]
    silent = [camera for camera, count in counts.items() if not count["received"]]
    if not alone:
        return ""
    if silent:
        sending = [camera for camera in counts if camera not in silent]
        return (
            f"only {_and(topics[camera] for camera in sending)} {'deliver' if sending[1:] else 'delivers'}: set "
            f"cameras:=[{', '.join(sending)}], or start {_and(topics[camera] for camera in silent)}; until then "
            "frames go out unrestored"
        )
    if losing:
        return ""
    slowest = min(counts, key=lambda camera: counts[camera]["received"])
    if slowest not in alone:
        rates = _and(f"{camera} {count['received'] / seconds:.1f} Hz" for camera, count in counts.items())
        return f"the cameras deliver at different rates, {rates}: frames without a counterpart go out unrestored"
    return max((_apart(arrivals, *pair, tolerance_ms) for pair in combinations(counts, 2)), default=(0.0, ""))[1]


def _apart(arrivals: Arrivals, one: str, other: str, tolerance_ms: float) -> tuple[float, str]:
    """How far the stamps of two cameras are apart in milliseconds, and what to do about it."""
    stamps = {camera: np.array([stamp for name, stamp in arrivals if name == camera]) / 1e6 for camera in (one, other)}
    fewer, more = sorted(stamps.values(), key=len)
    if len(fewer) < 2:
        return 0.0, ""
    period_ms = float(np.median(np.abs(np.diff(fewer))))
    together_ms = abs(_offset_ms(arrivals, one, other))
    if together_ms > period_ms:
        return together_ms, (
            f"{one} and {other} arrive together with stamps about {_time(together_ms)} apart, more "
            f"than the {_time(period_ms)} from frame to frame: their clocks differ, or one is "
            "delayed on the way; stamp both by one clock"
        )
    nearest = np.abs(fewer[:, None] - more[None]).min(axis=1)
    apart_ms = float(np.median(nearest))
    if apart_ms <= tolerance_ms:
        return 0.0, ""
    enough_ms = min(1000, 5 * math.ceil(1.2 * float(np.percentile(nearest, 90)) / 5))
    return apart_ms, (
        f"stamps of {one} and {other} differ by about {_time(apart_ms)}; pair_tolerance_ms is "
        f"{tolerance_ms:g}: set pair_tolerance_ms:={enough_ms} if they show the same instant"
    )


def _offset_ms(arrivals: Arrivals, one: str, other: str) -> float:
    """By how much the newest stamp of `other` is usually ahead of that of `one`: half a period at the most where both
    have one clock and arrive alike."""
    newest: dict[str, int] = {}
    ahead: dict[str, list[float]] = {one: [], other: []}
    for camera, stamp in arrivals:
        if camera in ahead:
            newest[camera] = stamp
            if len(newest) == 2:
                ahead[camera].append((newest[other] - newest[one]) / 1e6)
    return sum(median(each) for each in ahead.values()) / 2 if all(ahead.values()) else 0.0


def shared_topics(node: Node, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """By topic, what to do where two publish an input, or another node what this one publishes."""
    hints = {}
    for topic in inputs:
        if node.count_publishers(topic) > 1:
            hints[topic] = f"{topic} is published by {_and(_publishers(node, topic))}: stop one, or rename its topic"
    for topic in outputs:
        if node.count_publishers(topic) > 1:
            others = _publishers(node, topic)
            own = node.get_fully_qualified_name()
            if own in others:
                others.remove(own)
            hints[topic] = (
                f"{topic} is published by {_and(others)} as well: stop it, or start this node in another namespace"
            )
    return hints


def _publishers(node: Node, topic: str) -> list[str]:
    return sorted(
        f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in node.get_publishers_info_by_topic(topic)
    )


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _time(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
