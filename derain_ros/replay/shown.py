"""Makes a few pictures of a replay for its report: what a camera saw, and the result."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from derain_ros.engine import Engine, load
from derain_ros.frame import Action, Frame
from derain_ros.manifest import Manifest
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader
from derain_ros.replay.offline import Progress
from derain_ros.replay.records import ReplayError
from derain_ros.replay.topics import Cameras
from derain_ros.runtime.input.encoding import to_network
from derain_ros.runtime.input.messages import ImageError, frame_of
from derain_ros.runtime.stages.restore import restore_image

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]
EACH = 3
"""Number of frames of each camera that are shown."""
KEPT = 16
"""Number of images of a topic that are kept until the images made from them arrive."""
SEEN, RESTORED, MASK, DRY = "seen", "published", "reconstructed", "without drops"
THERMAL, FUSED = "thermal", "fused"
AGAIN = "restored again"
"""Not the published image, but one made by the same models from the same frame."""


@dataclass(frozen=True)
class Picture:
    """What one camera saw at one stamp, and the result: `images` are JPEG in base64, by what they show."""

    camera: str
    stamp_ns: int
    images: dict[str, str]


def picture(camera: str, stamp_ns: int, images: Mapping[str, np.ndarray], mask: np.ndarray | None) -> Picture:
    """Make a picture of images (H, W) grey or (H, W, 3) BGR, uint8.

    With a `mask` (H, W) it also has the first image, with the mask in red.
    """
    shown = dict(images)
    if mask is not None:
        first = next(iter(images.values()))
        shown[MASK] = first.copy() if first.ndim == 3 else cv2.cvtColor(first, cv2.COLOR_GRAY2BGR)
        shown[MASK][mask > 0] = (0.55 * shown[MASK][mask > 0] + np.array([20, 30, 110])).astype(np.uint8)
    return Picture(
        camera,
        stamp_ns,
        {
            name: base64.b64encode(cv2.imencode(".jpg", image, JPEG)[1].tobytes()).decode()
            for name, image in shown.items()
        },
    )


def spread(keys: Sequence[tuple[str, int]], camera: str, count: int) -> list[tuple[str, int]]:
    """Choose at most `count` of the keys (camera, stamp) of a camera, spread evenly."""
    mine = [key for key in keys if key[0] == camera]
    count = min(count, len(mine))
    return [mine[(2 * k + 1) * len(mine) // (2 * count)] for k in range(count)]


def restored_pictures(
    output: Path, inputs: Mapping[str, str], account: Account, progress: Progress | None = None
) -> list[Picture]:
    """Make pictures of EACH restored frames of each camera from the bag that a replay has written.

    `inputs` are the cameras' topics in it.
    """
    restored = [(o.camera, o.stamp_ns) for o in account.outputs if o.action == Action.RESTORED.value]
    wanted = {key for camera in inputs for key in spread(restored, camera, EACH)}
    topics = {topic: (camera, SEEN) for camera, topic in inputs.items()}
    topics |= {f"/derained/{camera}/image_raw": (camera, RESTORED) for camera in inputs}
    topics |= {f"/derained/{camera}/anomaly_mask": (camera, MASK) for camera in inputs}
    found: dict[tuple[str, int], dict[str, np.ndarray]] = {key: {} for key in wanted}
    if not wanted:
        return []
    with BagReader(output) as reader:
        total = sum(topic.count for topic in reader.topics.values())
        for done, message in enumerate(reader.messages(), 1):
            if progress is not None:
                progress(done, max(total, done))
            camera, what = topics.get(message.topic, ("", ""))
            if not camera:
                continue
            try:
                frame = frame_of(reader.decode(message))
            except (ImageError, ReplayError):
                continue
            if (camera, frame.stamp_ns) in wanted:
                found[camera, frame.stamp_ns][what] = _shown(frame)
    return [
        picture(*key, {name: images[name] for name in (SEEN, RESTORED)}, images.get(MASK))
        for key, images in sorted(found.items())
        if {SEEN, RESTORED} <= set(images)
    ]


def restored_again(
    reader: BagReader, cameras: Cameras, account: Account, manifest: Manifest, progress: Progress
) -> list[Picture]:
    """Make pictures as `restored_pictures` does, of a replay that wrote no bag.

    The frames are restored again by the models that restored them, without stages that depend on earlier frames.
    Raises EngineError if a model fails.
    """
    models = {plan: names.split(", ") for (plan, names), _ in reversed(account.plans.most_common())}
    restored = {
        (o.camera, o.stamp_ns): o.plan
        for o in account.outputs
        if o.action == Action.RESTORED.value and o.plan in models
    }
    wanted = {key for camera in cameras.images for key in spread(list(restored), camera, EACH)}
    topics = {topic.name: camera for camera, topic in cameras.images.items()}
    total = sum(topic.count for topic in cameras.images.values())
    engines: dict[str, Engine] = {}
    found = {}
    for done, message in enumerate((m for m in reader.messages() if m.topic in topics) if wanted else (), 1):
        progress(done, max(total, done))
        try:
            frame = frame_of(reader.decode(message))
        except (ImageError, ReplayError):
            continue
        key = topics[message.topic], frame.stamp_ns
        if key not in wanted:
            continue
        image = seen = to_network(frame)
        mask = np.zeros(seen.shape[:2], np.uint8)
        for name in models[restored[key]]:
            model = manifest.get(name)
            if model.task == "restore" and model.channels == seen.shape[2]:
                if name not in engines:
                    engines[name] = load(model)
                image, more = restore_image(engines[name], image)
                mask |= more
        found[key] = picture(*key, {SEEN: _bgr(seen), AGAIN: _bgr(image)}, mask)
    return [found[key] for key in sorted(found)]


def fused_pictures(output: Path, cameras: Cameras) -> list[Picture]:
    """Make pictures of EACH fused images, spread evenly, from the bag that a replay has written.

    Each shows what the first camera saw, the thermal image nearest in time, the camera's published image, and the
    fused image.
    """
    camera, topic = next(iter(cameras.images.items()))
    topics = {
        topic.name: SEEN,
        cameras.thermal: THERMAL,
        f"/derained/{camera}/image_raw": RESTORED,
        "/derained/fused/image_raw": FUSED,
    }
    with BagReader(output) as reader:
        count = reader.topics["/derained/fused/image_raw"].count if "/derained/fused/image_raw" in reader.topics else 0
        wanted = {(2 * k + 1) * count // (2 * EACH) for k in range(EACH)} if count else set()
        last: dict[str, dict[int, np.ndarray]] = {what: {} for what in topics.values()}
        pictures, number = [], 0
        for message in reader.messages() if wanted else ():
            what = topics.get(message.topic)
            if what is None:
                continue
            number += what == FUSED
            try:
                frame = frame_of(reader.decode(message))
            except (ImageError, ReplayError):
                continue
            kept = last[what]
            kept[frame.stamp_ns] = _shown(frame)
            if len(kept) > KEPT:
                del kept[next(iter(kept))]
            if what == FUSED and number - 1 in wanted and last[THERMAL]:
                stamp = frame.stamp_ns
                near = min(last[THERMAL], key=lambda at, stamp=stamp: abs(at - stamp))  # type: ignore[misc]
                found = {
                    SEEN: last[SEEN].get(stamp),
                    THERMAL: last[THERMAL][near],
                    RESTORED: last[RESTORED].get(stamp),
                    FUSED: kept[stamp],
                }
                pictures.append(
                    picture(camera, stamp, {name: image for name, image in found.items() if image is not None}, None)
                )
    return pictures


def _shown(frame: Frame) -> np.ndarray:
    """Return a frame's image as (H, W) grey or (H, W, 3) BGR, uint8."""
    return _bgr(to_network(frame))


def _bgr(image: np.ndarray) -> np.ndarray:
    """Convert (H, W, 1) grey or (H, W, 3) RGB to (H, W) or BGR, as OpenCV needs it."""
    return image[..., 0] if image.shape[2] == 1 else image[..., ::-1]
