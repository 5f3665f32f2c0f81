"""The networks of a pipeline: loaded, watched as they run, and loaded anew where they hang or fail."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from derain_ros.config import Config
from derain_ros.engine import Engine, EngineError, Shape
from derain_ros.engine.background import Preparation
from derain_ros.manifest import Manifest, Model
from derain_ros.runtime.dispatch import Choice, Dispatch
from derain_ros.runtime.joining import Joiner
from derain_ros.runtime.judge.detect import Detector
from derain_ros.runtime.loading.lane import Lane
from derain_ros.runtime.loading.models import find_detector, find_restorers, find_temporal, load_detector
from derain_ros.runtime.stages.restore import Batch

HANG_S = 20.0
"""After how long a network counts as one that will not return: longer than the largest budget."""
HANGS = 3
"""How often networks that hang are loaded anew: each leaves a thread behind."""
MESSAGES_LOGGED = 100
"""Distinct errors that are logged; more of them would only be variations."""

logger = logging.getLogger(__name__)


class Errors:
    """Logs why frames are passed on, each reason once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log(self, what: str, error: BaseException | None = None) -> None:
        """Log it, with where an unexpected `error` came from."""
        if what not in self._logged and len(self._logged) < MESSAGES_LOGGED:
            self._logged.add(what)
            logger.error("frames are passed on: %s", what, exc_info=error)


class Networks:
    """Of what is not loaded, or not at the moment, `detector`, `dispatch` and `joiner` are None.

    `load` may be called from another thread than the rest.
    """

    def __init__(self, config: Config, manifest: Manifest | Path | None, errors: Errors) -> None:
        self.state = "loading"
        """loading, ready, or failed and why."""
        self.detector: Detector | None = None
        self.dispatch: Dispatch | None = None
        self.joiner: Joiner | None = None
        self.lanes = {"detect": Lane("detect"), "restore": Lane("restore")}
        self.running: Choice | None = None
        """What was last restored with."""
        self._config, self._manifest, self._errors = config, manifest, errors
        self._hung: list[Lane] = []

    def load(self) -> None:
        """Verify the models and load the detector; ManifestError or EngineError where that fails."""
        try:
            self._load(self._config)
        except Exception as error:
            self.state = f"failed: {error}"
            raise
        self.state = "ready"

    @property
    def engines(self) -> list[Engine]:
        """The loaded engines, the detector first; none before `load` has ended."""
        detector, dispatch, joiner = self.detector, self.dispatch, self.joiner
        if detector is None or dispatch is None:
            return []
        return [detector.engine, *dispatch.engines, *(joiner.engines if joiner is not None else [])]

    @property
    def loading(self) -> str:
        """Which networks are being loaded or could not be, in words; empty where there is nothing to tell."""
        return "; ".join(part.state for part in (self.dispatch, self.joiner) if part is not None and part.state)

    def watch(self) -> None:
        """Give up networks that hang: their threads cannot be ended, but nothing needs to wait for them."""
        if self.dispatch is None:
            return
        for stage, lane in self.lanes.items():
            if lane.busy_ms < HANG_S * 1e3:
                continue
            self.lanes[stage] = Lane(stage)
            self._hung.append(lane)
            what = f"{stage}: a network has not returned for {HANG_S:g} s"
            if len(self._hung) > HANGS:
                self.detector, self.state = None, f"failed: {what}, nor did it {HANGS} times before"
            elif stage == "restore" and self.running is not None:
                self.dispatch.forget(self.running)
                if self.joiner is not None:
                    self.joiner.forget()
            else:
                self._reload(what, self._config)
            self._errors.log(f"{what} and is loaded anew" if len(self._hung) <= HANGS else self.state)

    def replace_detector(self, detector: Detector, error: EngineError) -> None:
        """Take ONNX Runtime on the processor, as restorers do, where another engine failed as it ran `detector`."""
        if detector.engine.name != "onnxruntime" and self.detector is detector:
            self._reload(f"{detector.engine.name}: {error}; ONNX Runtime on the processor takes over",
                         replace(self._config, engine="onnxruntime"))

    def close(self, timeout_s: float) -> bool:
        """Wait for networks that still run or are loaded, and let go of all; whether they ended in time."""
        until = time.monotonic() + timeout_s
        done = self.dispatch is None or self.dispatch.close(timeout_s)
        done = (self.joiner is None or self.joiner.close(max(0.0, until - time.monotonic()))) and done
        lanes = [*self.lanes.values(), *self._hung]
        while (busy := any(lane.busy_ms for lane in lanes)) and time.monotonic() < until:
            time.sleep(0.01)
        # All that refers to this: the networks are to go with it, not when Python next looks for cycles.
        self.detector = self.dispatch = self.joiner = None
        return done and not busy

    def _reload(self, why: str, config: Config) -> None:
        """Load the detector anew by these settings in a thread of its own; until then frames are passed on."""
        self.detector, self.state = None, f"loading: {why}"

        def work() -> None:
            try:
                self._load(config)
                self.state = "ready"
            except Exception as error:
                self.state = f"failed: {error}"
                self._errors.log(f"the detector cannot be loaded anew: {error}")

        threading.Thread(target=work, name="derain reload", daemon=True).start()

    def _load(self, config: Config) -> None:
        manifest = self._manifest if isinstance(self._manifest, Manifest) else Manifest.load(self._manifest)
        self._manifest = manifest  # A reload takes the same models.
        restorers, filters = find_restorers(config, manifest), find_temporal(config, manifest)
        detector = Detector(load_detector(find_detector(config, manifest), config))
        detector.warm_up(len(config.cameras))
        if filters:
            self.joiner = self.joiner or Joiner(partial(self._prepare, filters))
        self.dispatch = self.dispatch or Dispatch(restorers, self._prepare_restorer, config.memory_mb)
        self.detector = detector

    def _prepare_restorer(self, models: tuple[Model, ...], batch: Batch) -> Preparation:
        return self._prepare(models, batch[:3])

    def _prepare(self, models: tuple[Model, ...], shape: Shape) -> Preparation:
        return Preparation(models, shape, self._config.engine, self._config.threads)
