"""The data of the pipeline: frames go in, anomalies and results come out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np

ANOMALY_KINDS = ("clean", "raindrop", "dirt", "streak", "night_rain")
SEVERE_SHARE = 0.2
"""Share of the view that is lost or covered from which on the severity no longer rises."""


class Action(str, Enum):
    """What was done with one camera's frame."""

    RESTORED = "restored"
    PASSED_CLEAN = "passed_clean"
    """Found clean: passed on bit for bit."""
    PASSED_DISABLED = "passed_disabled"
    """Restoration is switched off, or no engine is ready."""
    PASSED_BUDGET = "passed_budget"
    """Restoration would not have met, or did not meet, the latency budget."""
    PASSED_NO_PLAN = "passed_no_plan"
    """No allowed plan helps against the anomaly: restoring would make the frame worse for trackers."""
    PASSED_UNPAIRED = "passed_unpaired"
    """No frame of the same instant came from the other camera."""
    PASSED_ERROR = "passed_error"
    """A stage failed, or the encoding cannot be processed; the original is passed on."""


class Alarm(IntEnum):
    """How much a camera is affected, debounced."""

    CLEAR = 0
    AFFECTED = 1
    SEVERE = 2


@dataclass(frozen=True)
class Frame:
    """One image with its stamp, frame id and encoding.

    `image` is uint8 or uint16, (H, W) or (H, W, values of a pixel); in the encodings nv12 and nv21 it is (H * 3 / 2,
    W). It may be a read-only view with padded rows. `encoding` is ROS's name, a key of `encoding.LAYOUTS`. `levels` are
    for 16-bit images: the value that networks see as black and the one beyond white; if None, they are measured on the
    image. `received_ns` is the time of arrival on any steady clock, 0 if not known.
    """

    image: np.ndarray
    encoding: str = "mono8"
    stamp_ns: int = 0
    frame_id: str = ""
    levels: tuple[int, int] | None = None
    received_ns: int = 0


@dataclass(frozen=True)
class FrameSet:
    """The frames of one instant by camera name, and the thermal frame nearest to them if there is one.

    The budget counts from `received_ns` on the monotonic clock (`time.monotonic_ns`): when the last frame arrived or
    was taken; 0 means now. `period_ms` is the time from one frame set to the next, 0 if no camera waits.
    """

    frames: dict[str, Frame]
    thermal: Frame | None = None
    received_ns: int = 0
    period_ms: float = 0.0


@dataclass(frozen=True)
class Anomaly:
    """What is wrong with one camera's view.

    `kind` is clean below the score's threshold, else the most probable other one of ANOMALY_KINDS. `score` is the
    probability in [0, 1] that the view is not clean, `coverage` the share in [0, 1] of pixels affected. `mask` is
    (h, w) uint8, 255 where affected, at the detector's resolution or finer. `probabilities` are those of all kinds that
    the detector knows; several may occur together. `lost` is the share in [0, 1] of the view's local structure that is
    lost, NaN if the detector does not estimate it.
    """

    kind: str
    score: float
    coverage: float
    mask: np.ndarray
    probabilities: dict[str, float] = field(default_factory=dict)
    lost: float = float("nan")

    @property
    def affected(self) -> bool:
        """Whether the view is not clean."""
        return self.kind != "clean"

    @property
    def severity(self) -> float:
        """How much the view is impaired, in [0, 1].

        0 if it is clean, 1 if SEVERE_SHARE of it is surely lost. If the lost share is not known, the covered share is
        used.
        """
        hurt = self.coverage if math.isnan(self.lost) else self.lost
        return self.score * min(1.0, hurt / SEVERE_SHARE) if self.affected else 0.0


@dataclass(frozen=True)
class CameraResult:
    """What leaves the pipeline for one camera: the frame to publish, its anomaly, and what was done.

    `frame` is the input's own object if it was passed on. `mask` is (H, W) uint8 at the frame's size, 255 where pixels
    are occluded or were reconstructed. `anomaly` is None if no detector ran. `alarm` follows from this camera's
    anomalies over time.
    """

    frame: Frame
    action: Action
    mask: np.ndarray
    anomaly: Anomaly | None = None
    alarm: Alarm = Alarm.CLEAR


@dataclass(frozen=True)
class Result:
    """What the pipeline did with one frame set.

    `plan` is the name of the plan that was run, e.g. balanced + temporal, or passthrough; `models` names the models
    that changed the images. `affected` is the debounced flag: any camera affected. `stage_ms` holds the milliseconds of
    each stage that ran and `total`. `left_ms` is the time that the budget left for restoring when the plan was chosen,
    NaN if none was chosen. `detail` says why frames were passed on, unless that was intended.

    `fused` is the first camera's frame fused with the thermal one, or None. `fusion` is `fused` if there is one, else
    the reason why not, and empty if fusion is not requested.
    """

    cameras: dict[str, CameraResult]
    plan: str
    affected: bool
    stage_ms: dict[str, float]
    detail: str = ""
    models: str = ""
    left_ms: float = float("nan")
    fused: Frame | None = None
    fusion: str = ""
