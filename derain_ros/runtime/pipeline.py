"""The way of a frame set: detect, decide within the budget, restore."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import cv2
import numpy as np

from derain_ros.config import Config, ConfigError
from derain_ros.engine import Engine, EngineError
from derain_ros.engine import load as load_engine
from derain_ros.frame import Action, Anomaly, CameraResult, Frame, FrameSet, Result
from derain_ros.manifest import Manifest, ManifestError
from derain_ros.runtime.budget import Budget
from derain_ros.runtime.detect import Detector
from derain_ros.runtime.encoding import FrameError
from derain_ros.runtime.flag import AnomalyFlag
from derain_ros.runtime.restore import Restorer

AUTO_RESTORERS = ("restore_mono", "restore_rgb")
MESSAGES_LOGGED = 100
"""Distinct errors that are logged; more of them would only be variations."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stages:
    detector: Detector
    restorer: Restorer


class Pipeline:
    """Detects and restores frame sets of the configured cameras.

    `manifest` gives the models, the shipped ones by default; `clock` gives monotonic nanoseconds. The constructor is
    light and until `load` has ended every frame is passed on. `load` and `apply` may be called from another thread than
    `process`; `process` itself from one thread at a time.
    """

    def __init__(self, config: Config | None = None, manifest: Manifest | None = None,
                 clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.config = config or Config()
        self.flag = AnomalyFlag()
        self.budget = Budget(clock)
        self._manifest = manifest
        self._clock = clock
        self._stages: _Stages | None = None
        self._unready = "the models are not loaded yet"
        self._logged: set[str] = set()

    def load(self) -> None:
        """Verify and load the models; ManifestError or EngineError where that fails, and frames are still passed on."""
        try:
            self._stages = self._load(self.config, self._manifest or Manifest.load())
        except (ManifestError, EngineError) as error:
            self._unready = str(error)
            raise

    @property
    def engines(self) -> list[Engine]:
        """The loaded engines, the detector first; none before `load` has ended."""
        stages = self._stages
        return [] if stages is None else [stages.detector.engine, *stages.restorer.engines.values()]

    def apply(self, config: Config) -> None:
        """Take over changed settings from the next frame set on; ConfigError for one that needs a new pipeline."""
        for f in fields(Config):
            if f.metadata["read_only"] and getattr(config, f.name) != getattr(self.config, f.name):
                raise ConfigError(f"{f.name}: cannot be changed while the pipeline runs; make a new one")
        self.config = config

    def process(self, frames: FrameSet) -> Result:
        """Restore or pass on one frame set, all its cameras alike; never raises: a failing stage passes frames on."""
        run = _Run(frames, self._clock)
        try:
            return self._process(frames, run)
        except Exception as error:
            # The stream must not stall whatever went wrong, so nothing is let through.
            detail = str(error) or type(error).__name__
            if detail not in self._logged and len(self._logged) < MESSAGES_LOGGED:
                self._logged.add(detail)
                expected = isinstance(error, (EngineError, FrameError))
                logger.error("frames are passed on: %s", detail, exc_info=None if expected else error)
            return run.passed(Action.PASSED_ERROR, self.flag.raised, detail)

    def _process(self, frames: FrameSet, run: _Run) -> Result:
        config, stages = self.config, self._stages
        if stages is None:
            return run.passed(Action.PASSED_DISABLED, self.flag.raised, self._unready)
        images = list(frames.frames.values())
        with run.stage("detect"):
            anomalies = stages.detector.detect(images, config.on_score)
        run.anomalies = dict(zip(frames.frames, anomalies, strict=True))
        score = max(anomaly.score for anomaly in anomalies)
        affected = self.flag.update(score, images[0].stamp_ns, config)
        if not config.enabled:
            return run.passed(Action.PASSED_DISABLED, affected, "restoration is switched off")
        with run.excluded():
            stages.restorer.warm_up(images)
        if config.gating and not affected and score < config.on_score:
            return run.passed(Action.PASSED_CLEAN, affected)
        if not self.budget.allows(run.received_ns, config.budget_ms):
            left = self.budget.left_ms(run.received_ns, config.budget_ms)
            return run.passed(Action.PASSED_BUDGET, affected,
                              f"restoring takes about {self.budget.expected_ms:.0f} ms, {left:.0f} ms are left")
        with run.stage("restore"):
            restored = stages.restorer.restore(images)
        self.budget.learn(run.stage_ms["restore"])
        if not self.budget.met(run.received_ns, config.budget_ms):
            return run.passed(Action.PASSED_BUDGET, affected,
                              f"restoring took {run.stage_ms['restore']:.0f} ms and ended after the budget")
        return run.restored(restored, affected)

    def _load(self, config: Config, manifest: Manifest) -> _Stages:
        def load(name: str, task: str) -> Engine:
            model = manifest.get(name)
            if model.task != task:
                raise EngineError(f"{name}: its task is to {model.task}, not to {task}; name another model")
            manifest.verify(model)
            return load_engine(model, config.engine, config.threads)

        detector = Detector(load(config.detector, "detect"))
        detector.warm_up(len(config.cameras))
        names = [config.restorer]
        if config.restorer == "auto":
            # Eight bits are more than twice as fast on a processor, and hardly to be told apart.
            names = [f"{name}_int8" if f"{name}_int8" in manifest.models else name for name in AUTO_RESTORERS]
        restorers = [load(name, "restore") for name in names]
        return _Stages(detector, Restorer({engine.model.channels: engine for engine in restorers}))


class _Run:
    """One frame set on its way: its times, its anomalies and the results it can end in."""

    def __init__(self, frames: FrameSet, clock: Callable[[], int]) -> None:
        self.frames = frames.frames
        self.anomalies: dict[str, Anomaly] = {}
        self.stage_ms: dict[str, float] = {}
        self._clock = clock
        self._started_ns = clock()
        self.received_ns = frames.received_ns or self._started_ns

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what is done inside as the stage `name`."""
        started = self._clock()
        yield
        self.stage_ms[name] = (self._clock() - started) / 1e6

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Count what is done inside, a cold start, neither as a stage nor against the budget."""
        started = self._clock()
        yield
        spent = self._clock() - started
        self._started_ns += spent
        self.received_ns += spent

    def passed(self, action: Action, affected: bool, detail: str = "") -> Result:
        """Every camera's own frame, with the detector's mask where it found the view affected."""
        cameras = {}
        for name, frame in self.frames.items():
            anomaly = self.anomalies.get(name)
            mask = np.zeros(getattr(frame.image, "shape", (0, 0))[:2], np.uint8)
            if anomaly is not None and anomaly.affected:
                mask = _at_size_of(frame, anomaly)
            cameras[name] = CameraResult(frame, action, mask, anomaly)
        return self._result(cameras, "passthrough", affected, detail)

    def restored(self, restored: list[tuple[Frame, np.ndarray]], affected: bool) -> Result:
        """Every camera's restored frame with the restorer's mask, which is finer than the detector's cells."""
        cameras = {}
        for (name, anomaly), (frame, mask) in zip(self.anomalies.items(), restored, strict=True):
            cameras[name] = CameraResult(frame, Action.RESTORED, mask, anomaly)
        return self._result(cameras, "restore", affected, "")

    def _result(self, cameras: dict[str, CameraResult], plan: str, affected: bool, detail: str) -> Result:
        self.stage_ms["total"] = (self._clock() - self._started_ns) / 1e6
        return Result(cameras, plan, affected, self.stage_ms, detail)


def _at_size_of(frame: Frame, anomaly: Anomaly) -> np.ndarray:
    """The anomaly's mask at the size of the frame."""
    height, width = frame.image.shape[:2]
    return cv2.resize(anomaly.mask, (width, height), interpolation=cv2.INTER_NEAREST)
