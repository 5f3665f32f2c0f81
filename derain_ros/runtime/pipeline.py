"""Processes a frame set: judge it, choose a plan that keeps up, run its stages."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from derain_ros.config import PLANS, Config, ConfigError
from derain_ros.engine import Engine, EngineError
from derain_ros.frame import Action, Anomaly, FrameSet, Result
from derain_ros.manifest import Manifest
from derain_ros.runtime.fusion import Fusion
from derain_ros.runtime.input.encoding import FrameError, leveled
from derain_ros.runtime.input.instants import Instants
from derain_ros.runtime.input.levels import LevelsOfCamera
from derain_ros.runtime.judge.decision import Decision
from derain_ros.runtime.judge.judge import Judge
from derain_ros.runtime.loading.failures import Hang
from derain_ros.runtime.loading.lane import Lane, Late
from derain_ros.runtime.loading.loader import Loader
from derain_ros.runtime.loading.models import find_detector, find_restorers, find_temporal
from derain_ros.runtime.plan.budget import Times
from derain_ros.runtime.plan.choice import PlanChoice
from derain_ros.runtime.plan.ladder import Ladder, Plan, followed
from derain_ros.runtime.run import Run
from derain_ros.runtime.stages import Images, Stage
from derain_ros.runtime.stages.restore import restorers
from derain_ros.runtime.stages.temporal import Temporal

LIKELY_SIZE = (540, 720)
"""Height and width of images, assumed until the first one has come."""
STALL = 4.0
"""Periods of the camera after which a frame is passed on, if its budget is over as well."""
HANG_MS = 20_000.0
"""Time after which a network counts as hung: longer than the largest budget."""
HANGS = 3
"""How often that may happen: each time leaves a thread behind."""
MESSAGES_LOGGED = 100
"""The most distinct errors that are logged: more would only be variations."""

logger = logging.getLogger(__name__)


class Pipeline:
    """Detects and restores frame sets of the configured cameras.

    `manifest`, or the directory that holds it, gives the models; the shipped ones by default. `clock` gives monotonic
    nanoseconds. The constructor is quick, and every frame is passed on until `load` has ended. In the `background` of a
    stream the best plan runs that is ready and keeps up. Otherwise `process` waits for the best plan, and gives the
    same for the same image. `load` and `apply` may be called from another thread than `process`; `process` itself from
    one thread at a time.
    """

    def __init__(
        self,
        config: Config | None = None,
        manifest: Manifest | Path | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        background: bool = False,
    ) -> None:
        self.config = config or Config()
        self.decision = Decision()
        self.state = "loading"
        """loading, ready, or failed and why."""
        self._manifest, self._clock, self._background = manifest, clock, background
        self._judge: Judge | None = None
        self._loader: Loader | None = None
        self._ladder = Ladder([])
        self.fusion = Fusion(self.config)
        self._choice, self._choice_of_passed = PlanChoice(), PlanChoice()
        self._overhead = Times()  # Time around the stages of a plan, from the mailbox to publication.
        self._started_ns = 0
        self._stages_ms = 0.0
        self._instants = Instants()
        self._levels: defaultdict[str, LevelsOfCamera] = defaultdict(LevelsOfCamera)
        self._lane = Lane("networks")
        self._hung: list[Lane] = []
        self._at_work: Judge | Stage | None = None
        self._to_fuse: tuple[Result, Run, Images] | None = None
        self._logged: set[str] = set()

    def load(self) -> None:
        """Load the detector. ManifestError or EngineError where that fails; frames are then passed on. Restorers are
        loaded when the first frames show the size."""
        config = self.config
        try:
            manifest = self._manifest if isinstance(self._manifest, Manifest) else Manifest.load(self._manifest)
            networks, temporal = find_restorers(config, manifest), find_temporal(config, manifest)
            judge = Judge(find_detector(config, manifest), config)
        except Exception as error:
            self.state = f"failed: {error}"
            raise
        loader = Loader(manifest.verify, config, self._background, self._clock)
        self._ladder = Ladder(restorers(networks, loader), [Temporal(temporal, loader)] if temporal else [])
        self.fusion.load(manifest, loader)
        self._loader, self._judge, self.state = loader, judge, "ready"

    def prepare(self) -> None:
        """Begin to load the cheapest restorers for grey and for colour images, so that the first frames are restored.
        Call it after `load`."""
        loader, cameras = self._loader, len(self.config.cameras)
        if loader is None:
            return
        batches = [(cameras, *LIKELY_SIZE, channels) for channels in (1, 3)]
        loader.expect(
            [
                wanted
                for batch in batches
                for plan in self._ladder.plans([batch], (), PLANS[-1])[-1:]
                for step in plan.steps
                for wanted in step.load([batch])
            ]
        )

    @property
    def engines(self) -> list[Engine]:
        """The loaded engines, the detector first; none before `load` has ended."""
        judge, loader = self._judge, self._loader
        return [] if judge is None or loader is None else [judge.engine, *loader.engines]

    @property
    def loading(self) -> str:
        """Which networks are being loaded or could not be, as text; empty where there is nothing to report."""
        return "" if self._loader is None else self._loader.state

    def apply(self, config: Config) -> None:
        """Use changed settings from the next frame set on; ConfigError for one that needs a new pipeline."""
        for f in fields(Config):
            if f.metadata["read_only"] and getattr(config, f.name) != getattr(self.config, f.name):
                raise ConfigError(f"{f.name}: cannot be changed while the pipeline runs; make a new one")
        self.config = config

    def process(self, frames: FrameSet) -> Result:
        """Restore or pass on one frame set, all its cameras alike.

        Never raises. Frames are passed on where a stage fails. They are also passed on where restoring has not ended
        when both the budget and STALL periods of the camera are over. Beside a stream, fusion is left to `fuse`.
        """
        run = Run(frames, self.decision, self._clock)
        self._started_ns, self._stages_ms = run.started_ns, 0.0
        try:
            self._watch()
            patience_ms = self._stall_ms(run) - run.age_ms if self._background else None
            result, images = self._lane.begin(partial(self._restore, run)).result(patience_ms)
            # Of the run that was waited for, not of a late one that ends beside it.
            self._stages_ms = run.plan_ms
            self._to_fuse = None if images is None else (result, run, images)
            return result if self._background else self.fuse(result)
        except Late as late:
            return run.passed(Action.PASSED_BUDGET, str(late) or f"restoring has not ended after {run.age_ms:.0f} ms")
        except Exception as error:
            # Whatever went wrong, the stream must not stall, so no exception leaves.
            detail = str(error) or type(error).__name__
            self._log(detail, None if isinstance(error, (EngineError, FrameError)) else error)
            return run.passed(Action.PASSED_ERROR, detail)

    def fuse(self, result: Result) -> Result:
        """The last result of `process`, with the fused image where there was time for one when its plan was chosen.

        Call it once the result's images are published: they do not wait for it. Never raises.
        """
        planned, self._to_fuse = self._to_fuse, None
        if planned is None or planned[0] is not result:
            return result
        _, run, images = planned
        try:
            patience_ms = self._stall_ms(run) - run.age_ms if self._background else None
            self._lane.begin(partial(self._fuse, run, images)).result(patience_ms)
        except Late:
            run.fusion = "fusion has not ended in time"
        except Exception as error:
            run.fusion = str(error) or type(error).__name__
        models = ", ".join(images.models) if result.models else ""
        return replace(result, fused=run.fused, fusion=run.fusion, models=models, stage_ms=dict(run.stage_ms))

    def is_late(self, frames: FrameSet) -> bool:
        """Whether the budget of a frame set ended before its processing began."""
        return frames.received_ns > 0 and (self._clock() - frames.received_ns) / 1e6 >= self.config.budget_ms

    def pass_on(self, frames: FrameSet, action: Action, detail: str) -> Result:
        """The result of frames that are not processed, because of `detail`; their masks are empty."""
        return replace(Run(frames, self.decision, self._clock).passed(action, detail), stage_ms={})

    def published(self) -> None:
        """Report that the last result is published: the time around its stages is reserved for the next one."""
        if self._stages_ms:
            self._overhead.learn(None, (self._clock() - self._started_ns) / 1e6 - self._stages_ms)

    def close(self, timeout_s: float) -> bool:
        """Wait for networks that still run or are being loaded. False where some have not ended after `timeout_s`: the
        program should then not exit normally, as libraries abort a process whose threads still run in them."""
        until = time.monotonic() + timeout_s
        done = self._loader is None or self._loader.close(timeout_s)
        lanes = [self._lane, *self._hung]
        while (busy := any(lane.busy_ms for lane in lanes)) and time.monotonic() < until:
            time.sleep(0.01)
        # Drop all references to networks, so that they are freed now and not at the next garbage collection.
        self._judge = self._loader = self._at_work = None
        self._ladder, self._choice, self._choice_of_passed = Ladder([]), PlanChoice(), PlanChoice()
        self.fusion.stage = self._to_fuse = None
        return done and not busy

    def _restore(self, run: Run) -> tuple[Result, Images | None]:
        """Process a frame set, in the thread of the networks. Returns the images, too, where they are to be fused."""
        config, judge, loader, ladder = self.config, self._judge, self._loader, self._ladder
        if judge is None or loader is None:
            return run.passed(Action.PASSED_DISABLED, f"models: {self.state}"), None

        if not run.frames:
            raise FrameError("there are no frames")
        first = next(iter(run.frames.values()))
        now_ns = self._instants.at(first.stamp_ns, first.received_ns)
        # Images without a time are unrelated.
        levels = self._levels if first.stamp_ns or first.received_ns else defaultdict(LevelsOfCamera)
        images = Images(
            list(run.frames), [leveled(frame, levels[name], now_ns) for name, frame in run.frames.items()], now_ns
        )
        with run.stage("detect"):
            self._at_work = judge
            found = judge.judge(images.frames, config.on_score, self.decision.affected, now_ns)
        run.anomalies = dict(zip(run.frames, found, strict=True))
        self.decision.update(run.anomalies, now_ns, config)

        fuse = self.fusion.stage_for(run, run.thermal, images)
        plans = ladder.plans(images.batches, self.decision.kinds, config.plan, every=not config.gating)
        passed = self._why_passed(found)
        if passed is None and not plans:
            raise FrameError(f"there is no restorer for such images; {loader.state or 'set restorer to auto'}")
        if self._background:
            loader.want(ladder.wanted(followed(plans, fuse), images.batches))
        if passed is not None:
            plans = [Plan(())]
            if fuse is None:
                return run.passed(*passed), None
        plans = followed(plans, fuse)
        while not self._background and plans and not plans[0].ready(images.batches):
            with run.excluded():
                loader.wait([wanted for stage in plans[0].steps for wanted in stage.load(images.batches)])
            plans = plans if plans[0].ready(images.batches) else plans[1:]
        ready = [plan for plan in plans if plan.ready(images.batches)]
        if not ready:
            return run.passed(Action.PASSED_DISABLED, f"models: {loader.state or 'loading'}"), None

        choice = self._choice if passed is None else self._choice_of_passed
        plan = self._choose(choice, ready, images, run) if self._background else ready[0]
        if plan is None and passed is None:
            told = f"{ready[-1].name} takes {ready[-1].cost_ms(images.batches):.0f} ms, more than {STALL:g} periods"
            return run.passed(Action.PASSED_BUDGET, f"{told} of the camera"), None
        to_fuse = images if plan is not None and fuse in plan.steps else None
        if passed is None and plan is not None and all(stage is fuse for stage in plan.steps):
            if len(ready) < len(plans):
                passed = Action.PASSED_DISABLED, f"models: {loader.state or 'loading'}"
            else:
                kinds = ", ".join(sorted(self.decision.kinds))
                slow = any(stage is not fuse for each in plans for stage in each.steps)
                passed = (
                    (Action.PASSED_BUDGET, f"no plan that keeps up helps against {kinds}")
                    if slow
                    else (Action.PASSED_NO_PLAN, f"no plan that is allowed helps against {kinds}")
                )
        if passed is not None:
            return run.passed(*passed), to_fuse
        assert plan is not None
        detail = self._run([stage for stage in plan.steps if stage is not fuse], images, run, loader)
        return run.restored(images, plan.name, config.fill, detail), to_fuse

    def _fuse(self, run: Run, images: Images) -> None:
        """Fuse what was seen or restored, in the thread of the networks."""
        stage, loader = self.fusion.stage, self._loader
        if stage is not None and loader is not None:
            self.fusion.show(images)
            self._run([stage], images, run, loader)
            self.fusion.take(run, images)

    def _why_passed(self, found: Sequence[Anomaly]) -> tuple[Action, str] | None:
        """Action and reason where frames are not to be restored; None where they are."""
        if not self.config.enabled:
            return Action.PASSED_DISABLED, "restoration is switched off"
        clean = not self.decision.affected and not any(anomaly.affected for anomaly in found)
        return (Action.PASSED_CLEAN, "") if self.config.gating and clean else None

    def _choose(self, choice: PlanChoice, ready: Sequence[Plan], images: Images, run: Run) -> Plan | None:
        """The plan that keeps up with the cameras within the budget; None where the stream would stall."""
        budget_ms = self.config.budget_ms
        run.left_ms = budget_ms - run.age_ms
        limit_ms = min(budget_ms, run.period_ms or budget_ms) - self._overhead.usual(None)
        return choice.choose(ready, images.batches, limit_ms, self._stall_ms(run) - run.age_ms, self._clock())

    def _run(self, steps: Sequence[Stage], images: Images, run: Run, loader: Loader) -> str:
        """Run stages one after another. Returns a text where one failed and what was restored before it is used."""
        for stage in steps:
            self._at_work, undisturbed = stage, not loader.busy
            try:
                with run.stage(stage.name):
                    stage.run(images)
            except Exception as error:
                stage.fail(error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}"))
                if images.restored is None or stage is self.fusion.stage:
                    raise
                return f"without {stage.name}: {error}"
            ms = run.stage_ms[stage.name]
            run.plan_ms += ms
            # A time measured beside loading says little, so only a first one is learned. Fusion, which is optional,
            # learns all of them, and so pauses until loading has ended.
            known = stage is not self.fusion.stage and stage.cost_ms(images.batches)
            if undisturbed and not loader.busy or not known:
                stage.learn(images.batches, ms)
        return ""

    def _stall_ms(self, run: Run) -> float:
        """The longest time that a frame set is worked on."""
        return max(self.config.budget_ms, STALL * run.period_ms)

    def _watch(self) -> None:
        """Leave a hung network behind in its lane: its thread cannot be ended, but nothing needs to wait for it."""
        if self._lane.busy_ms < HANG_MS:
            return
        # Lanes whose networks have returned after all no longer count.
        self._hung = [lane for lane in self._hung if lane.busy_ms] + [self._lane]
        self._lane = Lane("networks")
        what = f"a network has not returned for {HANG_MS / 1e3:g} s"
        self._log(what)
        if len(self._hung) > HANGS:
            self._judge, self.state = None, f"failed: {what}, nor have {HANGS} before it"
        elif self._at_work is not None:
            # In the lane, not here: the replacement may hang as well.
            self._lane.begin(partial(self._at_work.fail, Hang(what)))

    def _log(self, what: str, error: BaseException | None = None) -> None:
        """Log why frames are passed on, each reason once, with the traceback of an unexpected `error`."""
        if what not in self._logged and len(self._logged) < MESSAGES_LOGGED:
            self._logged.add(what)
            logger.error("frames are passed on: %s", what, exc_info=error)
