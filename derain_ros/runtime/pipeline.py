"""The way of a frame set: detect, decide, choose within the budget, restore."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from weakref import WeakSet

import numpy as np

from derain_ros.config import Config, ConfigError
from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Action, Anomaly, Frame, FrameSet, Result
from derain_ros.manifest import Manifest
from derain_ros.runtime.dispatch import ON_PROCESSOR, QUALITY_TAKES, Choice, Dispatch
from derain_ros.runtime.input.depth import Depth
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.judge.crosscheck import CrossCheck
from derain_ros.runtime.judge.decision import Decision
from derain_ros.runtime.judge.detect import Detector
from derain_ros.runtime.loading.lane import Late, Work
from derain_ros.runtime.loading.networks import Errors, Networks
from derain_ros.runtime.plan.budget import FINISH, Budget
from derain_ros.runtime.run import Run
from derain_ros.runtime.stages.restore import Batch, batches, restore

GAP = 2.0
"""Periods of the camera from one result to the next at the most."""


class Pipeline:
    """Detects and restores frame sets of the configured cameras.

    `manifest`, or the directory that holds it, gives the models, the shipped ones by default; `clock` gives monotonic
    nanoseconds. The constructor is light and until `load` has ended every frame is passed on. In the `background`,
    frames are passed on while a restorer is made ready for their size; otherwise `process` waits for it. `load` and
    `apply` may be called from another thread than `process`; `process` itself from one thread at a time.
    """

    def __init__(self, config: Config | None = None, manifest: Manifest | Path | None = None,
                 clock: Callable[[], int] = time.monotonic_ns, background: bool = False) -> None:
        self.config = config or Config()
        self.budget = Budget(clock)
        self.decision = Decision()
        self._crosscheck = CrossCheck()
        self._clock = clock
        self._background = background
        self._errors = Errors()
        self._networks = Networks(self.config, manifest, self._errors)
        self._depths: defaultdict[str, Depth] = defaultdict(Depth)
        self._ended_ns = self._published_ns = 0  # When the networks were done, or given up, and their result was out.
        self._warm: WeakSet[Engine] = WeakSet()

    def load(self) -> None:
        """Verify the models and load the detector; ManifestError or EngineError where that fails: frames are passed
        on. Restorers are loaded when the first frames say for which size."""
        self._networks.load()

    @property
    def state(self) -> str:
        """loading, ready, or failed and why."""
        return self._networks.state

    @property
    def engines(self) -> list[Engine]:
        """The loaded engines, the detector first; none before `load` has ended."""
        return self._networks.engines

    @property
    def loading(self) -> str:
        """Which networks are being loaded or could not be, in words; empty where there is nothing to tell."""
        return self._networks.loading

    def apply(self, config: Config) -> None:
        """Take over changed settings from the next frame set on; ConfigError for one that needs a new pipeline."""
        for f in fields(Config):
            if f.metadata["read_only"] and getattr(config, f.name) != getattr(self.config, f.name):
                raise ConfigError(f"{f.name}: cannot be changed while the pipeline runs; make a new one")
        self.config = config

    def process(self, frames: FrameSet) -> Result:
        """Restore or pass on one frame set, all its cameras alike, within the budget.

        Never raises: a failing stage passes frames on, and so does one that has not ended when the budget has.
        """
        run = Run(frames, self.decision, self._clock)
        self._ended_ns = 0
        try:
            result = self._process(run)
        except Exception as error:
            # The stream must not stall whatever went wrong, so nothing is let through.
            detail = str(error) or type(error).__name__
            self._errors.log(detail, None if isinstance(error, (EngineError, FrameError)) else error)
            result = run.passed(Action.PASSED_ERROR, detail)
        self._ended_ns = self._ended_ns or self._clock()
        return result

    def is_late(self, frames: FrameSet) -> bool:
        """Whether the budget of a frame set has ended before it was looked at."""
        return frames.received_ns > 0 and self.budget.left_ms(frames.received_ns, self.config.budget_ms) <= 0

    def pass_on(self, frames: FrameSet, action: Action, detail: str) -> Result:
        """The result of frames that are not to be looked at, because of `detail`; their masks are empty."""
        return replace(Run(frames, self.decision, self._clock).passed(action, detail), stage_ms={})

    def close(self, timeout_s: float) -> bool:
        """Wait for networks that still run or are loaded; false where some are not done after `timeout_s`, and the
        program should not be ended in an orderly way: libraries abort a process whose threads they are in."""
        return self._networks.close(timeout_s)

    def published(self) -> None:
        """Say that the last result is out: what that took is set aside for the next."""
        self._published_ns = self._clock()
        self.budget.learn(FINISH, (self._published_ns - self._ended_ns) / 1e6)

    def _process(self, run: Run) -> Result:
        config, networks = self.config, self._networks
        networks.watch()
        detector, dispatch = networks.detector, networks.dispatch  # Not before: what hangs is not to be run again.
        if detector is None or dispatch is None:
            return run.passed(Action.PASSED_DISABLED, f"models: {networks.state}")
        images = [self._depths[name].apply(frame) for name, frame in run.frames.items()]
        # While the alarm is up, what the lens looks like now changes next to nothing for this frame set.
        at_once = config.enabled and self.decision.affected
        try:
            detection = networks.lanes["detect"].begin(partial(self._detect, detector, images, config.on_score))
            if not at_once:
                self._judge(run, detection, detector, config)
        except Late as late:
            return run.passed(Action.PASSED_BUDGET, f"detection did not end within the budget{_reason(late)}")
        if not config.enabled:
            return run.passed(Action.PASSED_DISABLED, "restoration is switched off")
        if not at_once:
            return self._restored(run, images, dispatch, config)()
        try:
            finish = self._restored(run, images, dispatch, config)
        except Exception:
            with suppress(Late):  # What went wrong first is told.
                self._judge(run, detection, detector, config)
            raise
        try:
            self._judge(run, detection, detector, config)
        except Late as late:
            return run.passed(Action.PASSED_BUDGET, f"detection did not end within the budget{_reason(late)}")
        return run.passed(Action.PASSED_CLEAN) if self._is_clean(run, config) else finish()

    def _detect(self, detector: Detector, images: Sequence[Frame], on_score: float) -> tuple[list[Anomaly], float]:
        """What is wrong with the images, both eyes compared where there are two, and how many milliseconds that took.
        """
        started = self._clock()
        views = detector.views(images)
        anomalies = detector.judge(views, on_score)
        if len(anomalies) == 2:
            anomalies = self._crosscheck.check(views, anomalies, on_score, images[0].stamp_ns, self.decision.affected)
        return anomalies, (self._clock() - started) / 1e6

    def _judge(self, run: Run, detection: Work[tuple[list[Anomaly], float]], detector: Detector, config: Config
               ) -> None:
        """Wait for what is found in a frame set and decide what it comes to; Late where that takes too long."""
        run.stage_ms["detect"] = float("nan")
        try:
            anomalies, run.stage_ms["detect"] = detection.result(self._left_ms(run))
        except EngineError as error:
            self._networks.replace_detector(detector, error)
            raise
        run.anomalies = dict(zip(run.frames, anomalies, strict=True))
        self.decision.update(run.anomalies, next(iter(run.frames.values())).stamp_ns, config)

    def _is_clean(self, run: Run, config: Config) -> bool:
        """Whether a frame set is to be passed on for want of anything to restore."""
        return (config.gating and not self.decision.affected
                and not any(found.affected for found in run.anomalies.values()))

    def _restored(self, run: Run, images: Sequence[Frame], dispatch: Dispatch, config: Config) -> Callable[[], Result]:
        """Restore a frame set, unless it was found clean or there is no way to; what makes the result of it, once all
        is known."""
        left_ms = partial(self._left_ms, run)
        passed = partial(partial, run.passed)
        shapes, kind = batches(images), self.decision.kind
        choices = dispatch.choices(shapes, kind)
        dispatch.time_for_quality = self._time_for_quality(choices, run.period_ms)
        if self._is_clean(run, config):
            return passed(Action.PASSED_CLEAN)
        if not self._background:
            with run.excluded():
                dispatch.wait(shapes, kind)
            choices = dispatch.choices(shapes, kind)
        elif not choices and dispatch.began:
            dispatch.wait(shapes, kind, left_ms() / 1e3)
            choices = dispatch.choices(shapes, kind)
        if not choices:
            return passed(Action.PASSED_DISABLED, f"models: {dispatch.state}")
        if waits_ms := self._networks.lanes["restore"].busy_ms:
            return passed(Action.PASSED_BUDGET, f"the last restoration has not ended after {waits_ms:.0f} ms")
        with run.excluded() if not self._background else nullcontext():
            choices = self._with_temporal(choices, shapes, dispatch, run.period_ms)
        run.left_ms = left_ms()
        key = self.budget.choose([choice.key for choice in choices], run.received_ns, config.budget_ms, run.period_ms)
        if key is None:
            fastest = self.budget.expected_ms(choices[-1].key)
            period = f", a frame set comes every {run.period_ms:.0f} ms" if run.period_ms else ""
            return passed(Action.PASSED_BUDGET,
                          f"restoring takes about {fastest:.0f} ms, {run.left_ms:.0f} ms are left{period}")
        choice = next(choice for choice in choices if choice.key == key)
        with run.stage("restore"):
            due_ns = self._clock() + round(left_ms() * 1e6)
            try:
                self._networks.running = choice
                restored, failure = self._networks.lanes["restore"].begin(
                    partial(self._restore, list(run.frames), images, choice)).result(left_ms())
            except Late:
                # Waking up late, as under load, is part of what publishing takes.
                self._ended_ns = due_ns
                return passed(Action.PASSED_BUDGET, "restoring did not end within the budget")
            except EngineError as error:
                dispatch.retire(choice, error)
                raise
        if left_ms() < 0:
            return passed(Action.PASSED_BUDGET,
                          f"restoring took {run.stage_ms['restore']:.0f} ms and ended after the budget")
        return partial(run.restored, restored, replace(choice, temporal={}) if failure else choice, failure)

    def _left_ms(self, run: Run) -> float:
        """Milliseconds until a result must be there: for the budget, and lest the stream stalls for two periods."""
        left = self.budget.left_ms(run.received_ns, self.config.budget_ms)
        if not run.period_ms:
            return left
        # Where the camera paused, that is no stall of ours.
        last_ns = max(self._published_ns, run.received_ns - round(run.period_ms * 1e6))
        spent = (self._clock() - last_ns) / 1e6
        return min(left, GAP * run.period_ms - self.budget.finish_ms(self.config.budget_ms) - spent)

    def _time_for_quality(self, choices: Sequence[Choice], period_ms: float) -> bool:
        """Whether `quality` could be restored with in time, going by what `balanced` takes."""
        limit = min(self.config.budget_ms, period_ms or self.config.budget_ms)
        balanced = next((choice for choice in choices if choice.plan == "balanced"), None)
        if balanced is None:
            return False
        on_processor = any(engine.device == "cpu" for engine in balanced.engines.values())
        takes = (ON_PROCESSOR if on_processor else QUALITY_TAKES) * self.budget.expected_ms(balanced.key)
        return 0.0 < takes <= limit

    def _with_temporal(self, choices: Sequence[Choice], shapes: Collection[Batch], dispatch: Dispatch,
                       period_ms: float) -> list[Choice]:
        """The choices, with the temporal filter first and without it after: steadiness is worth more than a plan.

        The filter is loaded after the rest, and offered to a plan that leaves it the time. It knows what sticks to the
        glass: where restorers made for another anomaly are at hand, there is no use for it.
        """
        joiner = self._networks.joiner
        if joiner is None or any(engine.model.serves for choice in choices for engine in choice.engines.values()):
            return list(choices)
        if dispatch.idle or not self._background:
            joiner.tend(shapes, wait=not self._background)
        engines = joiner.of(shapes)
        key = tuple((engine.name, engine.device, engine.streams, engine.model.name) for engine in engines.values())
        budget_ms = self.config.budget_ms
        limit = min(budget_ms - self.budget.finish_ms(budget_ms), period_ms or budget_ms)
        joined = [replace(choice, key=(choice.key, key), alone=choice.key, temporal=engines) for choice in choices
                  if engines and joiner.fits(choice, self.budget.expected_ms(choice.key), limit, self._clock())]
        # A better plan is run by itself once before anything is joined: else it would never be known what it takes.
        untried = list(takewhile(lambda choice: not self.budget.expected_ms(choice.key), choices))
        return [*untried, *joined, *choices[len(untried):]]

    def _restore(self, cameras: Sequence[str], images: Sequence[Frame],
                 choice: Choice) -> tuple[list[tuple[Frame, np.ndarray]], str]:
        """Restore, join, and learn what that took, be it waited for or not; and why frames were not joined, if so.

        An engine's first run says nothing of the others.
        """
        joining, joiner = None, self._networks.joiner
        if choice.temporal and joiner is not None:
            joining = joiner.joining(cameras, images, choice.temporal, self._clock)
        started = self._clock()
        restored = restore(images, choice.engines, joining)
        spent_ms = (self._clock() - started) / 1e6
        engines = {*choice.engines.values(), *choice.temporal.values()}
        warm = engines <= self._warm
        self._warm |= engines
        if warm and joining is not None:
            self.budget.learn(choice.alone, spent_ms - joining.ms)
            joining.learn(choice, spent_ms - joining.ms)
        if warm and (joining is None or joining.had_past):
            self.budget.learn(choice.key, spent_ms)
        return restored, "" if joining is None else joining.failure


def _reason(late: Late) -> str:
    return f": {late}" if str(late) else ""
