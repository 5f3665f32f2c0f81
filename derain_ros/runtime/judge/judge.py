"""Judges both eyes' views, and replaces the detector's engine where it fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from derain_ros.config import Config
from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Anomaly, Frame
from derain_ros.manifest import Model
from derain_ros.runtime.judge.crosscheck import CrossCheck
from derain_ros.runtime.judge.detect import Detect
from derain_ros.runtime.loading.models import load_detector

FAILURES = 3
"""How often the detector is loaded again after a failure."""

logger = logging.getLogger(__name__)


class Judge:
    """The detector and, for two cameras, the comparison of both eyes. EngineError where the model cannot be loaded."""

    def __init__(self, model: Model, config: Config) -> None:
        self._model, self._config = model, config
        self._detector = self._load(config)
        self._crosscheck = CrossCheck()
        self._failures = 0

    @property
    def engine(self) -> Engine:
        """The detector's engine."""
        return self._detector.engine

    def judge(self, frames: Sequence[Frame], on_score: float, alarm: bool, now_ns: int) -> list[Anomaly]:
        """What is wrong with each frame of one instant. `alarm` says that a camera is known to be affected. `now_ns`
        must only rise.

        EngineError where the detector fails; FrameError for a malformed frame.
        """
        views = self._detector.views(frames)
        try:
            anomalies = self._detector.judge(views, on_score)
        except EngineError as error:
            self.fail(error)
            raise
        if len(anomalies) == 2:
            anomalies = self._crosscheck.check(views, anomalies, on_score, now_ns, alarm)
        return anomalies

    def fail(self, error: EngineError) -> None:
        """Replace the engine, which fails or hangs, by ONNX Runtime on the processor."""
        self._failures += 1
        if self._failures <= FAILURES:
            logger.error("%s: %s; ONNX Runtime on the processor takes over", self.engine.name, error)
            self._detector = self._load(replace(self._config, engine="onnxruntime"))

    def _load(self, config: Config) -> Detect:
        detector = Detect(load_detector(self._model, config))
        detector.warm_up(len(config.cameras))
        return detector
