"""Finds out which topics of a bag are the cameras."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from derain_ros.replay.records import ReplayError, Topic

IMAGE, COMPRESSED, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
THERMAL_WORDS = {"thermal", "ir", "lwir", "flir", "boson", "lepton"}
OTHER_WORDS = {"depth", "disparity", "mask", "derained", "anomaly", "confidence", "theora", "compresseddepth"}


@dataclass(frozen=True)
class Cameras:
    """The image topics to work on: `images` by camera name; `info` the camera_info topics where there are any.

    `thermal` is a topic, or empty. `unused` are image topics that were left out.
    """

    images: dict[str, Topic]
    info: dict[str, str] = field(default_factory=dict)
    thermal: str = ""
    unused: list[str] = field(default_factory=list)


def choose(topics: Mapping[str, Topic], named: Mapping[str, str] | None = None, thermal: str = "") -> Cameras:
    """The cameras of a bag, `named` as camera name to topic or, without names, found by type.

    Found by type: of the image topics that are neither thermal nor depth nor masks, the pair whose names differ in
    "left" and "right" becomes cameras `left` and `right`; without such a pair one whose names differ in one digit
    only, the lower of them `left`; without that the first two by name, or the only one as `left`. Raw is preferred to
    compressed, `image_raw` to what was made of it. ReplayError where there is no camera or a named topic is missing
    or no image.
    """
    images = {t.name: t for t in topics.values() if t.msgtype in (IMAGE, COMPRESSED) and t.count}
    for topic in [*(named or {}).values(), *([thermal] if thermal else [])]:
        if topic not in images:
            what = f"is of type {topics[topic].msgtype}" if topic in topics else "is not in the bag"
            raise ReplayError(f"{topic} {what}; image topics there: {', '.join(sorted(images)) or 'none'}")
    if named:
        chosen = {camera: images[topic] for camera, topic in named.items()}
    else:
        open_to_us = [n for n in images if n != thermal and not _words(n) & (THERMAL_WORDS | OTHER_WORDS)]
        chosen = _found({n: images[n] for n in _one_a_camera(open_to_us)})
    if not chosen:
        raise ReplayError("no camera found: the bag has no image topic that is neither thermal, depth nor a mask; its "
                          f"topics are {', '.join(sorted(topics)) or 'none'}")
    if not thermal:  # of the cameras' kind: the node takes all of them raw, or all compressed
        kinds = {t.msgtype for t in chosen.values()}
        found = (n for n in sorted(images, key=_rank) if _words(n) & THERMAL_WORDS and images[n].msgtype in kinds)
        thermal = next(found, "")
    used = {t.name for t in chosen.values()} | {thermal}
    info = {camera: f"{_camera_of(t.name)}/camera_info" for camera, t in chosen.items()}
    return Cameras(chosen, {c: n for c, n in info.items() if n in topics and topics[n].msgtype == INFO}, thermal,
                   sorted(set(images) - used))


def _found(images: dict[str, Topic]) -> dict[str, Topic]:
    names = sorted(images, key=_rank)
    for left in names:
        right = re.sub("left", "right", left, flags=re.IGNORECASE)
        if right != left:
            for other in names:
                if other.lower() == right.lower():
                    return {"left": images[left], "right": images[other]}
    for first, second in combinations(names, 2):
        if _differ_in_a_digit(first, second):
            return {"left": images[min(first, second)], "right": images[max(first, second)]}
    return dict(zip(("left", "right"), (images[n] for n in names), strict=False))


def _differ_in_a_digit(name: str, other: str) -> bool:
    differing = [pair for pair in zip(name, other, strict=False) if pair[0] != pair[1]]
    return len(name) == len(other) and len(differing) == 1 and "".join(differing[0]).isdecimal()


def _one_a_camera(names: Iterable[str]) -> list[str]:
    """Of several forms of one camera's image the best: raw before compressed, image_raw before rectified."""
    best: dict[str, str] = {}
    for name in sorted(names, key=_rank):
        best.setdefault(_camera_of(name), name)
    return list(best.values())


def _rank(name: str) -> tuple[bool, bool, str]:
    return name.endswith("/compressed"), not re.search(r"image_raw(/compressed)?$", name), name


def _camera_of(name: str) -> str:
    """The namespace of a camera: /stereo/left for /stereo/left/image_raw and /stereo/left/image_raw/compressed."""
    name = name.removesuffix("/compressed")
    parent, _, last = name.rpartition("/")
    return parent if last.startswith("image") and parent else name


def _words(name: str) -> set[str]:
    return set(re.split(r"[/_\d]+", name.lower()))
