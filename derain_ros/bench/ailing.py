"""The node with engines that fail or hang on request: what `derain bench soak` runs in its child process.

A file says when they fail or hang. The shipped node has none of this: the functions that load engines are wrapped
before the node is created.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from derain_ros.engine import Engine, EngineError, Shape

FAIL, HANG = "fail", "hang"
LOOKS_S = 0.05
"""Seconds between two reads of the file by an engine that hangs."""


class Ailing:
    """An engine that fails or hangs while the file `ailment` asks its model's task to; otherwise it runs `engine`.

    See `derain_ros.engine.Engine`.
    """

    def __init__(self, engine: Engine, ailment: Path) -> None:
        self._engine, self._ailment = engine, ailment
        self.name, self.model, self.device = engine.name, engine.model, engine.device
        self.precision, self.streams = engine.precision, engine.streams

    def prepare(self, shape: Shape) -> None:
        """See `derain_ros.engine.Engine.prepare`."""
        self._engine.prepare(shape)

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`; raises EngineError, or does not return, while the file asks for it."""
        while (what := ailment_of(self._ailment, self.model.task)) == HANG:
            time.sleep(LOOKS_S)
        if what == FAIL:
            raise EngineError(f"{self.model.name}: fails on purpose, as a fault of the soak test")
        return self._engine.run(**images)


def ail(ailment: Path, what: str, task: str, seconds: float) -> None:
    """Write the file `ailment`: the engines of `task` FAIL or HANG, as `what` says, for `seconds` from now on."""
    new = ailment.with_suffix(".new")
    new.write_text(json.dumps({"what": what, "task": task, "until_ns": time.monotonic_ns() + round(seconds * 1e9)}))
    os.replace(new, ailment)


def ailment_of(ailment: Path, task: str) -> str:
    """What the file asks the engines of `task` to do now: FAIL, HANG, or "" for normal work."""
    try:
        told = json.loads(ailment.read_bytes())
    except FileNotFoundError:
        return ""
    return str(told["what"]) if told["task"] == task and time.monotonic_ns() < told["until_ns"] else ""


def main(ailment: str) -> int:
    """Run the node as `derain_ros.ros.node.main` does, with engines that obey the file at the path `ailment`.

    Returns the node's exit code.
    """
    from derain_ros.ros import node
    from derain_ros.runtime.judge import judge
    from derain_ros.runtime.loading import loader

    path = Path(ailment)
    load_detector, load, choose = judge.load_detector, loader.load, loader.choose

    def chosen(*given: Any, **named: Any) -> Any:
        choice = choose(*given, **named)
        return replace(choice, engine=Ailing(choice.engine, path))

    judge.load_detector = lambda *given: Ailing(load_detector(*given), path)
    loader.load = lambda *given: Ailing(load(*given), path)
    loader.choose = chosen
    return node.main(sys.argv)
