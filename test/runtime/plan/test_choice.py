"""Which plan is chosen, in a simulation by a clock of its own: frame sets at 10 Hz, stages of scripted costs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection

import pytest

from derain_ros.runtime.plan.budget import Times
from derain_ros.runtime.plan.choice import LONGEST_RETRY_NS, RETRY_NS, PlanChoice
from derain_ros.runtime.plan.ladder import Plan
from derain_ros.runtime.stages import BatchShape

MS, SECOND = 1_000_000, 1_000_000_000
BATCHES = [(2, 270, 360, 1)]
COSTS = {"quality": 60.0, "balanced": 30.0, "light": 10.0}
PERIOD_MS, STALL_MS = 100.0, 400.0


class Played:
    """A stage that takes `ms` times the load of the machine."""

    def __init__(self, name: str, ms: float) -> None:
        self.name, self.ms, self._times = name, ms, Times()

    def cost_ms(self, batches: Collection[BatchShape]) -> float:
        return self._times.usual(None) or self.ms

    def learn(self, batches: Collection[BatchShape], ms: float) -> None:
        self._times.learn(None, ms)

    def forget(self, batches: Collection[BatchShape]) -> None:
        self._times.forget(None)


class World:
    """Frame sets every PERIOD_MS, of which the newest is taken as soon as the last is out, as the node does it.

    `load` says by how much everything is slowed down at a time in seconds. What takes longer than STALL_MS goes on
    untouched after that, and so do those that come until it has ended.
    """

    def __init__(
        self,
        costs: dict[str, float] = COSTS,
        load: Callable[[float], float] = lambda at_s: 1.0,
        budget_ms: float = 200.0,
    ) -> None:
        self.stages = {name: Played(name, ms) for name, ms in costs.items()}
        self.choice, self.load, self.limit_ms = PlanChoice(), load, min(budget_ms, PERIOD_MS)
        self.done: list[tuple[float, str]] = []

    def choose(self, at_ms: float) -> Plan | None:
        # New plans of the same stages for every frame set, as a ladder makes them.
        plans = [Plan((stage,)) for stage in self.stages.values()]  # type: ignore[arg-type]
        return self.choice.choose(plans, BATCHES, self.limit_ms, STALL_MS, round(at_ms * MS))

    def run(self, seconds: float, pauses_s: Collection[float] = ()) -> World:
        """The whole process, with its frame sets, stands still for 3 s in the first run after each of `pauses_s`."""
        now, next_set, busy_until, pauses = 0.0, 0, 0.0, sorted(pauses_s)
        while now < seconds * 1e3:
            now = max(now, next_set * PERIOD_MS)
            next_set = int(now // PERIOD_MS) + 1
            plan = self.choose(now) if now >= busy_until else None
            if plan is None:
                self.done.append((now / 1e3, "passed"))
                continue
            stage = plan.steps[0]
            ms = stage.ms * self.load(now / 1e3)  # type: ignore[attr-defined]
            if paused := bool(pauses) and now / 1e3 >= pauses[0]:
                ms = 3000.0
                pauses.pop(0)
            stage.learn(BATCHES, ms)
            late = ms > STALL_MS
            self.done.append((now / 1e3, f"passed {plan.name}" if late else plan.name))
            busy_until = now + ms
            now += ms if paused else min(ms, STALL_MS)
        return self

    @property
    def passed(self) -> int:
        """How many frame sets went on untouched."""
        return sum(name.startswith("passed") for _, name in self.done)

    def names(self, since_s: float = 0.0, until_s: float = 1e9) -> list[str]:
        return [name for at_s, name in self.done if since_s <= at_s < until_s]

    def starts(self, name: str) -> list[float]:
        """When a plan was taken up."""
        before = ["", *self.names()]
        return [at_s for (at_s, now), last in zip(self.done, before, strict=False) if now == name != last]

    @property
    def changes(self) -> int:
        names = self.names()
        return sum(before != after for before, after in zip(names, names[1:], strict=False))


def between(begin_s: float, end_s: float, times: float) -> Callable[[float], float]:
    """Load for a while."""
    return lambda at_s: times if begin_s <= at_s < end_s else 1.0


@pytest.mark.parametrize("costs", [COSTS, {"light": 10.0}], ids=["the ladder", "the last plan alone"])
def test_an_outlier_changes_nothing(costs: dict[str, float]) -> None:
    world = World(costs).run(120, pauses_s=(10, 40, 41, 90))
    best = next(iter(costs))
    assert world.passed == 4 and set(world.names()) == {best, f"passed {best}"}


@pytest.mark.parametrize(("times", "runs"), [(2.0, "balanced"), (3.0, "balanced"), (5.0, "light"), (9.0, "light")])
def test_under_load_it_steps_down_and_comes_back_soon_after(times: float, runs: str) -> None:
    world = World(load=between(20, 30, times)).run(90)
    under = Counter(world.names(20, 30))
    assert under[runs] > 0.6 * under.total() or times == 9.0, under
    assert under["light"] + under["balanced"] > 20
    assert set(world.names(0, 20)) == {"quality"} and set(world.names(38)) == {"quality"}
    # Only where a trial itself stalls the stream is anything passed on.
    assert world.passed <= (0 if 60 * times <= STALL_MS else 20)


def test_load_that_comes_and_goes_costs_next_to_nothing() -> None:
    world = World(load=lambda at_s: 3.0 if at_s % 20 > 10 else 1.0).run(300)
    assert world.passed == 0 and world.names().count("light") < 0.2 * len(world.done)


def test_the_last_plan_is_run_however_long_it_takes_so_long_as_the_stream_does_not_stall() -> None:
    world = World({"light": 10.0}, load=between(20, 40, 30.0)).run(60)
    # 300 ms where 100 are at hand: the rate falls, and every frame set that is taken is restored.
    assert world.passed == 0 and 60 <= len(world.names(20, 40)) <= 70


def test_trials_under_the_heaviest_load_leave_most_of_the_time_to_the_last_plan() -> None:
    # Better plans take up to 2 s a run, which is longer than the first waits.
    world = World(load=between(20, 80, 30.0)).run(90)
    under = world.names(40, 80)
    assert under.count("light") > 0.6 * len(under), Counter(under)


def test_the_last_plan_is_tried_again_within_a_second_after_it_stalled_the_stream() -> None:
    world = World({"light": 10.0}, load=between(20, 21, 60.0)).run(60)
    assert set(world.names(0, 20)) == set(world.names(22.2)) == {"light"}
    assert world.passed <= 20


def test_a_last_plan_that_stalls_the_stream_each_time_is_tried_once_a_second() -> None:
    world = World({"light": 500.0}).run(60)
    trials = [at_s for at_s, name in world.done if name == "passed light"]
    assert 50 <= len(trials) <= 61 and min(b - a for a, b in zip(trials, trials[1:], strict=False)) >= 0.95


def test_it_is_judged_anew_after_a_load_that_stalled_the_stream_for_long() -> None:
    world = World({"light": 10.0}, load=between(10, 30, 60.0)).run(60)
    assert set(world.names(32)) == {"light"}, "old times say nothing"
    assert len([name for name in world.names(10, 30) if name == "passed light"]) <= 25


def test_a_plan_that_does_not_last_waits_twice_as_long_each_time_and_16_s_at_the_most() -> None:
    world = World(load=lambda at_s: 1.0 if at_s < 10 else 2.0).run(120)
    tried = world.starts("quality")[1:]
    waits = [round(b - a) for a, b in zip(tried, tried[1:], strict=False)]
    assert tried[0] == pytest.approx(11.2, abs=0.3) and waits == [2, 4, 8, *[16] * (len(waits) - 3)], waits
    assert len(waits) >= 7 and world.passed == 0 and (RETRY_NS, LONGEST_RETRY_NS) == (SECOND, 16 * SECOND)


def test_a_plan_that_has_lasted_waits_a_second_again() -> None:
    world = World(load=lambda at_s: 2.0 if 10 <= at_s < 40 or at_s >= 80 else 1.0).run(100)
    lasted = next(at_s for at_s in world.starts("quality") if at_s > 40)
    given_up, again = (next(at_s for at_s in world.starts(name) if at_s >= 80) for name in ("balanced", "quality"))
    assert lasted < 58 and again - given_up == pytest.approx(1.0, abs=0.15)


def test_a_trial_that_would_cost_more_than_a_frame_is_not_made() -> None:
    world = World({"quality": 4000.0, "balanced": 30.0, "light": 10.0}).run(120)
    assert set(world.names()) == {"balanced"}


@pytest.mark.parametrize("budget_ms", [5, 10, 20, 35, 50, 100, 200])
def test_whatever_the_budget_something_is_chosen(budget_ms: float) -> None:
    world = World(budget_ms=budget_ms).run(60)
    best = next((name for name, ms in COSTS.items() if ms <= 0.9 * min(budget_ms, PERIOD_MS)), "light")
    assert world.passed == 0 and world.names().count(best) >= 0.98 * len(world.done)


def test_nothing_at_hand_takes_the_last_plan() -> None:
    world = World(budget_ms=-30.0).run(10)
    assert set(world.names()) == {"light"}


@pytest.mark.parametrize("spread", [0.1, 0.3, 0.6])
def test_what_takes_now_more_and_now_less_keeps_its_plan(spread: float) -> None:
    noise = random.Random(3)
    world = World(load=lambda at_s: 1 + spread * noise.random()).run(300)
    assert set(world.names()) == {"quality"}


def test_a_plan_at_the_edge_does_not_come_and_go_from_frame_to_frame() -> None:
    noise = random.Random(4)
    # Quality takes 90 to 117 ms where 100 are at hand.
    world = World(COSTS | {"quality": 90.0}, load=lambda at_s: 1 + 0.3 * noise.random()).run(300)
    assert world.passed == 0 and world.names().count("balanced") > 0.85 * len(world.done)
    # A trial every 16 s, there and back.
    assert world.changes <= 2 * (300 / 16 + 6)


def test_a_better_plan_is_kept_while_it_takes_no_more_than_there_is_but_not_taken_up() -> None:
    world = World(COSTS | {"quality": 95.0})
    assert world.choose(0.0).name == "balanced"  # type: ignore[union-attr]
    world.stages["quality"].ms = 80.0
    assert world.choose(999.0).name == "balanced"  # type: ignore[union-attr]
    assert world.choose(1001.0).name == "quality"  # type: ignore[union-attr]
    world.stages["quality"].ms = 95.0
    assert world.choose(1100.0).name == "quality"  # type: ignore[union-attr]
    world.stages["quality"].ms = 101.0
    assert world.choose(1200.0).name == "balanced"  # type: ignore[union-attr]


def test_a_trial_forgets_what_was_measured_but_not_of_the_stage_at_work() -> None:
    choice, light, temporal = PlanChoice(), Played("light", 10.0), Played("temporal", 50.0)
    alone, joined = Plan((light,)), Plan((light, temporal))  # type: ignore[arg-type]

    def choose(at_ms: int) -> Plan | None:
        return choice.choose([joined, alone], BATCHES, 100.0, STALL_MS, at_ms * MS)

    light.learn(BATCHES, 30.0)
    temporal.learn(BATCHES, 90.0)
    assert choose(0) == alone and choose(1100) == joined
    # The filter is tried; what the restorer takes, at work all the time, is known.
    assert (light.cost_ms(BATCHES), temporal.cost_ms(BATCHES)) == (30.0, 50.0)


def test_images_of_another_size_wait_for_nothing() -> None:
    world = World(COSTS | {"quality": 95.0})
    assert world.choose(0.0).name == "balanced"  # type: ignore[union-attr]
    world.stages["quality"].ms = 60.0
    assert world.choose(100.0).name == "balanced"  # type: ignore[union-attr]
    plans = [Plan((stage,)) for stage in world.stages.values()]  # type: ignore[arg-type]
    other = world.choice.choose(plans, [(2, 135, 180, 1)], 100.0, STALL_MS, 200 * MS)
    assert other is not None and other.name == "quality"


def test_without_the_stage_that_goes_first_the_rest_of_a_plan_stays() -> None:
    """What a plan takes up anew must leave a margin; what was run with one stage more is not taken up anew."""
    choice, quality, light, fuse = PlanChoice(), Played("quality", 95.0), Played("light", 10.0), Played("fuse", 4.0)
    steps = [(quality, fuse), (quality,), (light, fuse), (light,)]
    plans = [Plan(each) for each in steps]  # type: ignore[arg-type]
    assert choice.choose(plans, BATCHES, 120.0, STALL_MS, 0) == plans[0]
    assert choice.choose(plans, BATCHES, 98.0, STALL_MS, 100 * MS) == plans[1]
    # Nobody asks for the stage any more.
    alone = PlanChoice()
    alone.choose(plans, BATCHES, 120.0, STALL_MS, 0)
    assert alone.choose(plans[1::2], BATCHES, 98.0, STALL_MS, 100 * MS) == plans[1]
