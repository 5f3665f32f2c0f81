"""One frame set in the pipeline: its times, its anomalies and the results it can end in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np

from derain_ros.frame import Action, Anomaly, CameraResult, Frame, FrameSet, Result
from derain_ros.runtime.input.encoding import from_network, size_of
from derain_ros.runtime.judge.decision import Decision
from derain_ros.runtime.stages import Images, mask_of
from derain_ros.runtime.stages.fill import smooth


class Run:
    """One frame set in the pipeline. `clock` gives monotonic nanoseconds; times are in milliseconds."""

    def __init__(self, frames: FrameSet, decision: Decision, clock: Callable[[], int]) -> None:
        self.frames = frames.frames
        self.thermal = frames.thermal
        self.period_ms = frames.period_ms
        self.anomalies: dict[str, Anomaly] = {}
        self.stage_ms: dict[str, float] = {}
        self.left_ms = float("nan")
        self.plan_ms = 0.0  # What the stages of the plan took.
        self.fused: Frame | None = None
        self.fusion = ""
        self._decision, self._clock = decision, clock
        self.started_ns = clock()
        self.received_ns = frames.received_ns or self.started_ns

    @property
    def age_ms(self) -> float:
        """How long ago the frame set arrived."""
        return (self._clock() - self.received_ns) / 1e6

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what is done inside as the stage `name`."""
        started = self._clock()
        try:
            yield
        finally:
            self.stage_ms[name] = (self._clock() - started) / 1e6

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Do not count what is done inside, a cold start, as a stage or against the budget."""
        started = self._clock()
        yield
        spent = self._clock() - started
        self.started_ns += spent
        self.received_ns += spent

    def passed(self, action: Action, detail: str = "") -> Result:
        """The result with every camera's own frame, and the detector's mask where it found the view affected."""
        cameras = {}
        for name, frame in self.frames.items():
            cameras[name] = CameraResult(
                frame, action, self.hidden(name), self.anomalies.get(name), self._decision.alarm(name)
            )
        return self._result(cameras, "passthrough", detail)

    def hidden(self, name: str) -> np.ndarray:
        """The detector's mask of a camera's frame, at its size; zeros where it found nothing."""
        frame, anomaly = self.frames[name], self.anomalies.get(name)
        if anomaly is not None and anomaly.affected:
            return _at_size_of(frame, anomaly)
        return np.zeros(size_of(frame), np.uint8)

    def restored(self, images: Images, plan: str, fill: str, detail: str = "") -> Result:
        """The result with every camera's restored frame; `fill` says what is shown under the mask.

        The mask is the restorers', which is finer than the detector's cells. Coverage is that of the published mask.
        """
        assert images.restored is not None and images.masks is not None
        cameras = {}
        for name, frame, image, probability in zip(
            self.frames, images.frames, images.restored, images.masks, strict=True
        ):
            mask = mask_of(probability)
            image = smooth(image, mask) if fill == "smooth" else image
            anomaly = replace(self.anomalies[name], coverage=float(np.count_nonzero(mask) / mask.size))
            cameras[name] = CameraResult(
                from_network(image, frame), Action.RESTORED, mask, anomaly, self._decision.alarm(name)
            )
        return self._result(cameras, plan, detail, ", ".join(images.models))

    def _result(self, cameras: dict[str, CameraResult], plan: str, detail: str, models: str = "") -> Result:
        self.stage_ms["total"] = (self._clock() - self.started_ns) / 1e6
        return Result(
            cameras,
            plan,
            self._decision.affected,
            dict(self.stage_ms),
            detail,
            models,
            self.left_ms,
            self.fused,
            self.fusion,
        )


def _at_size_of(frame: Frame, anomaly: Anomaly) -> np.ndarray:
    """The anomaly's mask at the size of the frame."""
    height, width = size_of(frame)
    rows, columns = anomaly.mask.shape
    # Where cells are square, part of the last row may lie outside the image.
    square = rows * width >= height * columns > (rows - 1) * width
    row = np.arange(height) * columns // width if square else np.arange(height) * rows // height
    return cv2.resize(anomaly.mask, (width, rows), interpolation=cv2.INTER_NEAREST)[row]
