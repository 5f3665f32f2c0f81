"""What the node itself costs beside the networks: `python -m derain_ros.runtime.profile` prints it by stage."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Anomaly, Frame, FrameSet
from derain_ros.manifest import Manifest, Model
from derain_ros.runtime import pipeline as pipeline_module
from derain_ros.runtime.crosscheck import seen_by_one_eye
from derain_ros.runtime.pipeline import Pipeline

BLOCK = 25
"""Frame sets that are measured at a stretch, as asking for the time costs some; the median of such blocks is told."""


class Idle:
    """A network that does nothing: what is left is what is around it. Half of the view is a drop, in the left eye."""

    name, device, precision, streams = "idle", "cpu", "none", 1

    def __init__(self, model: Model) -> None:
        self.model = model
        self._outputs: dict[str, np.ndarray] = {}

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """There is nothing to prepare."""

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`; the same arrays every time."""
        if not self._outputs and self.model.size is not None:
            cells = np.zeros((len(image), self.model.size[0] // 8, self.model.size[1] // 8), np.float32)
            cells[0, 4:10, 5:12] = 1
            probabilities = np.zeros((len(image), len(self.model.classes)), np.float32)
            probabilities[:, 0], probabilities[0, :2] = 1, (0, 1)
            self._outputs = {"probabilities": probabilities, "mask": cells}
        elif not self._outputs:
            self._outputs = {"restored": image.copy(), "mask": np.zeros(image.shape[:3], np.uint8)}
        return self._outputs


class Ready:
    """A restorer that needs no preparation."""

    ready, failed, state = True, False, "ready"

    def __init__(self, models: tuple[Model, ...], *rest: object) -> None:
        self.engine = Idle(models[-1])


def pairs(height: int, width: int) -> FrameSet:
    """A frame set of one textured view for both eyes."""
    noise = np.random.default_rng(1).integers(0, 256, (height, width + 40), np.uint8)
    view = cv2.GaussianBlur(noise, (0, 0), 3)
    return FrameSet({"left": Frame(np.ascontiguousarray(view[:, 40:])),
                     "right": Frame(np.ascontiguousarray(view[:, :-40]))})


def overhead(height: int = 540, width: int = 720, count: int = 300,
             publish: Callable[[FrameSet, Any], None] | None = None) -> dict[str, float]:
    """Milliseconds of CPU of all threads that one frame set costs beside the networks, by stage, measured over `count`.

    The networks are replaced by ones that return at once; every frame set is detected, checked against the other eye
    and restored. `pipeline` is all of it, the others are parts of it; `publish`, where it is given, is called with each
    frame set and its result.
    """
    patched = {"load_detector": lambda model, *rest: Idle(model), "Preparation": Ready}
    spent: dict[str, float] = {}

    def measure(name: str, work: Callable[[], Any]) -> Any:
        work()
        blocks = []
        for _ in range(max(1, count // BLOCK)):
            begun = time.process_time()
            for _ in range(BLOCK):
                done = work()
            blocks.append((time.process_time() - begun) * 1e3 / BLOCK)
        spent[name] = float(np.median(blocks))
        return done

    with contextlib.ExitStack() as restored:
        for name, replacement in patched.items():
            restored.callback(setattr, pipeline_module, name, getattr(pipeline_module, name))
            setattr(pipeline_module, name, replacement)
        pipeline = Pipeline(Config(on_hold_s=0.0, budget_ms=10000.0), Manifest.load(), background=True)
        pipeline.load()
        frames = pairs(height, width)
        detector = pipeline._detector
        assert detector is not None
        for _ in range(3):
            pipeline.process(frames)
        result = measure("pipeline", lambda: pipeline.process(frames))
        if publish is not None:
            measure("publish", lambda: publish(frames, result))
        views = measure("views", lambda: detector.views(list(frames.frames.values())))
        found: list[Anomaly] = measure("judge", lambda: detector.judge(views, 0.6))
        measure("cross-check", lambda: seen_by_one_eye(views, found, 0.6))
    assert result.plan == "balanced", result
    return spent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="720x540", help="width x height of each eye")
    parser.add_argument("--count", type=int, default=300, help="frame sets to measure over")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    for name, ms in overhead(height, width, arguments.count).items():
        print(f"{name:12} {ms:6.3f} ms of CPU")


if __name__ == "__main__":
    main()
