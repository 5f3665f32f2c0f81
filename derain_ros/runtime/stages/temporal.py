"""Joins restored frames with what earlier frames showed of the same scene."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np

from derain_ros.engine import Engine, EngineError
from derain_ros.runtime.loading.loader import Loader, Wanted
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.stages import BatchShape, Images, NetworkStage, mask_of
from derain_ros.runtime.stages.motion import Motion
from derain_ros.tasks import TEMPORAL_PLANES

MASK, SEEN, MEMORY = 3, 4, 5
"""Where these begin among the planes of the network's input, all (H / 2, W / 2). The planes are: the frame, its
restoration, the moved last output, the restorer's mask, what was seen of the last output, and the memory."""
COARSE = 4
"""Side in pixels of the cells that a smoothed image is averaged over."""
SPREAD = (0.06, 0.24, 0.4, 0.24, 0.06)
"""Weights of neighbouring cells in a smoothed image, along each side."""
GAP_NS = 500_000_000
"""Time after which the last frame says nothing about this one."""
THUMBNAIL = (48, 36)
"""Columns and rows of the images by which two frames are compared, to see whether they show one scene."""
SAME_SCENE = 0.5
"""Correlation of their structure above which they show one scene. At 10 Hz on KITTI it is at least 0.69; of unrelated
photographs it is at most 0.51."""


@dataclass
class _Past:
    """What is remembered of one camera."""

    stamp_ns: int
    image: np.ndarray
    """The last output, (H, W, C) uint8."""
    seen: np.ndarray
    """Share of it that a camera saw, (h, w) uint8 in 255ths."""
    memory: np.ndarray
    """The network's memory of the glass, (h, w, 4) uint8."""
    hidden: np.ndarray
    """What covers the glass, (H, W) uint8, 0 or 255."""
    structure: np.ndarray
    """Of the last frame; see `_structure`."""
    motion: Motion = field(default_factory=Motion)


