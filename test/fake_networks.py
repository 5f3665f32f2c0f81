"""Networks that take the time they are told to, by a clock of their own, see what they are told, and fail when told to.

`World.install` puts them, a loader that has loaded at once, and a lane by the same clock into the runtime.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from derain_ros.engine import EngineError
from derain_ros.engine.auto import Choice, label
from derain_ros.frame import ANOMALY_KINDS, Action, Frame, FrameSet, Result
from derain_ros.manifest import PLANS, Manifest, Model
from derain_ros.runtime import pipeline as pipeline_module
from derain_ros.runtime.judge import judge as judge_module
from derain_ros.runtime.loading import loader as loader_module
from derain_ros.runtime.loading.lane import Late
from derain_ros.tasks import TASKS, TEMPORAL_PLANES

MS = 1_000_000
SIZE = (20, 28)
CLEAN, WET = 50, 150
"""Grey values of views that the detector finds clean, and affected."""


def model(name: str, **keys: Any) -> Model:
    """An entry of a manifest, by default a restorer of grey images whose network has its name."""
    plain: dict[str, Any] = {
        "task": "restore",
        "file": Path(f"{name}.onnx"),
        "sha256": "",
        "channels": 1,
        "stride": 8,
        "network": name,
    }
    return Model(name, **plain | keys)


DETECT = model("detect", task="detect", classes=ANOMALY_KINDS, size=(24, 32))
QUALITY, BALANCED, LIGHT = (model(plan, plan=plan) for plan in PLANS)
RAIN = model("rain", serves=("streak", "night_rain"))
TEMPORAL = model("temporal", task="temporal", channels=TEMPORAL_PLANES, stride=2)
FUSE = model("fuse", task="fuse")


class Whole(Manifest):
    """A manifest of models without files."""

    def verify(self, model: Model) -> None:
        """Every one is whole."""


def manifest_of(*models: Model) -> Manifest:
    """These models, with a detector."""
    return Whole(Path("models"), {each.name: each for each in (DETECT, *models)})


class Clock:
    """Monotonic nanoseconds that stand still until they are told to go on."""

    now_ns = 7_000_000 * MS

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, ms: float) -> None:
        """Let time go by."""
        self.now_ns += round(ms * MS)


class World:
    """What networks take, see and fail with; `runs` are those for frames, (model, shape of what it got)."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ms = {
            "detect": 1.0,
            "quality": 60.0,
            "balanced": 30.0,
            "light": 10.0,
            "rain": 8.0,
            "temporal": 5.0,
            "fuse": 15.0,
        }
        self.seen = {"raindrop": 0.9}
        """Probabilities of what is on an affected lens."""
        self.failure: dict[str, Exception] = {}
        """By model, or by model and engine, such as `light by tensorrt`."""
        self.hangs: set[str] = set()
        """Which do not return, named likewise."""
        self.runs: list[tuple[str, tuple[int, ...]]] = []
        self.loading = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of engines, threads and clocks in the runtime."""
        monkeypatch.setattr(judge_module, "load_detector", lambda model, config: self.load(model, config.engine))
        monkeypatch.setattr(loader_module, "load", self.load)
        monkeypatch.setattr(loader_module, "choose", self.choose)
        monkeypatch.setattr(loader_module, "forget", lambda *what: None)
        monkeypatch.setattr(loader_module, "time", SimpleNamespace(perf_counter=lambda: self.clock() / 1e9))
        monkeypatch.setattr(
            loader_module, "threading", SimpleNamespace(Condition=threading.Condition, Thread=self.thread)
        )
        monkeypatch.setattr(pipeline_module, "Lane", lambda name: PlayedLane(self.clock))

    def load(self, model: Model, engine: str, threads: int = 0, streams: int = 1) -> FakeEngine:
        """One engine of that name."""
        return FakeEngine(self, model, engine)

    def choose(
        self,
        models: Sequence[Model],
        shape: tuple[int, int, int],
        engine: str = "auto",
        threads: int = 0,
        tell: object = None,
        rests: bool = False,
    ) -> Choice:
        """The fastest engine, for the last precision."""
        chosen = FakeEngine(self, models[-1], "tensorrt" if engine == "auto" else engine)
        return Choice(chosen, "the fastest", (), ((label(chosen), self.ms[chosen.model.network]),))

    def thread(self, target: Callable[[], None], **how: Any) -> SimpleNamespace:
        """A thread whose work is done as it starts, beside the stream: no time goes by."""

        def start() -> None:
            before, self.loading = self.clock.now_ns, True
            target()
            self.clock.now_ns, self.loading = before, False

        return SimpleNamespace(start=start)


class Hang(BaseException):
    """A network does not return."""


class FakeEngine:
    """One of the world's: a restorer adds 1 and masks the first row, a temporal filter keeps all of the frame, a fuser
    takes the brighter image.

    A detector finds what is on the lens on views brighter than 100, on the left half of them.
    """

    device, precision, streams = "nowhere", "fp32", 1

    def __init__(self, world: World, model: Model, name: str = "onnxruntime") -> None:
        self.world, self.model, self.name = world, model, name

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """There is nothing to prepare."""

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`."""
        world, image = self.world, images[TASKS[self.model.task].inputs[0]]
        if 0 in image.shape:
            raise EngineError(f"{self.model.name}: takes no images {image.shape}")
        if not world.loading:
            world.runs.append((self.model.name, image.shape))
            for what in (self.model.name, f"{self.model.name} by {self.name}"):
                if what in world.failure:
                    raise world.failure[what]
                if what in world.hangs:
                    raise Hang
        world.clock.wait(world.ms[self.model.network])
        if self.model.task == "restore":
            mask = np.zeros(image.shape[:3], np.uint8)
            mask[:, 0] = 255
            return {"restored": image + 1, "mask": mask}
        if self.model.task == "fuse":
            return {"fused": np.maximum(image, images["infrared"])}
        if self.model.task == "temporal":
            weights = np.zeros((*image.shape[:3], 3), np.uint8)
            weights[..., 0] = 255
            return {"weights": weights, "mask": image[..., 3], "memory": image[..., 5:]}
        wet = [world.seen.get(kind, 0.0) for kind in ANOMALY_KINDS]
        wet[0] = 1 - max(wet)
        told = [wet if view.mean() > 100 else [0.9, 0.1, 0, 0, 0] for view in image]
        cells = np.zeros((len(image), 3, 4), np.float32)
        cells[:, :, :2] = 1
        return {"probabilities": np.array(told, np.float32), "mask": cells}


