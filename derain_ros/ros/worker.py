"""The thread that runs the pipeline on the newest frame set, and the one that loads the models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from rclpy.impl.rcutils_logger import RcutilsLogger

from derain_ros.config import Config
from derain_ros.engine.auto import label
from derain_ros.frame import FrameSet, Result
from derain_ros.ros.mailbox import Job, Mailbox
from derain_ros.runtime.fusion import Fusion
from derain_ros.runtime.pipeline import Pipeline

LOADING_MAY_TAKE_S = 5.0
"""How long `close` waits for models that are still being loaded."""


class Worker:
    """Takes jobs in any thread and hands each, with its result, to `publish` in its own.

    Begins at once to load the models of the directory `models`, the shipped ones where that is empty; until they are
    loaded, or where they cannot be, frames are passed on. `engine` says how far that is: loading, ready, or failed and
    why. Jobs that are not processed go to `drop`.
    """

    def __init__(
        self,
        config: Config,
        models: str,
        publish: Callable[[FrameSet, Result], None],
        drop: Callable[[FrameSet], None],
        logger: RcutilsLogger,
    ) -> None:
        self._publish, self._drop, self._logger = publish, drop, logger
        self._mailbox = Mailbox()
        self._thread: threading.Thread | None = None
        self._pipeline = Pipeline(config, Path(models) if models else None, background=True)
        self._loader = threading.Thread(target=self._load, name="derain loader", daemon=True)
        self._loader.start()

    @property
    def engine(self) -> str:
        """How far the models are: loading, ready, or failed, and why; what is still being loaded follows."""
        loading = self._pipeline.loading
        return self._pipeline.state + (f" ({loading})" if loading else "")

    @property
    def models(self) -> str:
        """The loaded models and their engines, in words."""
        return ", ".join(map(label, self._pipeline.engines)) or "none"

    @property
    def affected(self) -> bool:
        """The debounced flag: whether any camera is affected."""
        return self._pipeline.decision.affected

    @property
    def fusion(self) -> Fusion:
        """The thermal camera, and whether fused images are wanted."""
        return self._pipeline.fusion

    def apply(self, config: Config) -> None:
        """Take over changed settings; ConfigError for one that is read-only."""
        self._pipeline.apply(config)

    def start(self) -> None:
        """Begin to take jobs."""
        self._mailbox.open()
        self._thread = threading.Thread(target=self._work, name="derain worker")
        self._thread.start()

    def put(self, job: Job) -> None:
        """Leave a job; one that was waiting for the same place is dropped."""
        self._dropped(self._mailbox.put(job))

    def published(self) -> None:
        """Say that the images of the last result are out; called by `publish`."""
        self._pipeline.published()

    def fuse(self, result: Result) -> Result:
        """The last result with what is fused of it; called by `publish`, once the images are out."""
        return self._pipeline.fuse(result)

    def stop(self) -> None:
        """Take no more jobs and wait for the one in work; those that were waiting are dropped."""
        self._dropped(self._mailbox.close())
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> bool:
        """Stop for good; whether no thread is left behind."""
        self.stop()
        if self._loader.is_alive():
            self._loader.join(LOADING_MAY_TAKE_S)
        return self._pipeline.close(LOADING_MAY_TAKE_S) and not self._loader.is_alive()

    def _load(self) -> None:
        try:
            self._pipeline.load()
        except Exception as error:
            self._logger.error(f"models cannot be loaded, frames are passed on untouched: {error}")
        else:
            self._logger.info(f"models loaded: {self.models}; restorers follow")
            self._pipeline.prepare()

    def _work(self) -> None:
        while (job := self._mailbox.take()) is not None:
            try:
                if job.action is not None:
                    self._publish(job.frames, self._pipeline.pass_on(job.frames, job.action, job.detail))
                elif self._pipeline.is_late(job.frames) and self._mailbox.waits():
                    # A newer one is there: it is of more use, and the late one would only make it late as well.
                    self._drop(job.frames)
                else:
                    self._publish(job.frames, self._pipeline.process(job.frames))
            except Exception as error:
                # Whatever went wrong with one frame set must not end the stream.
                self._logger.error(f"a frame set failed: {error!r}", throttle_duration_sec=5.0)

    def _dropped(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._drop(job.frames)