def half_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of what the network gets for frames of this size: half, and even."""
    return 2 * -(-height // 4), 2 * -(-width // 4)


class Temporal(NetworkStage):
    """The temporal filter as a stage. It works on luminance, so that one network serves grey and colour."""

    def __init__(self, network: Network, loader: Loader) -> None:
        super().__init__("temporal", {1: network, 3: network}, loader)
        self._filter = TemporalFilter()

    def wanted(self, batch: BatchShape) -> Wanted:
        """The network for a batch, and the shape of what it gets."""
        return Wanted(self.networks[batch[3]], (batch[0], *half_size(*batch[1:3])))

    def run(self, images: Images) -> None:
        """Join what was restored with what earlier frames showed."""
        assert images.restored is not None and images.masks is not None
        restored, masks = list(images.restored), list(images.masks)
        names = []
        for batch, indices in images.batches.items():
            engine = self.engine_for(batch)
            names.append(engine.model.name)
            # At other levels the same scene gives another image.
            keys = [(images.cameras[n], images.frames[n].encoding, images.frames[n].levels) for n in indices]
            found = np.stack([mask_of(masks[n]) for n in indices])
            joined = self._filter.apply(
                engine,
                keys,
                [images.now_ns] * len(indices),
                np.stack([images.seen[n] for n in indices]),
                np.stack([restored[n] for n in indices]),
                found,
            )
            for n, (image, mask) in zip(indices, joined, strict=True):
                restored[n], masks[n] = image, mask
        images.restored, images.masks = restored, masks
        images.models += dict.fromkeys(names)

    def fail(self, error: EngineError) -> None:
        """Replace the engines. Forget earlier frames, too: the last of them may be incomplete."""
        super().fail(error)
        self.close()

    def close(self) -> None:
        """Forget earlier frames."""
        self._filter = TemporalFilter()


class TemporalFilter:
    """Remembers for each camera the last output, moved along with the scene, and what is on the glass, which stays."""

    def __init__(self) -> None:
        self.had_past = False
        """Whether the last frames had a past to be joined with."""
        self._pasts: dict[Hashable, _Past] = {}
        self._pool = ThreadPoolExecutor(2, "derain temporal")

    def apply(
        self,
        engine: Engine,
        cameras: Sequence[Hashable],
        stamps_ns: Sequence[int],
        frames: np.ndarray,
        restored: np.ndarray,
        masks: np.ndarray,
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The filtered image of each camera's frame and its mask: 255 where the glass is covered, or where less than
        half of the frame itself was kept.

        `frames` and `restored` are (N, H, W, C) uint8, one frame of each camera; `masks` are (N, H, W) uint8, 0 or 255.
        Where one camera paused, went back in time, changed its size or sees another scene, the past of all is
        forgotten, and there is nothing to recall. What the restorer masked always stays masked: a drop that lands is
        new to the memory. `engine` has the temporal model. EngineError where it fails; the given arrays are never
        changed.
        """
        height, width = frames.shape[1:3]
        batch = np.empty((len(frames), *half_size(height, width), TEMPORAL_PLANES), np.uint8)
        known = [self._past(*of) for of in zip(cameras, stamps_ns, frames, strict=True)]
        # Both eyes are treated alike.
        self.had_past = None not in known
        pasts = known if self.had_past else [None] * len(known)
        previous = list(self._pool.map(_prepare, pasts, stamps_ns, frames, restored, masks, batch))
        outputs = engine.run(image=batch)
        weights, memory, covered = (outputs[name] for name in ("weights", "memory", "mask"))
        shape = batch.shape[:3]
        if (weights.shape, memory.shape, covered.shape) != ((*shape, 3), (*shape, TEMPORAL_PLANES - MEMORY), shape):
            raise EngineError(
                f"{engine.model.name}: gave weights {weights.shape}, memory {memory.shape} and masks "
                f"{covered.shape} for {batch.shape}"
            )
        done = list(
            self._pool.map(_finish, weights, covered, batch[..., MASK], batch[..., SEEN], frames, restored, previous)
        )
        for camera, stamp_ns, frame, past, plane, (image, _, seen, hidden) in zip(
            cameras, stamps_ns, frames, pasts, memory, done, strict=True
        ):
            self._pasts[camera] = _Past(
                stamp_ns, image, seen, plane, hidden, _structure(frame), Motion() if past is None else past.motion
            )
        return [(image, mask) for image, mask, _, _ in done]

    def _past(self, camera: Hashable, stamp_ns: int, frame: np.ndarray) -> _Past | None:
        past = self._pasts.get(camera)
        fits = (
            past is not None
            and past.image.shape == frame.shape
            and 0 < stamp_ns - past.stamp_ns <= GAP_NS
            and _alike(past.structure, _structure(frame)) > SAME_SCENE
        )
        return past if fits else None


