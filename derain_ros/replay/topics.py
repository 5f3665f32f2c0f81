"""Finds the camera topics of a bag."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from derain_ros.replay.records import ReplayError, Topic

IMAGE, COMPRESSED, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
NONE = "none"
"""Given in place of a topic: there is no such camera."""
THERMAL_WORDS = {"thermal", "lwir", "boson", "lepton"}
THERMAL_WORDS_ALONE = {"ir": {"left", "right"}, "flir": {"left", "right", "camera", "cam", "blackfly", "spinnaker"}}
"""Words for a thermal camera, unless one of the given words is beside them.

The exceptions are the eyes of an infrared stereo camera, and the other cameras of a manufacturer.
"""
OTHER_WORDS = {
    *("depth", "disparity", "mask", "derained", "anomaly", "confidence", "theora", "compresseddepth"),
    *("truth", "labels"),
}


@dataclass(frozen=True)
class Cameras:
    """The image topics to process: `images` by camera name, `info` with the camera_info topics that exist.

    `thermal` is a topic, or empty; its camera_info is in `info`, too, under the name `thermal`. `unused` are the image
    topics that were left out.
    """

    images: dict[str, Topic]
    info: dict[str, str] = field(default_factory=dict)
    thermal: str = ""
    unused: list[str] = field(default_factory=list)


def choose(topics: Mapping[str, Topic], named: Mapping[str, str] | None = None, thermal: str = "") -> Cameras:
    """Choose the cameras of a bag: those `named` (camera name to topic), or without names those found by type.

    NONE as a topic means that there is no such camera. Found by type: only image topics that are not thermal, depth,
    masks, labels or ground truth are used. The pair whose names differ in "left" and "right" becomes the cameras
    `left` and `right`. Without it this is a pair whose names differ in one digit only, the lower one as `left`;
    without that the first two, or the only one as `left`. The order is raw before compressed, `image_raw` before
    others, then by name. A named topic is not used for another camera, whatever its name is. Raises ReplayError if
    there is no camera, or a named topic is missing, not an image, empty or named twice.
    """
    images = {t.name: t for t in topics.values() if t.msgtype in (IMAGE, COMPRESSED) and t.count}
    named = named or {}
    by_user = [topic for topic in (*named.values(), thermal) if topic not in ("", NONE)]
    _check(by_user, topics, images)
    chosen = {camera: images[topic] for camera, topic in named.items() if topic != NONE}
    if not chosen:
        taken = {_camera_of(topic) for topic in by_user}
        open_to_us = [n for n in images if _camera_of(n) not in taken and not _is_thermal(n) and not _is_other(n)]
        found = _found({n: images[n] for n in _one_a_camera(open_to_us)})
        chosen = {camera: topic for camera, topic in found.items() if camera not in named}
    if not chosen:
        raise ReplayError(
            "no camera found: no image topic is left without those of thermal images, depth, masks and the truth of a "
            "demonstration, and without those that --camera excludes; the topics are "
            f"{', '.join(sorted(topics)) or 'none'}; name one with --camera"
        )
    if not thermal:  # of the cameras' type: the node takes all of them raw, or all compressed
        kinds = {t.msgtype for t in chosen.values()}
        taken = {_camera_of(t.name) for t in chosen.values()}
        thermal = next(
            (
                n
                for n in sorted(images, key=_rank)
                if _is_thermal(n) and not _is_other(n) and images[n].msgtype in kinds and _camera_of(n) not in taken
            ),
            "",
        )
    thermal = "" if thermal == NONE else thermal
    used = {t.name for t in chosen.values()} | {thermal}
    infos = _infos(chosen | ({"thermal": images[thermal]} if thermal else {}), topics)
    return Cameras(chosen, infos, thermal, sorted(set(images) - used))


def _check(by_user: Iterable[str], topics: Mapping[str, Topic], images: Mapping[str, Topic]) -> None:
    """Raise ReplayError for a named topic that cannot be used."""
    for topic, times in Counter(by_user).items():
        if topic not in images:
            what = (
                "is not in the bag"
                if topic not in topics
                else "has no messages"
                if topics[topic].msgtype in (IMAGE, COMPRESSED)
                else f"is of type {topics[topic].msgtype}"
            )
            raise ReplayError(f"{topic} {what}; image topics there: {', '.join(sorted(images)) or 'none'}")
        if times > 1:
            raise ReplayError(f"{topic} is named for more than one camera; name another topic, or {NONE}")


def _infos(chosen: Mapping[str, Topic], topics: Mapping[str, Topic]) -> dict[str, str]:
    """Find the camera_info of each camera, in its namespace or, as image_transport has it, beside the image.

    One that belongs to the images of two cameras is not used.
    """
    found = {}
    for camera, topic in chosen.items():
        beside = topic.name.removesuffix("/compressed").rpartition("/")[0]
        for name in (f"{beside}/camera_info", f"{_camera_of(topic.name)}/camera_info"):
            if name in topics and topics[name].msgtype == INFO:
                found[camera] = name
    shared = Counter(found.values())
    return {camera: name for camera, name in found.items() if shared[name] == 1}


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
    """Choose the best of several topics of one camera: raw before compressed, image_raw before others."""
    best: dict[str, str] = {}
    for name in sorted(names, key=_rank):
        best.setdefault(_camera_of(name), name)
    return list(best.values())


def _rank(name: str) -> tuple[bool, bool, str]:
    return name.endswith("/compressed"), not re.search(r"image_raw(/compressed)?$", name), name


def _camera_of(name: str) -> str:
    """Return the namespace of a camera: /stereo/left for /stereo/left/image_raw and /stereo/left/image_raw/compressed.

    /stereo/image_left and /stereo/image_1 are separate cameras.
    """
    name = name.removesuffix("/compressed")
    parent, _, last = name.rpartition("/")
    first, *others = last.lower().split("_")
    return parent if first == "image" and not any(o in ("left", "right") or o.isdecimal() for o in others) else name


def _is_thermal(name: str) -> bool:
    for part in name.lower().split("/"):
        words = set(re.split(r"[_\d]+", part))
        if words & THERMAL_WORDS or any(
            word in words and not words & beside for word, beside in THERMAL_WORDS_ALONE.items()
        ):
            return True
    return False


def _is_other(name: str) -> bool:
    return bool(set(re.split(r"[/_\d]+", name.lower())) & OTHER_WORDS)
