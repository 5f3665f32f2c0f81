"""Measures a bag played through the node over DDS, at its recorded speed and, if wanted, at higher or lower speeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from derain_ros.bench.meters import watched
from derain_ros.bench.node import KEEPS_RATE
from derain_ros.config import Config
from derain_ros.engine import EngineError, Tell
from derain_ros.engine.machine import this_machine
from derain_ros.frame import Action
from derain_ros.manifest import Manifest
from derain_ros.replay.account import Account
from derain_ros.replay.bag import BagReader
from derain_ros.replay.measured import AtRate, Usage
from derain_ros.replay.offline import Progress
from derain_ros.replay.origin import origin_of
from derain_ros.replay.player import LIVE, play
from derain_ros.replay.record import Record
from derain_ros.replay.shown import restored_again
from derain_ros.replay.topics import Cameras

HALVINGS = 3
"""Number of bisections between a speed without loss and one with loss: from a factor of 2 to one of 1.09."""
FASTEST, SLOWEST = 64.0, 1 / 16


def measure(
    reader: BagReader,
    cameras: Cameras,
    config: Config,
    models: Path | None,
    highest: bool,
    tell: Tell,
    step: Callable[[str], Progress],
) -> Record:
    """Play the bag through a node at its recorded speed, without writing a bag; with `highest` also at other speeds.

    `config.cameras` are the names of `cameras`. Each speed gets a new node. `step` begins a named step and returns the
    function that reports its progress. ReplayError if a node does not get ready or ends badly.
    """
    tell("the digests of the bag and of the models")
    origin = origin_of(reader.path, models, config)
    machine = this_machine(config.threads)
    usage: list[Usage] = []
    account = play(reader, None, cameras, config, models, 1.0, step("Playing at 1x"), partial(watched, usage=usage))
    rates = [at_rate(1.0, account)]

    def fares(rate: float) -> bool:
        rates.append(at_rate(rate, play(reader, None, cameras, config, models, rate, step(f"Playing at {rate:.3g}x"))))
        return rates[-1].no_loss

    if highest:
        search(fares, rates[0].no_loss)
    try:
        pictures = restored_again(reader, cameras, account, Manifest.load(models), step("Drawing"))
    except EngineError as error:
        pictures = []
        account.notes.append(f"no pictures were made: {error}")
    return Record(
        f"derain: {reader.path.name}",
        LIVE,
        account,
        pictures,
        machine=machine,
        usage=usage,
        rates=rates if highest else [],
        origin=origin,
    )


def search(fares: Callable[[float], bool], at_one: bool) -> float:
    """The highest speed found without loss, as a factor of the recorded one; 0 if there is none down to SLOWEST.

    `fares` plays a speed and says whether it had no loss; `at_one` is that for speed 1. Speeds are doubled until one
    has loss, at most to FASTEST, or halved until one has none. Then the interval is bisected geometrically HALVINGS
    times.
    """
    good, bad = (1.0, 0.0) if at_one else (0.0, 1.0)
    while at_one and not bad and good < FASTEST:
        good, bad = (2 * good, 0.0) if fares(2 * good) else (good, 2 * good)
    while not good and bad > SLOWEST:
        good, bad = (bad / 2, bad) if fares(bad / 2) else (0.0, bad / 2)
    for _ in range(HALVINGS if good and bad else 0):
        middle = (good * bad) ** 0.5
        good, bad = (middle, bad) if fares(middle) else (good, middle)
    return good


def at_rate(rate: float, account: Account) -> AtRate:
    """The figures of a bag that was played at `rate` times its recorded speed."""
    total = account.total()
    over_budget = account.reasons().get(Action.PASSED_BUDGET.value, 0)
    reached = account.recorded_s / account.played_s if account.played_s > 0 else float("nan")
    gaps = max(account.frames_in.values(), default=1) - 1
    hertz = gaps / account.recorded_s if account.recorded_s > 0 else float("nan")
    p50, _, p99 = account.latency_ms()
    lossless = total["in"] > 0 and not total["dropped"] and not over_budget and reached >= KEEPS_RATE * rate
    return AtRate(rate, rate * hertz, reached, total["in"], total["dropped"], over_budget, p50, p99, lossless)