def _prepare(
    past: _Past | None, stamp_ns: int, frame: np.ndarray, restored: np.ndarray, mask: np.ndarray, planes: np.ndarray
) -> np.ndarray:
    """Write the network's input for one frame into `planes` (h, w, TEMPORAL_PLANES). Returns the moved last output."""
    size = planes.shape[1::-1]
    grey, made_up = _grey(frame), _grey(restored)
    if past is None:
        previous, was = restored, made_up
        seen = np.zeros(planes.shape[:2], np.uint8)
        memory: list[np.ndarray] = [np.zeros(planes.shape[:2], np.uint8)] * (TEMPORAL_PLANES - MEMORY)
    else:
        maps = past.motion.maps(made_up, _grey(past.image), past.hidden, stamp_ns - past.stamp_ns)
        previous = _look_up(past.image, maps)
        # Coordinates are those of pixel centres, and the edges of both images coincide.
        scale = np.array([size[0] / grey.shape[1], size[1] / grey.shape[0]], np.float32)
        half = (cv2.resize(maps, size, interpolation=cv2.INTER_LINEAR) + 0.5) * scale - 0.5
        # What enters the view has no past: the restoration takes its place, and nothing of it counts as seen.
        inside = _look_up(np.full(past.seen.shape, 255, np.uint8), half, cv2.BORDER_CONSTANT)
        outside = cv2.resize(cv2.bitwise_not(inside), grey.shape[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(restored, outside, previous)
        seen = _look_up(past.seen, half, cv2.BORDER_CONSTANT)
        was, memory = _grey(previous), list(cv2.split(past.memory))
    halves = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (grey, made_up, was, mask)]
    cv2.merge([*halves, seen, *memory], planes)
    return previous


def _look_up(image: np.ndarray, maps: np.ndarray, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """`image` (H, W) or (H, W, C) at the columns and rows `maps` (h, w, 2), with the same channels."""
    found: np.ndarray = cv2.remap(
        image,
        maps,
        None,
        cv2.INTER_LINEAR,  # type: ignore[call-overload]
        borderMode=border,
    )
    return found.reshape(*maps.shape[:2], *image.shape[2:])


def _structure(frame: np.ndarray) -> np.ndarray:
    """A small image of a frame's contours: float32 (rows, columns) of THUMBNAIL."""
    small = cv2.resize(_grey(frame), THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small - cv2.GaussianBlur(small, (0, 0), THUMBNAIL[0] / 8)


def _alike(before: np.ndarray, now: np.ndarray) -> float:
    """Correlation of the middle of one small image with the place that fits it best in the other: cameras turn."""
    rows, columns = before.shape
    middle = before[rows // 6 : rows - rows // 6, columns // 4 : columns - columns // 4]
    return float(cv2.matchTemplate(now, np.ascontiguousarray(middle), cv2.TM_CCOEFF_NORMED).max())


def _finish(
    weights: np.ndarray, covered: np.ndarray, found: np.ndarray, was_seen: np.ndarray, *images: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The results for one frame: image, mask of what was reconstructed, what was seen, what is hidden; see `_Past`.

    `images` are the frame, its restoration and the moved last output. The other arrays have half of their size.
    """
    size = images[0].shape[1::-1]
    weights = weights.copy()
    np.minimum(weights[..., 0], 255 - found, out=weights[..., 0])
    keep, recall = (weights[..., k].astype(np.uint32) for k in range(2))
    seen = (keep + (255 - keep) * recall * was_seen // 255**2).astype(np.uint8)
    reconstructed: np.ndarray = covered | np.where(keep < 128, np.uint8(255), np.uint8(0))
    hidden, mask = (cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST) for plane in (covered, reconstructed))
    return _blend(weights, *images), mask, seen, hidden


def _blend(weights: np.ndarray, frame: np.ndarray, restored: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """The frame where it is kept. Elsewhere the last output where it is recalled, or else the restoration; smoothed as
    the weights say.

    `weights` (h, w, 3) uint8 are those of keeping, recalling and smoothing, in 255ths. Images are (H, W, C) uint8.
    """
    # In 128ths, so that products fit into 16 bits.
    halved = (weights >> 1) + (weights & 1)
    keep, recall, smooth = (
        cv2.resize(share, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.int16)[..., None]
        for share in cv2.split(halved)
    )
    made_up = restored.astype(np.int16)
    _mix(made_up, previous, recall)
    _mix(made_up, _smoothed(made_up), smooth)
    _mix(made_up, frame, keep)
    return made_up.astype(np.uint8)


def _mix(image: np.ndarray, other: np.ndarray, share: np.ndarray) -> None:
    """Replace `share`, (H, W, 1) int16 in 128ths, of `image` (H, W, C) int16 by `other`."""
    change = other - image
    change *= share
    change += 64
    change >>= 7
    image += change


def _smoothed(image: np.ndarray) -> np.ndarray:
    """`image` (H, W, C) without detail; see `nets.temporal.smoothed`."""
    height, width = image.shape[:2]
    coarse = cv2.resize(image, (-(-width // COARSE), -(-height // COARSE)), interpolation=cv2.INTER_AREA)
    spread = np.array(SPREAD, np.float32)
    coarse = cv2.sepFilter2D(coarse, -1, spread, spread, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W, C) as (H, W) luminance."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else np.ascontiguousarray(image[..., 0])
