"""A bag of wet images with their ground truth: dry images, labels, the names of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from derain_ros.data.labelled import VOID
from derain_ros.data.rain_sequence import CLASSES, DRY, LABELS, WET
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.files import parse_json
from derain_ros.replay.bag import BagReader
from derain_ros.replay.records import ReplayError
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.input.messages import ImageError, frame_of
from derain_ros.runtime.labels import rgb_of

WAITING = 50
"""Largest number of incomplete instants that are kept, to limit memory."""
HOW_TO_MAKE = "`derain rain sequence SCENES NAME --bag` writes one that can be evaluated"


def reference(reader: BagReader, classes: Sequence[str]) -> tuple[np.ndarray | None, str]:
    """The reference of a bag for a segmenter of `classes`: a table of labels or None, and a text that describes it.

    The table (256,) uint8 has, for each value of the bag's labels, the index of that class in `classes`, or VOID. With
    None the segmentation of the dry images is the reference. EvaluationError if neither is possible.
    """
    if WET not in reader.topics:
        raise EvaluationError(f"{reader.path}: has no images on {WET}; {HOW_TO_MAKE}")
    ids = np.full(256, VOID, np.uint8)
    if LABELS not in reader.topics:
        why = f"the bag has no labels on {LABELS}"
    else:
        named = _class_names(reader)
        unknown = [name for name in named if name not in classes]
        if named and not unknown:
            ids[: len(named)] = [classes.index(name) for name in named]
            return ids, f"labels of the bag, {LABELS}"
        why = (
            f"the segmenter does not know the classes {', '.join(unknown)} of the bag's labels"
            if unknown
            else f"no message on {CLASSES} names the classes of the bag's labels"
        )
    if DRY not in reader.topics:
        raise EvaluationError(f"{reader.path}: {why}, and there are no dry images on {DRY}; {HOW_TO_MAKE}")
    return None, f"the segmentation of the dry images, because {why}"


def instants(reader: BagReader, topics: set[str]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Stamps in ns with the images of all `topics`, (H, W, 3) uint8 RGB, by topic.

    Images that cannot be read are skipped. At most WAITING stamps that lack an image are kept.
    """
    waiting: dict[int, dict[str, np.ndarray]] = {}
    for message in reader.messages():
        if message.topic not in topics:
            continue
        try:
            frame = frame_of(reader.decode(message))
            image = rgb_of(frame)
        except (ImageError, ReplayError, FrameError):
            continue
        images = waiting.setdefault(frame.stamp_ns, {})
        images[message.topic] = image
        if images.keys() == topics:
            yield frame.stamp_ns, waiting.pop(frame.stamp_ns)
        elif len(waiting) > WAITING:
            del waiting[next(iter(waiting))]


def _class_names(reader: BagReader) -> list[str]:
    """The names on the topic CLASSES, none if the bag does not have it; EvaluationError if they cannot be read."""
    for message in reader.messages() if CLASSES in reader.topics else ():
        if message.topic == CLASSES:
            text = getattr(reader.decode(message), "data", "")
            try:
                names = parse_json(text)
            except ValueError:
                names = None
            if not isinstance(names, list) or len(names) >= VOID or not all(isinstance(name, str) for name in names):
                raise EvaluationError(f"{reader.path}: {CLASSES} has {text[:80]!r}, not a JSON list of names")
            return names
    return []
