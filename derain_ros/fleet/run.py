"""Restores many bags: plans them, distributes their segments, repeats failed work, and reports what failed for good."""

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
from derain_ros.fleet.segments import BagPlan, BagTask, plan, restore
from derain_ros.fleet.whole import BagDone, finish
from derain_ros.replay.records import ReplayError

TRIES = 5
"""How often a piece of work is tried: a worker may be lost for other reasons."""
OPEN_PER_WORKER = 2
"""Bags in progress per worker: enough that no worker waits, few enough that bags are finished."""

CERTAIN = (ConfigError, FleetError, ReplayError)
"""Errors of planning after which the bag is not tried again."""


@dataclass
class _Open:
    """A bag in progress: `left` is the number of segments not done yet; `failed` says that it was given up."""

    task: BagTask
    plan: BagPlan | None = None
    left: int = 0
    failed: bool = False


@dataclass(frozen=True)
class _Work:
    bag: _Open
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 1


@dataclass
class RestoredBags:
    """The results of all `bags`, sorted by name, and what they took.

    `worked_s` is the total processor time for segments, and `recorded_s` their recorded time; segments restored in an
    earlier run have no recorded time. `beside_s` is the processor time of planning and finishing all bags. Work that
    was lost with a worker is in none of them.
    """

    bags: list[BagDone] = field(default_factory=list)
    worked_s: float = 0.0
    beside_s: float = 0.0
    recorded_s: float = 0.0


def run(
    tasks: Iterable[BagTask],
    executor: Executor,
    workers: int,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> RestoredBags:
    """Restore all bags on an executor with this number of `workers`; bags that fail are in the result with a fault.

    `progress` gets the number of pieces of work done, and of those known so far. `tell` gets a line for work that is
    tried again. FleetError if the connection to a cluster is lost.
    """
    waiting, restored = deque(tasks), RestoredBags()
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
            raise FleetError("the connection to the cluster is lost; run the same command again to continue")
        bag, error = work.bag, future.exception()
        done += 1
        if bag.failed:
            pass
        elif error is not None and work.tries < TRIES and not (work.function is plan and isinstance(error, CERTAIN)):
            tell(f"{bag.task.found.name}: {error}; trying again")
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
    """In a worker: call a function; its result, and the processor time in seconds that it took."""
    began = time.process_time()
    answer = function(*arguments)
    return answer, time.process_time() - began
