"""Which plan is run: the best one that keeps up, and the last one of the ladder where none does."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace

from derain_ros.runtime.plan.ladder import Plan
from derain_ros.runtime.stages import Batch

MARGIN = 0.9
"""Share of the time at hand that a plan may take to be taken up; it is kept as long as it takes no more than all."""
RETRY_NS, LONGEST_RETRY_NS = 1_000_000_000, 16_000_000_000
"""How long after a plan was given up it is tried again; twice as long whenever it does not last that long."""
HOPELESS = 3.0
"""Times the time at hand from which on a plan is not tried: a trial would cost more than a frame."""


@dataclass(frozen=True)
class _Wait:
    """Until when a plan that was given up is not tried again, and how long that is; since when it has fitted after its
    last trial, None where it has not."""

    until_ns: int
    ns: int
    fits_since_ns: int | None = None


class Choice:
    """Chooses among the plans of a ladder, frame set after frame set, by what their stages take."""

    def __init__(self) -> None:
        self._waits: dict[Hashable, _Wait] = {}
        self._current: Plan | None = None
        self._stalled_until_ns: int | None = None

    def choose(
        self, plans: Sequence[Plan], batches: Collection[Batch], limit_ms: float, stall_ms: float, now_ns: int
    ) -> Plan | None:
        """One of `plans`, the best first, for such images, where `limit_ms` are at hand; `now_ns` is monotonic.

        The last one is run however long it takes, so long as that is less than `stall_ms`: None says that nothing is
        to be run now, for the stream would stall; after RETRY_NS that is tried again.
        """
        *better, last = plans
        chosen = next((plan for plan in better if self._fits(plan, batches, limit_ms, now_ns)), None)
        if chosen is None:
            if last.cost_ms(batches) <= stall_ms:
                self._stalled_until_ns = None
            elif self._stalled_until_ns is None:
                self._stalled_until_ns = now_ns + RETRY_NS
                return None
            elif now_ns < self._stalled_until_ns:
                return None
            else:
                self._stalled_until_ns = now_ns + RETRY_NS
                self._forget(last, batches)
            chosen = last
        self._current = chosen
        return chosen

    def _fits(self, plan: Plan, batches: Collection[Batch], limit_ms: float, now_ns: int) -> bool:
        """Whether a plan is to be run; where it is not, it waits to be tried again."""
        key = plan.key(batches)
        wait = self._waits.get(key)
        if self._is_at_work(plan):
            fits = plan.cost_ms(batches) <= limit_ms
            if fits and wait is not None and wait.fits_since_ns is None:
                self._waits[key] = replace(wait, fits_since_ns=now_ns)
        elif wait is None:
            fits = plan.cost_ms(batches) <= MARGIN * limit_ms
        elif now_ns < wait.until_ns:
            return False
        else:
            # What it took before speaks of another load of the machine.
            self._forget(plan, batches)
            fits = plan.cost_ms(batches) <= HOPELESS * limit_ms
            self._waits[key] = wait = replace(wait, fits_since_ns=None)
        if not fits:
            # How long the trial itself took is no time that it lasted.
            lasted = wait is None or wait.fits_since_ns is not None and now_ns - wait.fits_since_ns >= wait.ns
            ns = RETRY_NS if wait is None or lasted else min(2 * wait.ns, LONGEST_RETRY_NS)
            self._waits[key] = _Wait(now_ns + ns, ns)
        return fits

    def _is_at_work(self, plan: Plan) -> bool:
        """Whether a plan is what was run last, or that without a stage that came after it."""
        return self._current is not None and self._current.steps[: len(plan.steps)] == plan.steps

    def _forget(self, plan: Plan, batches: Collection[Batch]) -> None:
        """Forget what a plan took, but for the stages that it shares with the one at work."""
        at_work = self._current.steps if self._current is not None and self._current != plan else ()
        for step in plan.steps:
            if step not in at_work:
                step.forget(batches)
