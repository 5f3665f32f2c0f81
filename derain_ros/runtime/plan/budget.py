"""The latency budget: learns how long each plan takes and chooses the best one that fits."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from statistics import median

QUANTILE = 0.95
MEMORY_NS = 5_000_000_000
"""How long a measured time counts. The newest counts until there is a newer one."""
MARGIN = 0.9
"""Share of the time at hand that a plan which was just taken up may need, so that it is not given up at once."""
PROBATION = 10
"""Runs for which that holds."""
RETRY_NS, LONGEST_RETRY_NS = 1_000_000_000, 16_000_000_000
"""How long after a plan was given up it is tried again; twice as long whenever it does not last."""
LASTS = 10
"""Times that wait for which a plan must last."""
PUT_OFF_NS = 60_000_000_000
"""How much longer a trial is put off that will hardly succeed, going by what the plan at work takes."""
TRIAL_SHARE = 0.02
"""Largest share of the time that may go into trials of one plan, however long one takes."""
STALL = 1.8
"""Periods of the camera that the fastest plan may take; better ones must keep up with the camera."""
FINISH_MS = 2.0
"""What is set aside for publishing until it has been measured."""

ENOUGH_GAPS = 20
"""Frame sets after the first from which on the camera's period is known."""

BEFORE, FINISH = "before", "finish"


@dataclass
class _Times:
    """The recent times of one stage, (when, ms)."""

    recent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=1000))
    _known: float | None = None
    _known_until_ns: int = 0

    def add(self, now: int, ms: float) -> None:
        """Take in a time."""
        self.recent.append((now, ms))
        self._known_until_ns = 0

    def clear(self) -> None:
        """Forget all."""
        self.recent.clear()
        self._known_until_ns = 0

    def expected(self, now: int) -> float | None:
        """A high quantile, and no less than both of the last two, so that load is seen at once; None without any."""
        if now >= self._known_until_ns:
            self._known = self._judge(now)
            # Until the oldest is forgotten, or another comes: it is asked for many times a frame.
            self._known_until_ns = self.recent[0][0] + MEMORY_NS + 1 if len(self.recent) > 1 else now
        return self._known

    def _judge(self, now: int) -> float | None:
        while len(self.recent) > 1 and now - self.recent[0][0] > MEMORY_NS:
            self.recent.popleft()
        if not self.recent:
            return None
        ranked = sorted(ms for _, ms in self.recent)
        return max(ranked[math.ceil(QUANTILE * len(ranked)) - 1], min(ms for _, ms in list(self.recent)[-2:]))

    def usual(self, now: int) -> float:
        """The median of the recent times; 0 without any."""
        recent = [ms for when, ms in self.recent if now - when <= MEMORY_NS]
        return median(recent) if recent else 0.0


@dataclass
class _Trial:
    """When a plan that was given up is tried again, and how long it had to wait for that; and that it took so many
    times what another plan, `than`, took just before: 0 where that is not known."""

    due_ns: int
    wait_ns: int
    than: Hashable | None
    slower: float


