"""Makes an engine ready in a thread of its own, while frames go on by a slower one."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Sequence
from weakref import WeakSet

from derain_ros.engine import Engine, EngineError, Shape, load
from derain_ros.engine.auto import Choice, choose, forget, label
from derain_ros.manifest import Model

ENDS_S = 20.0
"""How long the end of the program waits for what is being prepared."""

logger = logging.getLogger(__name__)
_at_work: WeakSet[threading.Thread] = WeakSet()
_ending = threading.Event()


class Preparation:
    """The engine for `models` and batches of `shape`, chosen as `auto.choose` does, beginning at once.

    `engine` is what frames can be run on just now: the last of `models` by ONNX Runtime on the processor while others
    are built, then the chosen one; where none can be chosen, still the former. It is None before anything is loaded,
    while engines are measured, and where nothing works. `state` says so in words: "ready: ...", "failed: ..." or what
    is being done. A user takes `engine` anew for every frame, and runs it from one thread at a time.
    """

    def __init__(self, models: Sequence[Model], shape: Shape, engine: str = "auto", threads: int = 0) -> None:
        self.shape = shape
        self.engine: Engine | None = None
        self.state = "loading"
        self.choice: Choice | None = None
        self._models, self._wanted, self._threads = models, engine, threads
        self._slower: Engine | None = None
        self._done = threading.Event()
        # A daemon: a build of minutes must not keep a node from ending.
        thread = threading.Thread(target=self._work, name="derain engine", daemon=True)
        _at_work.add(thread)
        thread.start()

    @property
    def ready(self) -> bool:
        """Whether the choice is made and loaded."""
        return self.choice is not None

    @property
    def failed(self) -> bool:
        """Whether no engine could be chosen; `state` says why."""
        return self._done.is_set() and self.choice is None

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is ready or has failed; whether it has within so many seconds."""
        return self._done.wait(seconds)

    def retire(self, error: EngineError) -> None:
        """Take ONNX Runtime on the processor from now on, for the chosen engine fails while it runs."""
        failing = self.engine
        if failing is None or failing is self._slower:
            return
        logger.error("%s fails: %s; ONNX Runtime on the processor takes over", label(failing), error)
        # Loading one takes long, and frames wait for it.
        self._slower = self._slower or self._load_slower()
        forget(self._models, self.shape, self._wanted, self._threads)
        self._fail(f"{failing.name}: {error}")

    def _work(self) -> None:
        try:
            if self._wanted != "onnxruntime":
                self.engine = self._slower = self._load_slower()
            self.choice = choose(self._models, self.shape, self._wanted, self._threads, self._tell, self._measuring)
            self.engine = self.choice.engine
            self.state = f"ready: {self.choice.why}"
            for failure in self.choice.failures:
                logger.info("not used: %s", failure)
        except EngineError as error:
            self._fail(str(error))
        except Exception as error:
            # Libraries of devices fail in ways nobody lists; the node passes frames on and says this.
            logger.exception("preparing an engine fails")
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._done.set()

    def _load_slower(self) -> Engine | None:
        """The last and fastest-to-run model by ONNX Runtime on the processor; None where that does not load."""
        try:
            return load(self._models[-1], "onnxruntime", self._threads)
        except Exception:  # what is wrong is told where it is tried
            return None

    def _tell(self, text: str) -> None:
        if _ending.is_set():
            raise EngineError("the program ends")
        self.state = text

    def _measuring(self, text: str) -> None:
        self._tell(text)
        self.engine = None

    def _fail(self, reason: str) -> None:
        self.engine, self.choice = self._slower, None
        self.state = f"failed: {reason}" + (f"; {label(self._slower)} runs instead" if self._slower else "")


def _end() -> None:
    """Wait for the step that each preparation is at: libraries abort a program that ends while they compile."""
    _ending.set()
    until = time.monotonic() + ENDS_S
    for thread in list(_at_work):
        thread.join(max(0.0, until - time.monotonic()))


atexit.register(_end)
