"""What flows through the pipeline: frames in, anomalies and results out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np

ANOMALY_KINDS = ("clean", "raindrop", "dirt", "streak", "night_rain")
SEVERE_SHARE = 0.2
"""Share of the view from which on it does not matter how much more is lost or covered."""


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
    """No plan that is allowed helps against what is there: restoring would leave trackers worse off."""
    PASSED_UNPAIRED = "passed_unpaired"
    """No frame of the same instant came from the other camera."""
    PASSED_ERROR = "passed_error"
    """A stage failed, or the encoding cannot be processed; the original is passed on."""


class Alarm(IntEnum):
    """How much a camera is affected, settled over time."""

    CLEAR = 0
    AFFECTED = 1
    SEVERE = 2


@dataclass(frozen=True)
class Frame:
    """One image with its stamp, frame id and encoding.

    `image` is (H, W) or (H, W, values of a pixel), uint8 or uint16, possibly a read-only view whose rows are padded;
    (H * 3 / 2, W) in the encodings nv12 and nv21. `encoding` is ROS's name of it, one of `encoding.LAYOUTS`. `levels`
    are the values of a 16-bit image that networks see as black and beyond white; judged by the image where they are
    None. `received_ns` is when it arrived, by any steady clock; 0 where that is not known.
    """

    image: np.ndarray
    encoding: str = "mono8"
    stamp_ns: int = 0
    frame_id: str = ""
    levels: tuple[int, int] | None = None
    received_ns: int = 0


@dataclass(frozen=True)
class FrameSet:
    """The frames of one instant, by camera name, and the thermal frame nearest to them where there is one.

    `received_ns` is what the budget counts from, on the monotonic clock (`time.monotonic_ns`): when the last frame
    arrived, or was taken; 0 means now. `period_ms` is the time from one frame set to the next, 0 where no camera waits.
    """

    frames: dict[str, Frame]
    thermal: Frame | None = None
    received_ns: int = 0
    period_ms: float = 0.0


@dataclass(frozen=True)
class Anomaly:
    """What is wrong with one camera's view.

    `kind` is the most probable of ANOMALY_KINDS, `score` the probability in [0, 1] that the view is not clean,
    `coverage` the share in [0, 1] of pixels affected, `mask` is (h, w) uint8, 255 where affected, at the detector's
    resolution or finer. `probabilities` are those of all kinds the detector knows, several of which may be at work.
    `lost` is the share in [0, 1] of the view's local structure that is lost, nan where the detector does not tell.
    """

    kind: str
    score: float
    coverage: float
    mask: np.ndarray
    probabilities: dict[str, float] = field(default_factory=dict)
    lost: float = float("nan")

    @property
    def affected(self) -> bool:
        """Whether the view is anything but clean."""
        return self.kind != "clean"

    @property
    def severity(self) -> float:
        """How much the view is hurt, in [0, 1]: 0 where it is clean, 1 where SEVERE_SHARE of it is surely lost; where
        that is not known, covered."""
        hurt = self.coverage if math.isnan(self.lost) else self.lost
        return self.score * min(1.0, hurt / SEVERE_SHARE) if self.affected else 0.0


@dataclass(frozen=True)
class CameraResult:
    """What leaves the pipeline for one camera: the frame to publish, its anomaly, and what was done.

    `frame` is the input's own object when it was passed on. `mask` is (H, W) uint8 at the frame's size, 255 where
    pixels are occluded or were reconstructed. `anomaly` is None where no detector ran; `alarm` is what the anomalies of
    this camera come to over time.
    """

    frame: Frame
    action: Action
    mask: np.ndarray
    anomaly: Anomaly | None = None
    alarm: Alarm = Alarm.CLEAR


@dataclass(frozen=True)
class Result:
    """What the pipeline did with one frame set.

    `plan` is the one of the manifest's PLANS that was run, or passthrough; `models` names the networks that restored.
    `affected` is the debounced flag: any camera affected. `stage_ms` holds the milliseconds of each stage that ran and
    `total`; `left_ms` is what the budget left for restoring when the plan was chosen, nan where none was. `detail` says
    why frames were passed on where that was not the plan.

    `fused` is the first camera's frame fused with the thermal one; None where it is not. `fusion` is then why; it is
    `fused` otherwise, and empty where nobody asks for it.
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