class Budget:
    """Learned times of plans and of what is around them; `clock` gives monotonic nanoseconds.

    Plans are known by keys that say all that their time depends on. A plan is given up as soon as it does not fit, and
    taken up again by a trial: first after RETRY_NS, later and later where it does not last, and hardly ever while the
    plan at work shows that the machine is as busy as before. Thread-safe.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._times: defaultdict[Hashable, _Times] = defaultdict(_Times)
        self._trials: dict[Hashable, _Trial] = {}
        self._current: Hashable | None = None
        self._replaced: Hashable | None = None
        self._since_ns = clock()
        self._lock = threading.Lock()

    def learn(self, stage: Hashable, ms: float) -> None:
        """Take in how long a plan or another stage took; a cold start is not to be told."""
        with self._lock:
            self._times[stage].add(self._clock(), ms)

    def expected_ms(self, stage: Hashable) -> float:
        """How long a plan or stage will hardly exceed: a high quantile of its recent times; 0 while there is none."""
        with self._lock:
            return self._expected(stage) or 0.0

    def left_ms(self, received_ns: int, budget_ms: float) -> float:
        """Milliseconds that the networks have for a frame set that the budget counts from `received_ns`.

        What publishing takes is set aside, at most half of the budget. Negative: late.
        """
        return budget_ms - self.finish_ms(budget_ms) - (self._clock() - received_ns) / 1e6

    def finish_ms(self, budget_ms: float) -> float:
        """Milliseconds that are set aside for publishing."""
        with self._lock:
            finish = self._expected(FINISH)
        return min(FINISH_MS if finish is None else finish, budget_ms / 2)

    def choose(self, plans: Sequence[Hashable], received_ns: int, budget_ms: float,
               period_ms: float = 0.0) -> Hashable | None:
        """The plan for a frame set, of `plans` the best first; None to pass it on.

        `period_ms` is the camera's, 0 where nobody waits for the next frame set. A frame set of which less is left than
        is usual gets what fits it; that changes nothing for those after it.
        """
        left = self.left_ms(received_ns, budget_ms)
        before = max(0.0, budget_ms - left)
        self.learn(BEFORE, before)
        if left <= 0:
            return None
        with self._lock:
            usual = budget_ms - (self._expected(BEFORE) or 0.0)
            plan = self._settle(plans, max(left, usual) if usual > 0 else left, period_ms)
            if plan is None or (self._expected(plan) or 0.0) <= left:
                return plan
            below = plans[plans.index(plan):]
            return next((p for p in below if (expected := self._expected(p)) and expected <= left), None)

    def _settle(self, plans: Sequence[Hashable], left: float, period_ms: float) -> Hashable | None:
        """The plan to stay with from now on, where so many milliseconds are usual."""
        now, chosen = self._clock(), None
        rank = plans.index(self._current) if self._current in plans else len(plans)
        for n, plan in enumerate(plans):
            limit = min(left, period_ms * (STALL if n == len(plans) - 1 else 1.0)) if period_ms else left
            expected, trial = self._expected(plan), self._trials.get(plan)
            waits = trial is not None and n != rank
            if trial is not None and waits and n < rank and now >= trial.due_ns + self._put_off_ns(trial, limit):
                # What was measured before speaks of another load.
                self._times[plan].clear()
                expected = None
            elif waits and n < rank:
                continue
            probation = len(self._times[plan].recent) < PROBATION
            if expected is None or expected <= limit * (MARGIN if probation else 1.0):
                chosen = plan
                break
            if not waits:
                self._give_up(plan, expected, now)
        if chosen != self._current:
            self._current, self._replaced, self._since_ns = chosen, self._current, now
        return chosen

    def _put_off_ns(self, trial: _Trial, limit: float) -> int:
        """How much longer a trial should wait, where what the plan may take is limited: load slows all plans alike."""
        if trial.than is None or trial.than != self._current:
            return 0
        return PUT_OFF_NS if self._times[trial.than].usual(self._clock()) * trial.slower > limit else 0

    def _give_up(self, plan: Hashable, expected: float, now: int) -> None:
        trial = self._trials.get(plan)
        wait = RETRY_NS
        if trial is not None and now - self._since_ns < LASTS * trial.wait_ns:
            wait = min(2 * trial.wait_ns, LONGEST_RETRY_NS)
        wait = max(wait, round(expected * 1e6 / TRIAL_SHARE))
        before = self._times[self._replaced].usual(now) if self._replaced is not None else 0.0
        self._trials[plan] = _Trial(now + wait, wait, self._replaced, expected / before if before else 0.0)

    def _expected(self, stage: Hashable) -> float | None:
        return self._times[stage].expected(self._clock())


class Cadence:
    """How often frame sets come, judged by the last ones."""

    def __init__(self) -> None:
        self._arrivals: deque[int] = deque(maxlen=ENOUGH_GAPS + 1)
        self._stamps: deque[int] = deque(maxlen=ENOUGH_GAPS + 1)

    def period_ms(self, now_ns: int, stamp_ns: int) -> float:
        """The median time between frame sets, this one included; 0 until there are enough to judge by.

        It is the longer one of what the stamps say and of what the arrivals say: a bag may be played slowly, and a
        sender that waits for results sends as fast as it gets them.
        """
        self._arrivals.append(now_ns)
        self._stamps.append(stamp_ns)
        return max(_median_gap_ms(self._arrivals), _median_gap_ms(self._stamps))


def _median_gap_ms(times: Sequence[int]) -> float:
    gaps = sorted(later - earlier for earlier, later in zip(times, list(times)[1:], strict=False))
    return gaps[len(gaps) // 2] / 1e6 if len(gaps) == ENOUGH_GAPS else 0.0