class PlayedLane:
    """A lane by the clock of the world: work is done at once, and has ended when that clock says so."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.begun_ns, self.ends_ns = clock, 0, 0

    @property
    def busy_ms(self) -> float:
        """See `Lane.busy_ms`."""
        return (self.clock() - self.begun_ns) / MS if self.clock() < self.ends_ns else 0.0

    def begin(self, work: Callable[[], Any]) -> SimpleNamespace:
        """See `Lane.begin`."""
        if self.busy_ms:
            raise Late(f"the last run has not ended after {self.busy_ms:.0f} ms")
        self.begun_ns, done, failed, hangs = self.clock(), None, None, False
        try:
            done = work()
        except Hang:
            hangs = True
        except Exception as error:
            failed = error
        begun_ns, ends_ns = self.begun_ns, sys.maxsize if hangs else self.clock()
        self.clock.now_ns, self.ends_ns = begun_ns, ends_ns

        def result(timeout_ms: float | None) -> Any:
            if timeout_ms is not None and ends_ns - begun_ns > timeout_ms * MS:
                self.clock.now_ns = begun_ns + round(max(0.0, timeout_ms) * MS)
                raise Late("")
            assert not hangs, "nobody may wait for ever"
            self.clock.now_ns = ends_ns
            if failed is not None:
                raise failed
            return done

        return SimpleNamespace(result=result)


def pair(
    left: int = WET,
    right: int = WET,
    at_s: float = 0.0,
    received_ns: int = 0,
    period_ms: float = 0.0,
    size: tuple[int, int] = SIZE,
) -> FrameSet:
    """A grey frame of each eye, all of one value."""
    stamp = round(at_s * 1e9)
    return FrameSet(
        {
            "left": Frame(np.full(size, left, np.uint8), "mono8", stamp, "l"),
            "right": Frame(np.full(size, right, np.uint8), "mono8", stamp, "r"),
        },
        None,
        received_ns,
        period_ms,
    )


def actions(result: Result) -> list[Action]:
    """What was done with each camera's frame."""
    return [camera.action for camera in result.cameras.values()]


def restored(result: Result) -> bool:
    """Whether all frames were."""
    return actions(result) == [Action.RESTORED] * len(result.cameras)


def passed_on(result: Result, frames: FrameSet) -> bool:
    """Whether every camera's frame is the very object that went in."""
    return all(result.cameras[name].frame is frame for name, frame in frames.frames.items())
