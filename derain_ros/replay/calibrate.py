"""Calibrates the thermal camera from a bag: finds image pairs, writes the homography as a parameter and a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.replay.bag import BagReader
from derain_ros.replay.homography import Found, ThermalPair
from derain_ros.replay.records import Message, ReplayError
from derain_ros.replay.topics import Cameras
from derain_ros.runtime.input.alignment import structure
from derain_ros.runtime.input.encoding import LAYOUTS, to_grey
from derain_ros.runtime.input.messages import ImageError, frame_of

PAIRS, LEAST = 40, 8
"""Number of pairs that are used, spread over the bag, and the smallest number that is accepted."""
SHOWN = 4
"""Pairs in the picture."""
CONTOUR = 0.55
"""Strength of the structure above which a contour is drawn."""

Progress = Callable[[int, int], None]
UNCERTAIN_PX = 5.0
"""By how much the results of two halves of a recording may differ for a homography to be used."""


def pairs_of(reader: BagReader, cameras: Cameras, progress: Progress | None = None) -> list[ThermalPair]:
    """Return grey images of the first camera, each with the thermal image nearest in time.

    All visible images have one size, and so have all thermal images. Raises ReplayError if there is no thermal camera
    or there are too few pairs.
    """
    if not cameras.thermal:
        raise ReplayError("no thermal camera found in the bag; name its topic with --thermal")
    camera, topic = next(iter(cameras.images.items()))
    tolerance_ns = Config().thermal_tolerance_ms * 1e6
    pairs: list[ThermalPair] = []
    nearest_ns = float("inf")
    for visible, candidates in _chosen(reader, topic.name, cameras.thermal, max(1, topic.count // PAIRS)):
        frame = _frame(reader, visible)
        thermals = [thermal for thermal in (_frame(reader, each) for each in candidates) if thermal is not None]
        if frame is not None and thermals:
            thermal = min(thermals, key=lambda each, at=frame.stamp_ns: abs(each.stamp_ns - at))  # type: ignore[misc]
            apart_ns = abs(thermal.stamp_ns - frame.stamp_ns)
            nearest_ns = min(nearest_ns, apart_ns)
            if apart_ns <= tolerance_ns:
                pairs.append((to_grey(frame), to_grey(thermal)))
        if progress is not None:
            progress(min(len(pairs), PAIRS), PAIRS)
    sizes = Counter((visible.shape, thermal.shape) for visible, thermal in pairs).most_common(1)
    pairs = [pair for pair in pairs if (pair[0].shape, pair[1].shape) == sizes[0][0]]
    if len(pairs) < LEAST:
        why = (
            f"; the nearest stamps are {nearest_ns / 1e9:.3g} s apart: check that both cameras use the same clock"
            if tolerance_ns < nearest_ns < float("inf")
            else ""
        )
        raise ReplayError(
            f"only {len(pairs)} pairs of {camera} ({topic.name}) and {cameras.thermal} could be read, but "
            f"{LEAST} are needed{why}"
        )
    return pairs


def write(found: Found, bag: Path, pairs: int, parameters: Path, picture: np.ndarray, shown: Path) -> None:
    """Write the parameter as a file for `--params-file`, and the picture of `overlay`; ReplayError on failure."""
    numbers = ",\n                         ".join(", ".join(f"{value:.12f}" for value in row) for row in found.matrix)
    text = (
        f"# Found by `derain calibrate thermal` in {bag.name}, {pairs} pairs: {told(found)}.\n"
        "/**:\n  ros__parameters:\n    thermal: true\n    # Thermal pixels to left pixels, row by row.\n"
        f"    thermal_homography: [{numbers}]\n"
    )
    try:
        parameters.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReplayError(f"{parameters}: cannot be written ({error.strerror})") from error
    if not cv2.imwrite(str(shown), picture):
        raise ReplayError(f"{shown}: cannot be written; its folder must exist, and its name must end in .png or .jpg")


def told(found: Found) -> str:
    """Describe in words how certain a homography is."""
    return (
        f"{found.cells} of {found.of} cells of the view agree to {found.rms_px:.1f} px; between the results of the two "
        f"halves of the pairs, the corners differ by {found.apart_px:.1f} px"
        + (f": more than {UNCERTAIN_PX:g} px are too many, record a longer drive" * (found.apart_px > UNCERTAIN_PX))
    )


def overlay(pairs: list[ThermalPair], matrix: np.ndarray) -> np.ndarray:
    """Make a picture (H, W, 3) BGR uint8 of at most SHOWN pairs, one below the other.

    Left is the visible image, in the middle the thermal image warped by `matrix`, right the visible image with the
    contours of the warped one in red. The contours should coincide.
    """
    rows = []
    for visible, thermal in pairs[:: max(1, len(pairs) // SHOWN)][:SHOWN]:
        size = visible.shape[::-1]
        moved = cv2.warpPerspective(thermal, matrix, size)
        inside = cv2.erode(cv2.warpPerspective(np.full_like(thermal, 255), matrix, size), np.ones((9, 9), np.uint8))
        contours = (np.linalg.norm(structure(moved), axis=2) > CONTOUR) & (inside > 0)
        marked = cv2.cvtColor(visible, cv2.COLOR_GRAY2BGR)
        marked[contours] = (0, 0, 255)
        rows.append(
            np.hstack((cv2.cvtColor(visible, cv2.COLOR_GRAY2BGR), cv2.cvtColor(moved, cv2.COLOR_GRAY2BGR), marked))
        )
    return np.vstack(rows)


def _chosen(reader: BagReader, visible: str, thermal: str, step: int) -> Iterator[tuple[Message, list[Message]]]:
    """Yield every `step`-th message of the visible camera with the thermal messages before and after it."""
    before: list[Message] = []
    waiting: Message | None = None
    seen = 0
    for message in reader.messages():
        if message.topic == thermal:
            if waiting is not None:
                yield waiting, [*before, message]
                waiting = None
            before = [message]
        elif message.topic == visible:
            if seen % step == 0 and waiting is None:
                waiting = message
            seen += 1
    if waiting is not None:
        yield waiting, before


def _frame(reader: BagReader, message: Message) -> Frame | None:
    """Return the frame of a message; None if it cannot be read or its encoding is not supported."""
    try:
        frame = frame_of(reader.decode(message), message.stamp_ns)
    except (ImageError, ReplayError):
        return None
    return frame if frame.encoding in LAYOUTS else None
