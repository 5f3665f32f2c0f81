"""What flows through the pipeline: frames in, anomalies and results out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

ANOMALY_KINDS = ("clean", "raindrop", "dirt", "streak", "night_rain")


class Action(str, Enum):
    """What was done with one camera's frame."""

    RESTORED = "restored"
    PASSED_CLEAN = "passed_clean"
    """Found clean: passed on bit for bit."""
    PASSED_DISABLED = "passed_disabled"
    """Restoration is switched off, or no engine is ready."""
    PASSED_BUDGET = "passed_budget"
    """Restoration would not have met, or did not meet, the latency budget."""
    PASSED_UNPAIRED = "passed_unpaired"
    """No frame of the same instant came from the other camera."""
    PASSED_ERROR = "passed_error"
    """A stage failed, or the encoding cannot be processed; the original is passed on."""


@dataclass(frozen=True)
class Frame:
    """One image with its stamp, frame id and encoding.

    `image` is (H, W) or (H, W, 3), uint8 or uint16, possibly a read-only view whose rows are padded.
    `encoding` is ROS's name of it: mono8, 8UC1, rgb8, bgr8 or mono16.
    """

    image: np.ndarray
    encoding: str = "mono8"
    stamp_ns: int = 0
    frame_id: str = ""


@dataclass(frozen=True)
class FrameSet:
    """The frames of one instant, by camera name, and the thermal frame nearest to them where there is one.

    `received_ns` is when the last frame arrived, on the monotonic clock (`time.monotonic_ns`); 0 means now.
    """

    frames: dict[str, Frame]
    thermal: Frame | None = None
    received_ns: int = 0


@dataclass(frozen=True)
class Anomaly:
    """What is wrong with one camera's view.

    `score` is the probability in [0, 1] that the view is not clean, `coverage` the share in [0, 1] of pixels affected,
    `mask` is (h, w) uint8, 255 where affected, at the detector's resolution or finer.
    """

    kind: str
    score: float
    coverage: float
    mask: np.ndarray
    probabilities: dict[str, float] = field(default_factory=dict)

    @property
    def affected(self) -> bool:
        """Whether the view is anything but clean."""
        return self.kind != "clean"


@dataclass(frozen=True)
class CameraResult:
    """What leaves the pipeline for one camera: the frame to publish, its anomaly, and what was done.

    `frame` is the input's own object when it was passed on. `mask` is (H, W) uint8 at the frame's size, 255 where
    pixels are occluded or were reconstructed. `anomaly` is None where no detector ran.
    """

    frame: Frame
    action: Action
    mask: np.ndarray
    anomaly: Anomaly | None = None


@dataclass(frozen=True)
class Result:
    """What the pipeline did with one frame set.

    `affected` is the debounced flag: any camera affected. `stage_ms` holds the milliseconds of each stage that ran and
    `total`. `detail` says why frames were passed on where that was not the plan.
    """

    cameras: dict[str, CameraResult]
    plan: str
    affected: bool
    stage_ms: dict[str, float]
    detail: str = ""
