"""Detects whether something is on the lens, what it is, and where."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Anomaly, Frame
from derain_ros.runtime.input.encoding import check, to_grey

COVERED = 0.25
"""Probability from which a cell counts as affected. On the images that detectors are calibrated on, the share found is
then about that of the restorers' masks, which replaces it once something is restored. Behind drops it is 0.48 of the
view (`light` masks 0.48, `balanced` 0.51; true 0.44), with drops in focus 0.20 (0.18, 0.25; 0.18), on real lenses 0.79
(0.81, 0.86)."""


class Detect:
    """The detector network on frames of any size and encoding."""

    def __init__(self, engine: Engine) -> None:
        if engine.model.size is None:
            raise EngineError(f"{engine.model.name}: a {engine.model.task} model cannot detect; name a detector")
        self.engine = engine
        self._size = engine.model.size

    def warm_up(self, frames: int) -> None:
        """Run the network once on `frames` black images, so that the first real frame is not slow."""
        self.engine.run(image=np.zeros((frames, *self._size, 1), np.uint8))

    def views(self, frames: Sequence[Frame]) -> np.ndarray:
        """The frames as the network takes them, (N, h, w, 1) uint8 grey; FrameError for a malformed frame."""
        height, width = self._size
        batch = np.empty((len(frames), height, width, 1), np.uint8)
        for slot, frame in zip(batch, frames, strict=True):
            check(frame)
            cv2.resize(to_grey(frame), (width, height), dst=slot[..., 0], interpolation=cv2.INTER_AREA)
        return batch

    def judge(self, views: np.ndarray, on_score: float = 0.5) -> list[Anomaly]:
        """What is wrong with each of `views`, in one batch.

        The score is the probability that the view is not clean. Below `on_score` the kind is clean. From there on it is
        the most probable other kind.
        """
        outputs = self.engine.run(image=views)
        lost = outputs.get("severity", np.full(len(views), np.nan))
        return [
            self._anomaly(probabilities, cells, float(severity), on_score)
            for probabilities, cells, severity in zip(outputs["probabilities"], outputs["mask"], lost, strict=True)
        ]

    def detect(self, frames: Sequence[Frame], on_score: float = 0.5) -> list[Anomaly]:
        """What is wrong with each frame's view; see `judge`. FrameError for a malformed frame."""
        return self.judge(self.views(frames), on_score)

    def _anomaly(self, probabilities: np.ndarray, cells: np.ndarray, lost: float, on_score: float) -> Anomaly:
        model = self.engine.model
        classes, told = model.classes, probabilities.tolist()
        if probabilities.shape != (len(classes),) or not all(map(math.isfinite, told)):
            raise EngineError(f"{model.name}: gave {probabilities} as the probabilities of {', '.join(classes)}")
        # A model for several kinds at once gives each its own probability; clean means that none is there.
        worst = max(told[1:])
        score = min(1.0, max(0.0, worst if model.multi_label else 1.0 - told[0]))
        kind = classes[told.index(worst, 1)] if score >= on_score else classes[0]
        affected = cells > COVERED
        return Anomaly(
            kind,
            score,
            np.count_nonzero(affected) / affected.size,
            affected.view(np.uint8) * np.uint8(255),
            dict(zip(classes, told, strict=True)),
            lost,
        )
