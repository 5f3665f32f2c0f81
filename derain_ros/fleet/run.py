"""Has many bags restored: plans them, hands out their segments, tries again, and puts up with what cannot be done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from derain_ros.config import ConfigError
from derain_ros.fleet import FleetError
from derain_ros.fleet.bags import robot_of
from derain_ros.fleet.segments import Plan, Task, plan, restore
from derain_ros.fleet.whole import BagDone, finish
from derain_ros.replay.records import ReplayError

TRIES = 5
"""How often a piece of work is tried: workers may be lost for reasons of their own."""
OPEN_PER_WORKER = 2
"""Bags that are under way: enough that no worker waits, few enough that bags come to an end."""

CERTAIN = (ConfigError, FleetError, ReplayError)
"""What says that a bag cannot be restored, however often that is tried."""


@dataclass
class _Open:
    """A bag under way: `left` are its segments that are not done; `failed` that it was given up."""

    task: Task
    plan: Plan | None = None
    left: int = 0
    failed: bool = False


@dataclass(frozen=True)
class _Work:
    bag: _Open
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 1


@dataclass
class Restored:
    """What became of every bag, by name. `worked_s` is the processor time of the workers for segments, all together,
    `recorded_s` how much recording these had, both without segments that were restored before; `beside_s` is the
    processor time for the planning and finishing of all bags. Work that was lost with a worker is in none."""

    bags: list[BagDone] = field(default_factory=list)
    worked_s: float = 0.0
    beside_s: float = 0.0
    recorded_s: float = 0.0


def run(
    tasks: Iterable[Task],
    executor: Executor,
    workers: int,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Restored:
    """Restore all bags with so many `workers` of an executor. Those that cannot be are told of in what is returned.

    `progress` is told how many pieces of work are done, of how many known so far; `tell` of what is tried again.
    """
    waiting, restored = deque(tasks), Restored()
    pending: dict[Future[Any], _Work] = {}
    ended: SimpleQueue[Future[Any]] = SimpleQueue()
    open_bags = done = 0

    def begin(work: _Work) -> None:
        future = executor.submit(_timed, work.function, *work.arguments)
        pending[future] = work
        future.add_done_callback(ended.put)

    while waiting or pending:
        while waiting and open_bags < OPEN_PER_WORKER * workers:
            task = waiting.popleft()
            begin(_Work(_Open(task), plan, (task,)))
            open_bags += 1
        future = ended.get()
        work = pending.pop(future)
        if future.cancelled():
            raise FleetError("the connection to the cluster is lost; the same command goes on where it was")
        bag, error = work.bag, future.exception()
        done += 1
        if bag.failed:
            pass
        elif error is not None and work.tries < TRIES and not (work.function is plan and isinstance(error, CERTAIN)):
            tell(f"{bag.task.found.name}: {error}; tried again")
            begin(_Work(bag, work.function, work.arguments, work.tries + 1))
        elif error is not None:
            bag.failed = True
            fault = f"given up after {work.tries} tries: {error}" if work.tries > 1 else str(error)
            robot = bag.plan.robot if bag.plan else robot_of(bag.task.found.name, [])
            restored.bags.append(BagDone(bag.task.found.name, robot, fault))
            open_bags -= 1
        elif work.function is plan:
            bag.plan, taken_s = future.result()
            restored.beside_s += taken_s
            bag.left = len(bag.plan.segments)
            for number in range(bag.left):
                begin(_Work(bag, restore, (bag.plan, number)))
            if not bag.left:
                begin(_Work(bag, finish, (bag.plan,)))
        elif work.function is restore:
            recorded_s, taken_s = future.result()
            restored.recorded_s += recorded_s
            restored.worked_s += taken_s
            bag.left -= 1
            if not bag.left:
                begin(_Work(bag, finish, (bag.plan,)))
        else:
            whole, taken_s = future.result()
            restored.bags.append(whole)
            restored.beside_s += taken_s
            open_bags -= 1
        progress(done, done + len(pending) + len(waiting))
    restored.bags.sort(key=lambda each: each.name)
    return restored


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """In a worker: what a function returns, and the seconds of processor time that it took."""
    began = time.process_time()
    answer = function(*arguments)
    return answer, time.process_time() - began
